"""The kernel's own sandbox around a program."""

import shutil
import sys
from pathlib import Path

import pytest

from pushrod.adapters import landlock
from pushrod.system import processes

pytestmark = pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")

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


def test_what_is_below_the_place_is_read(place: Path) -> None:
    assert confined(place, "cat", str(place / "own")) == (0, "own\n", "")


@pytest.mark.parametrize("path", ["../other", "link", "/etc/passwd", "/proc/self/environ"])
def test_nothing_else_is(place: Path, path: str) -> None:
    done = confined(place, "cat", str(place / path))
    assert (done.status, done.stdout) == (1, "")
    assert "ermission denied" in done.stderr


def test_nothing_is_written_even_there(place: Path) -> None:
    assert confined(place, "cp", str(place / "own"), str(place / "new")).status == 1
    assert confined(place, "rm", "-f", str(place / "own")).status == 1
    assert sorted(path.name for path in place.iterdir()) == ["link", "own"]


def test_a_program_that_is_not_there(place: Path) -> None:
    done = confined(place, "/nowhere/program")
    assert done.status == landlock.FAILED
    assert done.stderr.startswith("/nowhere/program could not be confined and started: ")
    assert "Traceback" not in done.stderr


def test_a_place_that_is_not_there(place: Path) -> None:
    done = confined(place / "gone", "true")
    assert done.status == landlock.FAILED
    assert "Traceback" not in done.stderr
