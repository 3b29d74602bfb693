"""The way to a server on this machine, which can be slow, break off, or change what passes."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable

from devtools.apps import App


class Way:
    """A proxy in front of a vault's server that treats what passes as a test asks."""

    def __init__(self, port: int) -> None:
        self._port = port  # of the server, on loopback
        self.change: Callable[[bytes], bytes] = bytes  # of the server's answers
        self.left = 1 << 40  # bytes to the server until it disappears
        self.pause = 0.0  # seconds before each block
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self) -> None:
        self.change, self.left, self.pause = bytes, 1 << 40, 0.0

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listening.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            if self.left <= 0:
                return
            with socket.create_connection(("127.0.0.1", self._port)) as server:
                back = threading.Thread(target=self._answers, args=(server, client), daemon=True)
                back.start()
                while self.left > 0 and (block := client.recv(1 << 16)):
                    time.sleep(self.pause)
                    self.left -= len(block)
                    server.sendall(block)
                for side in (server, client) if self.left <= 0 else ():
                    side.shutdown(socket.SHUT_RDWR)
                back.join(10)

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := server.recv(1 << 16):
                client.sendall(self.change(block))
            client.shutdown(socket.SHUT_WR)


def delays_only_the_copy(shop: App, way: Way) -> None:
    """Assert that a backup over a slow way ends well, and that the app's other verbs do not wait for it."""
    way.pause = 0.05
    copying = shop.running("db", "backup")
    try:
        copying.until("  backup  ")
        shop.must("restart")  # takes the app's lock
        way.reset()
        assert copying.done().status == 0
    finally:
        way.reset()
        copying.end()
