"""Requests to servers that a commit names: over HTTPS, only to those that everybody can reach.

A server's name is resolved once, and its addresses are contacted as `adapters/internet.py` allows. Redirects are not
followed, and all requests of a client end within one deadline.
"""

import contextlib
import http.client
import math
import socket
import ssl
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pushrod.adapters import internet

_URL = 8000  # characters of an address
_TIMEOUT = 30.0  # seconds without a byte
_PIECE = 1 << 18


class FetchError(Exception):
    """Why a request cannot be answered, as a phrase."""


class _Timed(ssl.SSLSocket):
    """A socket whose every step ends by `end`: a time-out of its own starts anew with each byte that arrives."""

    end = math.inf

    def recv_into(self, *words: Any, **named: Any) -> int:
        """As SSLSocket's, within what is left of the time."""
        with self._in_time():
            return super().recv_into(*words, **named)

    def send(self, *words: Any, **named: Any) -> int:
        """As SSLSocket's, within what is left of the time."""
        with self._in_time():
            return super().send(*words, **named)

    @contextlib.contextmanager
    def _in_time(self) -> Iterator[None]:
        self.settimeout(_left(self.end))
        try:
            yield
        except TimeoutError:
            _left(self.end)
            raise


def _left(end: float) -> float:
    """Seconds that one step may wait. Raises FetchError if there are none."""
    left = end - time.monotonic()
    if left <= 0:
        raise FetchError("the answers were incomplete after all the time for them")
    return min(_TIMEOUT, left)


class Client:
    """Sends requests to servers over HTTPS, reusing one connection for each, all within `seconds`.

    `allowed` are servers that may be contacted wherever they are.
    """

    def __init__(self, allowed: Collection[str], seconds: float) -> None:
        self._allowed = allowed
        self._open: dict[str, http.client.HTTPConnection] = {}
        self._end = time.monotonic() + seconds

    def close(self) -> None:
        """Close all connections."""
        for connection in self._open.values():
            connection.close()

    def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, most: int
    ) -> Iterator[bytes]:
        """The answer's body in pieces, at most slightly more than `most` bytes. Raises FetchError for any status but
        2xx.
        """
        server = internet.parse(url, longest=_URL)
        if server is None:
            raise FetchError(f"{url[:200]!r} is not an https:// address without a name or a password")
        connection = self._open.pop(server.name, None) or self._connect(server)
        try:
            connection.request(method, server.path, body, dict(headers))
            answer = connection.getresponse()
            if not 200 <= answer.status < 300:
                raise FetchError(f"{server.name} answers {answer.status} {answer.reason[:100]}")
            while most >= 0 and (piece := answer.read1(_PIECE)):
                _left(self._end)
                most -= len(piece)
                yield piece
            if answer.isclosed() and not answer.will_close:
                self._open[server.name] = connection
        finally:
            if self._open.get(server.name) is not connection:
                connection.close()

    def _connect(self, server: internet.Server) -> http.client.HTTPConnection:
        """A connection to the first address that answers; the certificate is checked against the server's name."""
        try:
            addresses = internet.addresses(server, self._allowed)
        except internet.NotPublicError as e:
            raise FetchError(f"{server.name} is not on the Internet; the host's owner can allow it") from e
        connection = http.client.HTTPConnection(server.host, server.port, timeout=_TIMEOUT)
        for left, address in zip(reversed(range(len(addresses))), addresses, strict=True):
            try:
                plain = socket.create_connection((address, server.port), timeout=_left(self._end))
            except OSError:
                if not left:
                    raise
            else:
                break
        context = ssl.create_default_context()
        context.sslsocket_class = _Timed
        try:
            plain.settimeout(_left(self._end))  # for the whole handshake
            connection.sock = encrypted = context.wrap_socket(plain, server_hostname=server.host)
        except (OSError, FetchError):
            plain.close()
            raise
        assert isinstance(encrypted, _Timed)  # noqa: S101
        encrypted.end = self._end
        return connection
