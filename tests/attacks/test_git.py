"""Nothing that a client sends in Git's protocol runs a program or reaches another app's objects."""

import contextlib
import random
from collections.abc import Iterator

import pytest

from devtools.lab.ground import ROOT
from tests.attacks.test_audit import entries
from tests.attacks.town import MANIFEST, PROGRAM, Attacker, Party, Town
from tests.attacks.wire import pack_of, plumb, send
from tests.packs import delta_bomb

pytestmark = pytest.mark.lab

REPOSITORY = f"{ROOT}/apps/{{}}/repo.git"
WITNESS = '#!/bin/sh\necho "$0 $*" >> /run/was-called\nexit 1\n'
CALLED = "/run/was-called"
TOUCHED = "/tmp/was-called"  # where the account can write, too
VERIFIERS = ("gpg", "gpgsm", "ssh-keygen")
ACCEPTED = "/etc/ssh/sshd_config.d/any.conf"


def head(town: Town, app: str) -> str:
    """The commit of an app's branch."""
    argv = ("git", "-C", REPOSITORY.format(app), "-c", "safe.directory=*", "rev-parse", "main")
    return str(town.box.exec(*argv).stdout.strip())


# ---- what is sent -----------------------------------------------------------------------------------------------


def test_a_push_that_is_too_large_is_refused_with_the_name_of_the_limit(
    town: Town, attacker: Attacker
) -> None:
    """Git alone said `pack exceeds maximum allowed size`, and the audit log recorded it as done."""
    town.ground.pushrod("host", "limits", "push-size=1M")
    try:
        result = attacker.refused({"large": random.Random(7).randbytes(2 << 20)})
    finally:
        town.ground.pushrod("host", "limits", "push-size=default")
    assert "limit push-size of this host, 1 MiB" in result.what
    assert "pushrod host limits push-size=2M" in result.to_do
    (act,) = entries(town, "--key", "attacker", "-n", "1")
    assert (act["what"], act["result"], act["code"]) == ("push", "failed", 4)
    assert "push-size" in act["detail"]


@pytest.mark.parametrize(
    ("pack", "ended"),
    [
        (b"PACK\0\0\0\2\0\0\0\1 and no more", ("failed", 4, "Git refuses the pushed objects")),
        (b"no pack at all, but for its length", ("done", 0, "nothing accepted")),
        (
            delta_bomb(2 << 30),
            ("failed", 4, "an object of the push is beyond the limit file-size of this host"),
        ),
    ],
    ids=["cut off", "none", "grown"],
)
def test_a_push_refused_by_git_is_not_recorded_as_done(
    town: Town, attacker: Attacker, pack: bytes, ended: tuple[str, int, str]
) -> None:
    live = attacker.tree.head()
    send(attacker, f"{live} {'1' * 40} refs/heads/main\0report-status".encode(), pack)
    (act,) = entries(town, "--key", "attacker", "-n", "1")
    assert (act["what"], act["result"], act["code"]) == ("push", *ended[:2])
    assert ended[2] in act["detail"]


# ---- what is said of it -----------------------------------------------------------------------------------------


@pytest.fixture
def witnesses(town: Town) -> Iterator[Town]:
    """Programs replacing those that check signatures, which record that they were called."""
    places = [f"/usr/local/bin/{name}" for name in VERIFIERS]
    for place in places:
        town.box.put(place, WITNESS.encode())
        town.box.exec("chmod", "755", place)
    town.box.exec("install", "-m", "666", "/dev/null", CALLED)
    yield town
    town.box.exec("rm", "-f", CALLED, *places)


@pytest.mark.parametrize("kind", ["PGP SIGNATURE", "SSH SIGNATURE", "SIGNED MESSAGE"])
def test_push_certificates_are_not_passed_to_a_program(
    witnesses: Town, attacker: Attacker, kind: str
) -> None:
    """Git's client does not send one unasked; Git's server accepts it anyway."""
    commit = attacker.tree.commit({"more.txt": kind}, "signed")
    lines = (
        b"push-cert\0report-status",
        b"certificate version 0.1\n",
        b"pusher someone <someone@localhost> 1 +0000\n",
        b"\n",
        f"{head(witnesses, 'attacker')} {commit} refs/heads/main\n".encode(),
        f"-----BEGIN {kind}-----\n".encode(),
        b"anything\n",
        f"-----END {kind}-----\n".encode(),
        b"push-cert-end\n",
    )
    before = attacker.footprint()
    output = send(attacker, lines, pack_of(attacker, commit))
    assert "ng refs/heads/main" in output.stdout
    assert "push certificates are not accepted" in output.stderr + output.stdout
    assert witnesses.box.get(CALLED) == b""
    assert attacker.footprint() == before


