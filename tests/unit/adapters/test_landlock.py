"""The kernel's own sandbox around a program."""

import shutil
import sys
from pathlib import Path

import pytest

from pushrod.adapters import landlock
from pushrod.system import processes

landlocked = pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")

SOFTWARE = [place for place in ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache") if Path(place).exists()]


def confined(place: Path, *argv: str) -> processes.Completed:
    program = [shutil.which(argv[0]) or argv[0], *argv[1:]]
    return processes.run(
        [sys.executable, "-I", "-S", landlock.__file__, str(place), *SOFTWARE, "--", *program]
    )


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "own").write_text("own\n")
    (tmp_path / "other").write_text("other\n")
    (tmp_path / "in" / "link").symlink_to("../other")
    return tmp_path / "in"


@landlocked
def test_files_below_the_directory_are_readable(place: Path) -> None:
    assert confined(place, "cat", str(place / "own")) == (0, "own\n", "")


@landlocked
@pytest.mark.parametrize("path", ["../other", "link", "/etc/passwd", "/proc/self/environ"])
def test_files_outside_the_directory_are_not_readable(place: Path, path: str) -> None:
    done = confined(place, "cat", str(place / path))
    assert (done.status, done.stdout) == (1, "")
    assert "ermission denied" in done.stderr


@pytest.mark.slow
@landlocked
def test_the_directory_is_not_writable(place: Path) -> None:
    assert confined(place, "cp", str(place / "own"), str(place / "new")).status == 1
    assert confined(place, "rm", "-f", str(place / "own")).status == 1
    assert sorted(path.name for path in place.iterdir()) == ["link", "own"]


CONNECTS = """\
import contextlib, os, socket, sys
families = [socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET]
kinds = [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW]
for family in families:
    for kind in kinds:
        with contextlib.suppress(PermissionError):
            print("a socket", family, kind, socket.socket(family, kind))
with contextlib.suppress(PermissionError):
    print("a name", socket.getaddrinfo("localhost.example", 80, socket.AF_INET))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such filters")
@pytest.mark.parametrize("places", [(), ("/",)], ids=["without Landlock", "with it"])
def test_no_network_is_reached_on_any_kernel(places: tuple[str, ...]) -> None:
    argv = [
        sys.executable,
        "-I",
        "-S",
        landlock.__file__,
        *places,
        "--",
        sys.executable,
        "-I",
        "-c",
        CONNECTS,
    ]
    done = processes.run(argv)
    output = [line for line in done.stderr.splitlines() if "gaierror" not in line]
    assert "a socket" not in done.stdout, output
    assert "a name" not in done.stdout, output


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such filters")
def test_programs_are_started_and_read_as_before() -> None:
    argv = [sys.executable, "-I", "-S", landlock.__file__, "--", "/bin/sh", "-c", "echo a | cat; exit 3"]
    done = processes.run(argv)
    assert (done.status, done.stdout, done.stderr) == (3, "a\n", "")


def test_a_missing_program_is_reported(place: Path) -> None:
    done = confined(place, "/nowhere/program")
    assert done.status == landlock.FAILED
    assert done.stderr.startswith("/nowhere/program could not be confined and started: ")
    assert "Traceback" not in done.stderr


@landlocked
def test_a_missing_directory_is_reported(place: Path) -> None:
    done = confined(place / "gone", "true")
    assert done.status == landlock.FAILED
    assert "Traceback" not in done.stderr
