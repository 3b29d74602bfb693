"""Locks, tested with the real system."""

import os
import signal
import stat
from pathlib import Path

import pytest

from pushrod.core.errors import BusyError
from pushrod.system import locks
from tests.conftest import beside
from tests.unit.system.children import gone


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


HOLDER = """
import subprocess, sys
from pathlib import Path
from pushrod.system import locks
with locks.lock(Path(sys.argv[1]), purpose="deploying 1234567", timeout=10):
    child = subprocess.Popen(["sleep", "300"])
    print(child.pid)
    sys.stdin.readline()
    child.kill()
"""


def test_a_second_command_waits_and_learns_the_holder_of_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "below" / "lock"
    with beside(HOLDER, path) as holder:
        holder.line()
        holders: list[str] = []

        def waiting(text: str) -> None:
            holders.append(text)
            holder.send_line()

        with locks.lock(path, purpose="mine", timeout=20, on_wait=waiting):
            assert f"mine (process {os.getpid()})" == path.read_text()
        assert holders == [f"deploying 1234567 (process {holder.pid})"]
        assert path.read_text() == ""


def test_a_lock_ends_with_its_holder_even_if_a_child_survives(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with beside(HOLDER, path) as holder:
        child = int(holder.line())
        try:
            assert locks.locked(path)
            holder.signal(signal.SIGKILL)
            holder.child.wait(timeout=10)
            assert not gone(child)
            assert not locks.locked(path)
            with locks.lock(path, purpose="mine", timeout=0):
                assert locks.locked(path)
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_lock_file_is_private(tmp_path: Path) -> None:
    """Read access is enough to hold one; a lock file of an older pushrod is closed too."""
    (tmp_path / "old").touch(mode=0o644)
    for path in (tmp_path / "new", tmp_path / "old"):
        with locks.lock(path, purpose="a test", timeout=1):
            assert mode(path) == 0o600


def test_a_link_instead_of_a_lock_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("theirs")
    (tmp_path / "lock").symlink_to("target")
    with pytest.raises(OSError), locks.lock(tmp_path / "lock", purpose="a test", timeout=1):
        pass
    assert (tmp_path / "target").read_text() == "theirs"


@pytest.mark.slow
def test_waiting_for_a_lock_has_a_time_limit(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with beside(HOLDER, path) as holder:
        holder.line()
        with pytest.raises(BusyError) as e, locks.lock(path, purpose="mine", timeout=0.1):
            pytest.fail("two hold one lock")
        assert f"deploying 1234567 (process {holder.pid})" in e.value.what
        assert e.value.where == str(path)
        holder.send_line()
        assert holder.end()[0] == 0
    assert not locks.locked(path)


def test_a_lock_is_released_if_its_holder_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError), locks.lock(tmp_path / "lock", purpose="x", timeout=0):
        raise KeyError
    assert not locks.locked(tmp_path / "lock")


def test_checking_a_lock_does_not_create_it(tmp_path: Path) -> None:
    assert not locks.locked(tmp_path / "lock")
    assert not (tmp_path / "lock").exists()


COUNTER = """
import sys
from pathlib import Path
from pushrod.system import locks
counter = Path(sys.argv[1])
for _ in range(40):
    with locks.lock(counter.with_name("lock"), purpose="counting", timeout=60):
        counter.write_text(str(int(counter.read_text()) + 1))
"""


@pytest.mark.slow
def test_a_lock_excludes_other_processes(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    with beside(COUNTER, counter) as one, beside(COUNTER, counter) as two, beside(COUNTER, counter) as three:
        assert [p.end()[0] for p in (one, two, three)] == [0, 0, 0]
    assert counter.read_text() == "120"


def test_a_directory_instead_of_a_lock_file_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.mkdir()
    (path / "x").touch()
    with locks.lock(path, purpose="one", timeout=0):
        assert locks.locked(path)
        with pytest.raises(BusyError), locks.lock(path, purpose="two", timeout=0):
            pass
    assert (tmp_path / "lock.damaged-1" / "x").exists()