def test_push_options_change_nothing(town: Town, attacker: Attacker) -> None:
    """They are accepted, as some have them in their settings for another server, and nothing reads them."""
    attacker.tree.commit({"app.py": PROGRAM, "more.txt": "options"}, "with options")
    options = (
        "ci.skip",
        "--root=/tmp",
        "app=victim",
        "keep=99",
        f"GIT_DIR={REPOSITORY.format('victim')}",
        "x" * 999,
    )
    theirs, before = head(town, "victim"), attacker.live
    argv = ("push", "--porcelain", *(f"--push-option={o}" for o in options), "pushrod", "HEAD:main")
    output = attacker.tree.git(*argv)
    attacker.live_commit = attacker.tree.head()
    assert "HEAD:refs/heads/main" in output
    assert head(town, "attacker") == attacker.live_commit
    assert head(town, "victim") == theirs
    (act,) = entries(town, "--key", "attacker", "-n", "1")
    assert (act["what"], act["app"], act["result"]) == ("push", "attacker", "done")
    assert attacker.live > before


# ---- access to objects ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def everything_accepted(town: Town) -> Iterator[None]:
    """A server whose sshd accepts any variable that a client sets."""
    town.box.put(ACCEPTED, b"AcceptEnv *\n")
    town.box.exec("systemctl", "restart", "ssh")  # unlike a reload, it returns when sshd listens
    try:
        yield
    finally:
        town.box.exec("rm", ACCEPTED)
        town.box.exec("systemctl", "restart", "ssh")


def test_no_client_variable_gives_access_to_another_apps_objects(
    town: Town, attacker: Attacker, victim: Party
) -> None:
    """A commit on top of the victim's, sent without the old objects: Git would accept it if it found them."""
    objects, theirs = f"{REPOSITORY.format('victim')}/objects", head(town, "victim")
    tree = plumb(attacker, "rev-parse", "HEAD^{tree}")
    body = f"tree {tree}\nparent {theirs}\nauthor a <a@localhost> 1 +0000\ncommitter a <a@localhost> 1 +0000\n\nx\n"
    commit = plumb(
        attacker, "hash-object", "-w", "-t", "commit", "--stdin", "--literally", stdin=body.encode()
    )
    lines = (f"{head(town, 'attacker')} {commit} refs/heads/main\0report-status".encode(),)
    pack = pack_of(attacker, commit, alone=True)
    with everything_accepted(town):
        for name in ("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_OBJECT_DIRECTORY", "GIT_DIR", "GIT_COMMON_DIR"):
            before = attacker.footprint()
            value = REPOSITORY.format("victim") if name.endswith("_DIR") else objects
            output = send(attacker, lines, pack, "-o", f"SetEnv={name}={value}")
            assert "ok refs/heads/main" not in output.stdout, (name, output)
            assert attacker.footprint() == before, name
    assert theirs == head(town, "victim")


def test_no_variable_of_a_client_makes_a_program_of_the_session_load_its_file(
    town: Town, attacker: Attacker
) -> None:
    """A directory that the account can read is all it takes: a checkout of what was pushed is one."""
    loaded = f"import pathlib; pathlib.Path({TOUCHED!r}).touch()\n"
    town.box.put(f"{ROOT}/apps/attacker/pushed/sitecustomize.py", loaded.encode())
    town.box.exec("chown", "-R", "pushrod:pushrod", f"{ROOT}/apps/attacker/pushed")
    variables = f"SetEnv=PYTHONPATH={ROOT}/apps/attacker/pushed"
    with everything_accepted(town):
        output = send(attacker, b"", b"", "-o", variables)
    assert "refs/heads/main" in output.stdout, output
    assert town.box.exec("test", "-e", TOUCHED, check=False).status == 1


