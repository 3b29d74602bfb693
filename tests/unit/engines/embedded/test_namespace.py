"""A namespace with names and paths of its own, as root and as an ordinary user."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pushrod.engines.embedded import namespace
from tests.unit.engines.embedded import kernel

USERS = [kernel.as_user, *([list] if os.geteuid() == 0 else [])]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user reaches, with a checkout, a script and the program."""
    made = Path(tempfile.mkdtemp(prefix="pushrod-room-", dir="/tmp"))
    made.chmod(0o755)
    (made / "checkout" / "app").mkdir(parents=True)
    (made / "checkout" / "app" / "main.py").write_text("main")
    (made / "start.sh").write_text('echo "started $@"\n')
    (made / "hosts").write_text("127.64.3.4\tdb\n127.0.0.1\tlocalhost\n")
    shutil.copy(namespace.__file__, made / "namespace.py")
    if os.geteuid() == 0:
        for path in (made, *made.rglob("*")):
            os.chown(path, kernel.USER, kernel.USER)
    yield made
    shutil.rmtree(made)


def entering(
    place: Path,
    places: Sequence[tuple[str, ...]],
    cwd: str,
    hosts: str = "hosts",
    writable: Sequence[str] = (),
) -> list[str]:
    room = {"hosts": str(place / hosts), "places": places, "cwd": cwd, "writable": writable}
    return [kernel.PYTHON, "-I", "-S", str(place / "namespace.py"), json.dumps(room)]


@pytest.mark.slow
@pytest.mark.parametrize("account", USERS)
def test_names_and_paths(place: Path, account: type) -> None:
    shown = [
        (str(place / "checkout"), "/pushrod-code"),
        (str(place / "start.sh"), "/pushrod-start.sh"),
        (str(place / "checkout" / "app"), "/usr/src/pushrod-app"),
        (str(place / "start.sh"), "/pushrod-code/added/start.sh"),
    ]
    script = (
        "pwd; cat app/main.py /usr/src/pushrod-app/main.py; sh /pushrod-start.sh a; sh added/start.sh b; "
        "getent hosts db; id -u; ls / /usr/src | grep -c .; ls -d /tmp /usr/bin /mnt; touch app/written"
    )
    argv = [*entering(place, shown, "/pushrod-code"), "sh", "-c", script]
    done = kernel.run(account(argv))
    assert done.stderr == ""
    lines = done.stdout.split("\n")
    assert lines[0] == "/pushrod-code"
    assert lines[1] == "mainmainstarted a"
    assert lines[2] == "started b"
    assert lines[3].split() == ["127.64.3.4", "db"]
    assert lines[4] == kernel.run(account(["id", "-u"])).stdout.strip()
    assert lines[6:] == ["/mnt", "/tmp", "/usr/bin", ""]
    assert (place / "checkout" / "app" / "written").exists()
    assert not any(Path(p).exists() for p in ("/pushrod-code", "/pushrod-start.sh", "/usr/src/pushrod-app"))


@pytest.mark.slow
@pytest.mark.parametrize("account", USERS)
def test_only_what_is_named_is_writable_in_a_read_only_room(place: Path, account: type) -> None:
    for data in (place / "data", place / "a b"):
        data.mkdir()
        data.chmod(0o777)
    shown = [
        (str(place / "checkout"), "/pushrod-code", ""),
        (str(place / "a b"), "/pushrod-code/a b", ""),
        (str(place / "data"), "/pushrod-closed", "ro"),
        ("tmpfs", "/pushrod-code/memory", "mode=1777,size=64k"),
    ]
    open_ = ["/pushrod-code/a b/x", "/pushrod-code/memory/x", "/tmp/pushrod-room-x"]
    code = "/pushrod-code/app/x"
    tries = [*open_, code, "/pushrod-closed/x"]
    script = "".join(f"(echo > '{t}') 2> /dev/null && echo '{t}'; " for t in tries)
    script += (
        "rm -f /tmp/pushrod-room-x; head -c 99999 /dev/zero 2> /dev/null > memory/x || stat -c %s memory/x"
    )

    def written(*writable: str) -> list[str]:
        argv = entering(place, shown, "/pushrod-code", writable=writable)
        done = kernel.run(account([*argv, "sh", "-c", script]))
        assert "namespace:" not in done.stderr
        return done.stdout.splitlines()

    assert written("/tmp", "/pushrod-code/a b", "/pushrod-code/memory") == [*open_, "65536"]
    assert written() == [*open_, code, "65536"]


def test_an_ordinary_user_gains_no_rights(place: Path) -> None:
    script = "grep -E '^Cap(Eff|Prm)' /proc/self/status; mount -t tmpfs x /tmp; cat /etc/shadow"
    done = kernel.run(kernel.as_user([*entering(place, [], "/"), "sh", "-c", script]))
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["0" * 16, "0" * 16]
    assert done.stderr.count("denied") + done.stderr.count("superuser") >= 2


def test_the_program_runs_where_namespaces_are_forbidden(place: Path) -> None:
    argv = [*entering(place, [], str(place)), "sh", "-c", "pwd; getent hosts db || echo unknown"]
    done = kernel.run(kernel.as_user(kernel.refusing("namespaces", argv)))
    assert done.returncode == 0
    assert done.stdout.splitlines()[1:] == ["unknown"]
    assert done.stderr.startswith(
        "namespace: names and paths are those of the machine: unshare: Operation not"
    )


@pytest.mark.slow
def test_a_try_says_whether_it_works(place: Path) -> None:
    argv = entering(place, [], "/")
    assert kernel.run(kernel.as_user(argv)).returncode == 0
    assert kernel.run(kernel.as_user(kernel.refusing("namespaces", argv))).returncode == 1
    assert kernel.run(entering(place, [], "/", hosts="missing")).returncode == 1


def test_a_missing_program(place: Path) -> None:
    done = kernel.run([*entering(place, [], "/"), "no-such-program"])
    assert (done.returncode, done.stderr) == (
        126,
        "namespace: cannot execute no-such-program: No such file or directory\n",
    )


def test_no_link_of_the_commit_leads_a_place_to_the_machines_own_paths(place: Path) -> None:
    (place / "checkout" / "media").symlink_to("/usr/bin")
    shown = [(str(place / "checkout"), "/pushrod-code"), (str(place / "checkout"), "/pushrod-code/media")]
    done = kernel.run(kernel.as_user([*entering(place, shown, "/"), "ls", "/usr/bin/env"]))
    assert "/pushrod-code/media leads out of /pushrod-code" in done.stderr
    assert done.stdout == "/usr/bin/env\n"


def test_a_directory_that_cannot_be_listed_hides_nothing_else(place: Path) -> None:
    """An ordinary user may mount below it all the same, as a container does below /root."""
    (place / "closed").mkdir(mode=0o711)
    (place / "closed").chmod(0o300)
    shown = [(str(place / "checkout"), str(place / "closed" / "cache"))]
    done = kernel.run(kernel.as_user([*entering(place, shown, "/"), "cat", f"{shown[0][1]}/app/main.py"]))
    (place / "closed").chmod(0o700)
    assert (done.stdout, done.stderr) == ("main", "")
