"""Input is bounded before it is expanded, and no raw input reaches a terminal.

Each attack is small on the wire, and bounded in what it could use if it succeeded."""

import base64
import re
import subprocess
from collections.abc import Iterator

import pytest

from pushrod.provisioning import shares
from tests.attacks.town import Attacker, Town
from tests.attacks.wire import plumb, send
from tests.packs import delta_bomb

pytestmark = pytest.mark.lab

ESCAPES = "evil \x1b]0;PWNED\x07\x1b[2J\x1b[1A subject \x1b]52;c;cm0gLXJmIC8=\x07 \u202etxt.exe\u2066"
RELEASED = "health: /, release: python release.py"
RAW = re.compile("\x1b[^\\[]|\x1b\\[[0-9;?]*[^0-9;?m]|[\x00\x07\x9b\u202e\u2066]")


def bomb(levels: int, width: int = 9) -> str:
    """Lines of YAML that expand to `width ** levels` values."""
    lines = [f"x-0: &a0 [{', '.join('x' * width)}]"]
    lines += [f"x-{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


WEB = "services: {web: {build: ., ports: ['8080:8080']}}\n"


def back(attacker: Attacker) -> None:
    """Restore the attacker's app."""
    attacker.reset()
    done = attacker.tree.push("--force", "pushrod", "HEAD:main")
    assert done.ok, done.err


# ---- manifests ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "files",
    [
        {"compose.yaml": bomb(7) + WEB},
        {"compose.yaml": "include: [more.yaml]\n" + WEB, "more.yaml": bomb(7) + "services: {}\n"},
        {
            "compose.yaml": "services: {web: {extends: {file: more.yaml, service: web}}}\n",
            "more.yaml": bomb(7) + WEB,
        },
        {"compose.yaml": "x: " + "[" * 50_000 + "]" * 50_000 + "\n" + WEB},
        {"compose.yaml": WEB.replace("ports", "env_file: big.txt, ports"), "big.txt": "A=1\n" * 400_000},
        {"compose.yaml": WEB + "#" * (2 << 20)},
        {"Dockerfile": "FROM python:3.13-slim\n" + "RUN true\n" * 200_000},
    ],
    ids=["aliases", "included", "extended", "deep", "env-file", "large", "dockerfile"],
)
def test_a_manifest_is_not_expanded_beyond_its_limits(files: dict[str, str], attacker: Attacker) -> None:
    result = attacker.refused(files)
    assert re.search(r"more than .* (values|levels)|max depth|at most 1 MiB", result.what), result
    assert result.to_do


def test_expansion_after_interpolation_is_limited_by_the_kernel(attacker: Attacker) -> None:
    """The file's name is in a variable, so nobody can check it before the loader does."""
    files = {
        "compose.yaml": "include: ['${FILE:-more.yaml}']\n" + WEB,
        "more.yaml": bomb(7) + "services: {}\n",
    }
    result = attacker.refused(files)
    assert "more memory, time or room" in result.what, result


# ---- trees ----------------------------------------------------------------------------------------------------


def push_tree(attacker: Attacker, oid: str) -> str:
    """Push a commit with a tree; returns the client's output."""
    commit = plumb(attacker, "commit-tree", "-p", "HEAD", "-m", "odd", oid)
    done = attacker.tree.push("--force", "pushrod", f"{commit}:refs/heads/main")
    assert not done.ok
    return done.err


def nested_tree(attacker: Attacker, levels: int, width: int, content: bytes = b"x") -> str:
    blob = plumb(attacker, "hash-object", "-w", "--stdin", stdin=content)
    oid = plumb(
        attacker, "mktree", stdin="".join(f"100644 blob {blob}\t{n}\n" for n in range(width)).encode()
    )
    for _ in range(levels - 1):
        oid = plumb(
            attacker, "mktree", stdin="".join(f"040000 tree {oid}\t{n}\n" for n in range(width)).encode()
        )
    return oid