def test_a_commit_that_contains_a_git_repository_reads_no_foreign_objects(
    town: Town, attacker: Attacker
) -> None:
    """Its `objects/info/alternates` names the victim's objects; Git run there would read them."""
    objects = f"{REPOSITORY.format('victim')}/objects"
    tree = {
        "HEAD": "ref: refs/heads/main\n",
        "config": f"[core]\n\tbare = true\n\tfsmonitor = touch {TOUCHED}\n",
        "objects/info/alternates": f"{objects}\n",
        "refs/heads/main": f"{head(town, 'victim')}\n",
        "copied/objects/info/alternates": f"{objects}\n",
        "compose.yaml": MANIFEST + "    volumes: ['./copied:/copied']\n",
    }
    done = attacker.pushes(tree)
    assert done.ok, done.err
    there = ("find", REPOSITORY.format("attacker"), "-path", "*info/alternates*", "-o", "-name", "*.keep")
    assert town.box.exec(*there).stdout == ""
    assert town.box.exec("test", "-e", TOUCHED, check=False).status == 1
    argv = ("git", "-C", REPOSITORY.format("attacker"), "-c", "safe.directory=*", "cat-file", "-e")
    assert town.box.exec(*argv, head(town, "victim"), check=False).status != 0


def test_a_build_context_that_contains_a_git_repository_runs_no_program(
    town: Town, attacker: Attacker
) -> None:
    """Docker's client asks Git for the commit of what it builds. This configuration has Git fetch that commit first,
    by a program of its own; the client is in a directory below, in which `HEAD` is no file."""
    tree = {
        "HEAD": "ref: refs/heads/main\n",
        "config": "[core]\n\trepositoryformatversion = 1\n\tbare = false\n\tworktree = .\n"
        f"\tsshCommand = touch {TOUCHED}; false\n\tfsmonitor = touch {TOUCHED}\n"
        '[extensions]\n\tpartialClone = x\n[remote "x"]\n\turl = ssh://x/y\n\tpromisor = true\n',
        "objects/kept": "",
        "refs/heads/main": f"{'1' * 40}\n",
        "context/app.py": (attacker.tree.path / "app.py").read_text(),
        "context/Dockerfile": (attacker.tree.path / "Dockerfile").read_text(),
        "compose.yaml": MANIFEST.replace("build: .", "build: ./context"),
    }
    done = attacker.pushes(tree)
    assert done.ok, done.err
    assert town.box.exec("test", "-e", TOUCHED, check=False).status == 1


# ---- hard links -------------------------------------------------------------------------------------------------

LINKING = """\
import itertools, os, sys
places = ("/t", "/d", "/v", "/app", "/tmp", "/etc", "/run/secrets", "/proc/1/root/etc")
for old, new in itertools.permutations(places, 2):
    for name in os.listdir(old) if os.path.isdir(old) else ():
        if os.path.isfile(f"{old}/{name}"):
            try:
                os.link(f"{old}/{name}", f"{new}/linked-{name}", follow_symlinks=False)
                print("linked", old, new, name)
            except OSError:
                pass
os.link("/d/own", "/d/again")
print("tried")
"""
ROOTED = "    user: '0'\n    volumes: ['./t:/t', './d:/d', 'vol:/v']\nvolumes: {vol: {}}\n"
INODES = "find {} -xdev -type f -printf '%i %n %p\\n'"


def test_a_container_cannot_hard_link_files_between_mounts(town: Town, attacker: Attacker) -> None:
    """By hard links, its own or pushrod's: tracked files are copied, and each mount is separate."""
    done = attacker.pushes({"t/file": "tracked", "compose.yaml": MANIFEST + ROOTED})
    assert done.ok, done.err
    name = town.container("attacker")
    writing = "open('/d/own', 'w').close(); open('/v/own', 'w').close()\n"
    output = town.box.docker("exec", name, "python", "-c", writing + LINKING)
    assert output.strip().splitlines()[-1] == "tried"
    mounts = [m["Source"] for m in town.inspect(name)["Mounts"] if m["RW"]]  # type: ignore[attr-defined]
    assert len(mounts) == 3
    listed = town.box.exec("sh", "-c", INODES.format(f"{ROOT} /var/lib/docker/volumes")).stdout
    rows = [line.split(" ", 2) for line in listed.splitlines()]
    inside = {inode for inode, _, path in rows if any(path.startswith(f"{m}/") for m in mounts)}
    elsewhere = {inode for inode, _, path in rows if not any(path.startswith(f"{m}/") for m in mounts)}
    assert len(inside) >= 3
    assert not inside & elsewhere
    own = {"/app", "/tmp", "/etc", "/proc/1/root/etc"}  # its own layer; /proc/1 is its first process
    crossing = [line for line in output.splitlines() if line.startswith("linked")]
    assert [line for line in crossing if not {*line.split()[1:3]} <= own] == []
