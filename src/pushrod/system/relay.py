"""The other end of `relay_client`: runs a program with what comes from the page, and sends back what it prints."""

import os
import select
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Sequence

from pushrod.system.files import os_error
from pushrod.system.relay_client import frame

_BLOCK = 1 << 15
_LOOK = 1000  # milliseconds between two looks at whether the page is still there


def serve(page: socket.socket, argv: Sequence[str], *, stay: bool = False) -> int:
    """Run the program with the page's bytes as its standard input, and send its output and its status.

    If the page hangs up, the program is ended, except with `stay`: a deployment is not undone because a page was
    closed. Returns the program's status.
    """
    try:
        child = subprocess.Popen(  # noqa: S603  what the caller names, and never a shell
            list(argv),
            stdin=page.fileno(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as e:
        raise os_error(e, argv[0]) from e
    assert child.stdout is not None and child.stderr is not None  # noqa: S101  both are pipes
    gone = select.poll()
    gone.register(page, 0)  # POLLHUP alone
    open_, here = selectors.DefaultSelector(), True
    open_.register(child.stdout, selectors.EVENT_READ, b"o")
    open_.register(child.stderr, selectors.EVENT_READ, b"e")
    while open_.get_map():
        for key, _ in open_.select(_LOOK / 1000):
            block = os.read(key.fd, _BLOCK)
            if not block:
                open_.unregister(key.fileobj)
            elif here:
                here = _sent(page, frame(key.data, block))
        if here and any(event & select.POLLHUP for _, event in gone.poll(0)):
            here = False
        if not here and not stay:
            os.killpg(child.pid, signal.SIGTERM)
            stay = True
    status = child.wait()
    _sent(page, frame(b"x", str(status if status >= 0 else 128 - status).encode()))
    return status


def first_line(page: socket.socket, most: int, timeout: float = 10.0) -> bytes:
    """The first line that the page sends, which stays there for the program to read; empty without one in time."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if select.select([page], [], [], max(0.0, deadline - time.monotonic()))[0]:
            seen = page.recv(most, socket.MSG_PEEK)
            if b"\n" in seen:
                return seen.partition(b"\n")[0]
            if not seen or len(seen) == most:
                break
            time.sleep(0.01)
    return b""


def _sent(page: socket.socket, raw: bytes) -> bool:
    try:
        page.sendall(raw)
    except OSError:
        return False
    return True