@pytest.mark.parametrize("levels, width", [(17, 2), (9, 10)])
def test_a_tree_bomb_is_refused(levels: int, width: int, town: Town, attacker: Attacker) -> None:
    output = push_tree(attacker, nested_tree(attacker, levels, width))
    assert "limit tree-files of this host, 100000" in output
    assert "pushrod host limits tree-files=" in output
    assert not list_checkouts(town)


def test_a_tree_that_repeats_a_large_file_does_not_fill_the_disk(town: Town, attacker: Attacker) -> None:
    """11 objects and 1 MB of zeros, packed into a kilobyte, for 4 GiB of files."""
    output = push_tree(attacker, nested_tree(attacker, 12, 2, b"\0" * (1 << 20)))
    assert "limit tree-size of this host, 2 GiB" in output
    assert not list_checkouts(town)


def test_a_gigabyte_of_zeros_is_not_written(town: Town, attacker: Attacker) -> None:
    path = attacker.tree.path / "zeros"
    with path.open("wb") as f:
        f.truncate(600 << 20)
    blob = plumb(attacker, "hash-object", "-w", "zeros")
    path.unlink()
    output = push_tree(attacker, plumb(attacker, "mktree", stdin=f"100644 blob {blob}\tzeros\n".encode()))
    assert "limit file-size of this host, 512 MiB: zeros has 600 MiB" in output
    assert not list_checkouts(town)


def test_a_tree_bomb_in_the_history_is_not_checked_out_for_a_plan(town: Town, attacker: Attacker) -> None:
    """The tip is harmless, so the push goes live; then the repository also has the commit before it."""
    inner = plumb(attacker, "commit-tree", "-p", "HEAD", "-m", "bomb", nested_tree(attacker, 17, 2))
    tip = plumb(attacker, "commit-tree", "-p", inner, "-m", "harmless", "HEAD^{tree}")
    attacker.tree.git("reset", "--hard", tip)
    assert attacker.push().ok
    done = attacker.asks("plan", "--app", "attacker", inner)
    assert done.status != 0
    assert "tree-files" in done.stderr
    back(attacker)


def test_paths_that_are_too_long_are_refused(attacker: Attacker) -> None:
    stream = (
        "commit refs/heads/deep\ncommitter a <a@localhost> 1700000000 +0000\ndata 1\nx\n"
        f"M 100644 inline {'d/' * 2000}f\ndata 1\nx\n\n"
    )
    plumb(attacker, "fast-import", "--quiet", "--force", stdin=stream.encode())
    assert re.search("a path of|cannot be listed", push_tree(attacker, "refs/heads/deep^{tree}"))


def list_checkouts(town: Town) -> list[str]:
    """The checkouts left on the server; more than those of the live releases are too many."""
    result = town.box.exec(
        "sh", "-c", "ls -d /var/lib/pushrod/apps/attacker/checkouts/*.tar 2>/dev/null; true"
    ).stdout
    return result.split()


# ---- packs ----------------------------------------------------------------------------------------------------


def test_a_large_delta_is_not_expanded_in_memory(town: Town, attacker: Attacker) -> None:
    """Three bytes per copy: 100 kB of delta for a 2 GiB object."""
    live = attacker.tree.head()
    peak = f"/sys/fs/cgroup/memory/pushrodgate.slice/{shares.unit('attacker')}/memory.max_usage_in_bytes"
    town.box.exec("tee", peak, stdin="0")
    output = send(attacker, f"{live} {'1' * 40} refs/heads/main\0report-status".encode(), delta_bomb(2 << 30))
    assert "ok refs/heads/main" not in output.stdout
    assert "unpack ok" not in output.stdout
    assert int(town.box.get(peak)) < 1 << 30
    assert attacker.is_live


def test_a_push_of_many_refs_is_refused(attacker: Attacker) -> None:
    refs = [f"HEAD:refs/heads/x{n}" for n in range(2000)]
    done = attacker.tree.push("pushrod", *refs)
    assert not done.ok
    assert "only `main` is deployed" in done.err


