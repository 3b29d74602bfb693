"""Serves the page: on a port of loopback, or on the socket that systemd has opened."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from pushrod.web.guard import Guard

FIRST = 3
"""The first open file that systemd passes (sd_listen_fds(3))."""

PATIENCE = 10.0
"""Seconds within which a request is complete: from the connection on, or from the last answer on it. The edge ends a
connection that it keeps sooner."""

MOST = 64
"""Connections at once."""

_LOOK = 1.0  # seconds between two looks at whether anybody still asks


class _Connection(H11Protocol):
    """A connection that ends if its next request is not complete in time, and sooner if there are too many and it has
    waited longest: so connections on which nothing is said keep nobody from the page."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look()
        if len(self.connections) >= MOST:
            others = [c for c in self.connections if isinstance(c, _Connection) and c is not self]
            waiting = {c: c._waiting.when() for c in others if c._waiting is not None}
            if waiting:
                longest = min(waiting, key=waiting.__getitem__)
                longest.transport.abort()
                longest._rest()
                self.connections.discard(longest)  # now: its end is reported later

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._rest()

    def _look(self) -> None:
        """Begin to wait if a request is not complete; else wait no longer."""
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._rest()
        elif self._waiting is None:
            self._waiting = self.loop.call_later(PATIENCE, self.transport.abort)

    def _rest(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


class _Server(uvicorn.Server):
    """A server whose signals end it in order, and are not raised again afterwards."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


def on_loopback(port: int = 0) -> socket.socket:
    """A socket that listens on 127.0.0.1; OSError if the port is taken. 0 chooses one."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
        listening.listen(64)
    except OSError:
        listening.close()
        raise
    return listening


def given() -> list[socket.socket]:
    """The sockets that systemd has passed to this process: on loopback, and one for the edge."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = os.environ.get("LISTEN_FDS", "")
    return [socket.socket(fileno=FIRST + n) for n in range(int(count) if count.isdecimal() else 0)]


def serve(
    page: Guard, listening: Sequence[socket.socket], *, idle: float = 0.0, busy: Callable[[], bool] = bool
) -> None:
    """Serve until a signal arrives or, with `idle`, no request came for that many seconds and nothing is `busy`."""
    config = uvicorn.Config(
        page,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        loop="asyncio",
        http=_Connection,
        timeout_keep_alive=int(PATIENCE),
        timeout_graceful_shutdown=5,
        limit_concurrency=MOST,
        h11_max_incomplete_event_size=16 << 10,
    )
    server = _Server(config)

    async def run() -> None:
        watch = asyncio.create_task(_end_idle(server, page, idle, busy)) if idle else None
        await server.serve(sockets=[*listening])
        if watch is not None:
            watch.cancel()

    asyncio.run(run())


async def _end_idle(server: uvicorn.Server, page: Guard, idle: float, busy: Callable[[], bool]) -> None:
    while True:
        await asyncio.sleep(min(_LOOK, idle))
        if time.monotonic() - page.last >= idle and not busy():
            server.should_exit = True
            return
