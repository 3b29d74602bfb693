"""The program that stands for a verb behind the door: input, output, errors and the exit status are the verb's."""

import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pushrod.system import relay, relay_client

VERB = "import sys; given = sys.stdin.read(); print('out', given); print('err', file=sys.stderr); sys.exit(3)"


def answered(path: Path, verb: str) -> threading.Thread:
    """A door that takes one call."""
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    door.bind(str(path))
    door.listen(1)

    def take() -> None:
        page, _ = door.accept()
        relay.serve(page, [sys.executable, "-c", verb])
        page.close()
        door.close()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    return thread


def dialled(path: Path, given: str = "") -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-I", "-S", relay_client.__file__, str(path)]
    return subprocess.run(argv, input=given, capture_output=True, text=True, timeout=30, check=False)


def test_a_call_is_the_verb(tmp_path: Path) -> None:
    thread = answered(tmp_path / "door", VERB)
    done = dialled(tmp_path / "door", "one\ntwo")
    thread.join(10)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out one\ntwo\n", "err\n")


def test_a_signal_that_ended_the_verb_is_its_status(tmp_path: Path) -> None:
    answered(tmp_path / "door", "import os; os.kill(os.getpid(), 15)")
    assert dialled(tmp_path / "door").returncode == 128 + 15


def test_a_door_that_is_not_there_or_breaks_off_is_an_error(tmp_path: Path) -> None:
    done = dialled(tmp_path / "door")
    assert (done.returncode, "does not open" in done.stderr) == (10, True)
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    door.bind(str(tmp_path / "door"))
    door.listen(1)
    threading.Thread(target=lambda: door.accept()[0].close(), daemon=True).start()
    done = dialled(tmp_path / "door", "x")
    assert (done.returncode, "broke off" in done.stderr) == (10, True)


@pytest.mark.parametrize("content", [b"", b"x", b"\x00" * 70_000])
def test_a_frame_has_its_length(content: bytes) -> None:
    raw = relay_client.frame(b"o", content)
    assert relay_client.HEAD.unpack(raw[: relay_client.HEAD.size]) == (b"o", len(content))
    assert raw[relay_client.HEAD.size :] == content