@pytest.mark.parametrize(
    "ref",
    [
        "refs/heads/dev",
        "refs/tags/v1",
        "refs/replace/" + "1" * 40,
        "refs/notes/x",
        "refs/plans/x",
        "refs/heads/m\u202ena",
        "refs/meta/config",
    ],
)
def test_no_other_ref_is_made(ref: str, town: Town, attacker: Attacker) -> None:
    """A tag of the live commit would be accepted; this commit is not."""
    attacker.tree.commit({"more": ref}, "not to go anywhere")
    done = attacker.tree.push("pushrod", f"HEAD:{ref}")
    assert not done.ok
    output = [line for line in done.err.split("\n") if line.startswith("pushrod:")]
    assert output
    assert "\u202e" not in output[0]
    result = town.box.exec(
        "git", "-C", "/var/lib/pushrod/apps/attacker/repo.git", "-c", "safe.directory=*", "for-each-ref"
    ).stdout
    assert ref not in result


def test_a_client_cannot_influence_the_git_configuration(town: Town, attacker: Attacker) -> None:
    """Push options have no effect, filters and certificates are refused; another app's objects are not there."""
    done = attacker.tree.push("-o", "ci.skip", "pushrod", "HEAD:main")
    assert "push options" not in done.err
    victim = town.box.exec(
        "git", "-C", "/var/lib/pushrod/apps/victim/repo.git", "-c", "safe.directory=*", "rev-parse", "main"
    ).stdout.strip()
    with pytest.raises(subprocess.CalledProcessError):
        plumb(attacker, "fetch", "pushrod", victim)


# ---- terminals ------------------------------------------------------------------------------------------------


def on_a_terminal(town: Town, *argv: str) -> str:
    """What the server's owner sees on a terminal."""
    words = " ".join(f"'{word}'" for word in argv)
    return str(town.box.exec("script", "-qec", f"pushrod {words}", "/dev/null", check=False).stdout)


@pytest.fixture
def talkative(attacker: Attacker) -> Iterator[Attacker]:
    """The attacker's app, whose commit, build, release command and instance all print terminal control
    sequences."""
    printing = (
        f"import sys; sys.stdout.buffer.write({(ESCAPES + chr(0)).encode()!r} + b'\\n'); sys.stdout.flush()"
    )
    quoted = base64.b64encode(printing.encode()).decode()
    run = f"python -c \"import base64; exec(base64.b64decode('{quoted}'))\""
    program = (attacker.tree.path / "app.py").read_text()
    files = {
        "app.py": printing + "\n" + program,
        "release.py": printing,
        "Dockerfile": (attacker.tree.path / "Dockerfile").read_text() + f"COPY release.py .\nRUN {run}\n",
        "compose.yaml": (attacker.tree.path / "compose.yaml").read_text().replace("health: /", RELEASED),
        "file\x1b]0;x\x07.txt": "x",
    }  # fmt: skip
    done = attacker.pushes(files, message=ESCAPES)
    assert done.ok, done.err
    assert "evil" in done.err
    assert not RAW.search(done.err), RAW.search(done.err)
    yield attacker
    back(attacker)


def test_control_characters_of_others_do_not_reach_the_terminal(town: Town, talkative: Attacker) -> None:
    for verb in ("releases", "status", "logs"):
        shown = on_a_terminal(town, verb, "--app", "attacker")
        assert not RAW.search(shown), (verb, RAW.search(shown))
        assert "evil \\x1b]0;PWNED" in shown, (verb, shown)
    output = talkative.pushes({"release.py": "import sys; print('\\x1b]0;x\\x07 bad \\0'); sys.exit(3)"})
    assert not output.ok
    assert "\\x1b]0;x\\x07 bad \\x00" in output.err
    assert not RAW.search(output.err)
    talkative.tree.git("reset", "--hard", "HEAD~1")
