"""The step before nginx starts: a dead socket is removed, a live one stays."""

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pushrod.adapters.nginx import start


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as short:
        yield Path(short) / "mark.sock"


def listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.fspath(path))
    listener.listen(1)
    return listener


def test_a_socket_with_a_listener_is_kept(path: Path) -> None:
    with listen(path):
        start.remove_stale_socket(path, patience=0.1)
        assert path.is_socket()


def test_a_socket_without_a_listener_is_removed(path: Path) -> None:
    listen(path).close()
    start.remove_stale_socket(path)
    assert not path.exists()


def test_a_listener_that_is_about_to_go_is_waited_for(path: Path) -> None:
    listener = listen(path)
    waiting = threading.Thread(target=start.remove_stale_socket, args=(path, 20.0))
    waiting.start()
    listener.accept()[0].close()
    listener.close()
    waiting.join(20)
    assert not path.exists()


def test_a_missing_or_regular_file_is_left_alone(path: Path) -> None:
    start.remove_stale_socket(path)
    assert not path.exists()
    path.write_text("text")
    start.remove_stale_socket(path)
    assert path.read_text() == "text"


def begin(path: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", start.__file__, str(path), *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def test_the_program_is_executed_with_its_arguments(path: Path) -> None:
    listen(path).close()
    done = begin(path, sys.executable, "-c", "import sys; print(sys.argv[1:]); sys.exit(7)", "a b", "c")
    assert (done.returncode, done.stdout) == (7, "['a b', 'c']\n")
    assert not path.exists()


@pytest.mark.slow
def test_a_live_socket_is_left_alone(path: Path) -> None:
    with listen(path):
        assert begin(path, sys.executable, "-c", "").returncode == 0
        assert path.exists()
