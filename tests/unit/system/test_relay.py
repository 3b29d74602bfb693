"""What the page hangs up on ends, unless it may change something."""

import socket
import sys
import threading
from pathlib import Path

import pytest

from pushrod.system import relay, waits

WAITS = """\
import pathlib, sys, time
pathlib.Path(sys.argv[1]).touch()
time.sleep({})
pathlib.Path(sys.argv[2]).touch()
"""


@pytest.mark.slow
@pytest.mark.parametrize("stay", [False, True])
def test_a_page_that_is_gone_ends_only_what_changes_nothing(stay: bool, tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    argv = [sys.executable, "-c", WAITS.format(1.5 if stay else 60), str(begun), str(ended)]
    status: list[int] = []
    thread = threading.Thread(target=lambda: status.append(relay.serve(theirs, argv, stay=stay)), daemon=True)
    thread.start()
    assert waits.wait_until(begun.exists, 10)
    ours.close()
    thread.join(15)
    assert status == [0 if stay else -15]
    assert ended.exists() == stay


def test_the_first_line_stays_for_the_program() -> None:
    ours, theirs = socket.socketpair()
    ours.sendall(b'{"a": 1}\nvalue')
    assert relay.first_line(theirs, 1000) == b'{"a": 1}'
    assert theirs.recv(100) == b'{"a": 1}\nvalue'


@pytest.mark.parametrize("sent", [b"", b"x" * 100])
def test_without_a_line_there_is_none(sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    ours.sendall(sent)
    ours.close()
    assert relay.first_line(theirs, 50, timeout=1.0) == b""
