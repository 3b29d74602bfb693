"""The keeper, run as supervisord runs it, with the test's own socket and supervisor program."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pushrod.engines.embedded import supervisord_watchdog
from pushrod.system import locks, waits


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "start"
    path.write_text('echo "Error: it does not start, $#"; exit 2\n')
    return path


@pytest.fixture
def kept(script: Path) -> Iterator[subprocess.Popen[bytes]]:
    arguments = [str(script), str(script.with_name("socket")), str(script.with_name("lock"))]
    command = [sys.executable, "-I", "-S", supervisord_watchdog.__file__, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        yield child
        child.kill()


def end(child: subprocess.Popen[bytes]) -> None:
    """What the keeper sees when supervisord ends."""
    assert child.stdin
    child.stdin.close()


@pytest.mark.slow
def test_sleeps_while_the_supervisor_lives(kept: subprocess.Popen[bytes]) -> None:
    assert kept.stdin
    kept.stdin.write(b"x")
    kept.stdin.flush()
    with pytest.raises(subprocess.TimeoutExpired):
        kept.wait(timeout=0.3)


def test_the_keeper_ends_if_its_files_are_gone(script: Path, kept: subprocess.Popen[bytes]) -> None:
    script.unlink()
    end(kept)
    assert kept.wait(timeout=10) == 0
    assert not script.with_name("supervisord.log").exists()


def test_ends_when_another_supervisor_answers(script: Path, kept: subprocess.Popen[bytes]) -> None:
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(script.with_name("socket")))
        s.listen()
        end(kept)
        assert kept.wait(timeout=10) == 0
    assert not script.with_name("supervisord.log").exists()


@pytest.mark.slow
def test_the_keeper_waits_while_another_process_starts_one(
    script: Path, kept: subprocess.Popen[bytes]
) -> None:
    with locks.lock(script.with_name("lock"), purpose="test", timeout=5):
        end(kept)
        with pytest.raises(subprocess.TimeoutExpired):
            kept.wait(timeout=0.3)
        script.unlink()
        assert not script.with_name("supervisord.log").exists()


@pytest.mark.slow
def test_the_keeper_retries_and_logs_it(script: Path, kept: subprocess.Popen[bytes]) -> None:
    log = script.with_name("supervisord.log")
    end(kept)
    assert waits.wait_until(lambda: log.exists() and log.read_text().count("starting it") == 2, 20)
    assert "Error: it does not start, 0" in log.read_text()
    script.unlink()
    assert kept.wait(timeout=10) == 0


def test_answers_only_if_the_socket_has_a_listener(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    assert not supervisord_watchdog.answers(str(path))
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(path))
        assert not supervisord_watchdog.answers(str(path))
        s.listen()
        assert supervisord_watchdog.answers(str(path))
    assert path.exists()
    assert not supervisord_watchdog.answers(str(path))
