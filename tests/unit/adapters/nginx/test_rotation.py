"""Large logs are moved aside, by a program that runs on its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pushrod.adapters.nginx import rotation
from pushrod.system import locks


@pytest.fixture
def edge(tmp_path: Path) -> Path:
    for name in ("logs", "run"):
        (tmp_path / name).mkdir()
    (tmp_path / "lock").touch()
    return tmp_path


def texts(edge: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in (edge / "logs").iterdir()}


def run(edge: Path) -> None:
    argv = [sys.executable, "-I", "-S", rotation.__file__, str(edge)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_large_logs_are_rotated_and_the_oldest_removed(edge: Path) -> None:
    (edge / "logs" / "error.log").write_text("short")
    for text in ("first...", "second...", "third...", "fourth..."):
        (edge / "logs" / "access.log").write_text(text)
        assert rotation.rotate(edge, max_bytes=5, keep=2) == ("access.log",)
    assert texts(edge) == {"access.log.1": "fourth...", "access.log.2": "third...", "error.log": "short"}
    assert rotation.rotate(edge, max_bytes=5, keep=2) == ()


def test_a_pid_file_of_another_process_is_ignored(edge: Path) -> None:
    assert rotation.master(edge) == 0
    for text in ("1\n", f"{os.getpid()}\n", "no number"):
        (edge / "run" / "nginx.pid").write_text(text)
        assert rotation.master(edge) == 0


@pytest.mark.slow
def test_rotation_does_nothing_during_a_switch(edge: Path) -> None:
    with (edge / "logs" / "access.log").open("wb") as f:
        f.truncate(rotation.MAX_BYTES + 1)
    with locks.lock(edge / "lock", purpose="switching", timeout=5):
        run(edge)
        assert set(texts(edge)) == {"access.log"}
    run(edge)
    assert set(texts(edge)) == {"access.log.1"}
    run(edge)
