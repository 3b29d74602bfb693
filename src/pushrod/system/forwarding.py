"""Connections that are passed on: those of a Unix socket, each to a connection that is opened for it."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from pushrod.system.signals import signals_held

_BLOCK = 1 << 16
_MOST = 32  # connections that wait to be accepted


def join(reading: int, writing: int, other: socket.socket) -> None:
    """Pass on what is read from one file descriptor, and bring back what comes, until either side ends."""
    ended = threading.Event()
    ways = (
        (lambda: os.read(reading, _BLOCK), other.sendall),
        (lambda: other.recv(_BLOCK), lambda block: _write(writing, block)),
    )
    with signals_held():
        for way in ways:
            threading.Thread(target=_pass_on, args=(*way, ended), daemon=True).start()
    ended.wait()


def _pass_on(read: Callable[[], bytes], write: Callable[[bytes], None], ended: threading.Event) -> None:
    with contextlib.suppress(OSError):  # the side that is gone ends both
        while block := read():
            write(block)
    ended.set()


def _write(to: int, block: bytes) -> None:
    while block:
        block = block[os.write(to, block) :]


@contextlib.contextmanager
def listening(path: Path, opened: Callable[[], socket.socket], owner: tuple[int, int]) -> Iterator[None]:
    """Listen on a Unix socket of `owner` (user and group) during the block; each connection goes to one that `opened`
    returns, and ends at once if that raises OSError.
    """
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        server.bind(str(path))
        os.chown(path, *owner)
        path.chmod(0o600)
        server.listen(_MOST)
        with signals_held():
            threading.Thread(target=_accept, args=(server, opened), daemon=True).start()
        yield
    finally:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()


def _accept(server: socket.socket, opened: Callable[[], socket.socket]) -> None:
    with contextlib.suppress(OSError):  # it is closed
        while True:
            client = server.accept()[0]
            threading.Thread(target=_connect, args=(client, opened), daemon=True).start()


def _connect(client: socket.socket, opened: Callable[[], socket.socket]) -> None:
    with client, contextlib.suppress(OSError), opened() as other:
        join(client.fileno(), client.fileno(), other)
        for side in (client, other):  # ends the thread that still reads
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
