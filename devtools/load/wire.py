"""Connections on raw sockets, with and without TLS. Libraries hide what matters here: they reconnect, retry and
follow redirects. The protocols on top are `http1` and `http2`.
"""

import asyncio
import functools
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

LAB = ipaddress.ip_network("10.212.0.0/16")  # the network of tests/lab; load goes only there and to loopback
RACE = "idle-close race"
UNPROCESSED = "unprocessed"

FAILURES = {
    "refused": "nothing accepted the connection",
    "reset": "reset before any byte of the answer, on a connection's first request or on an HTTP/2 stream",
    "unanswered": "closed before any byte of the answer, likewise",
    RACE: "a request already written on a used connection, then closed or reset without an answer",
    UNPROCESSED: "HTTP/2: the server declares that it has not processed the request, which may be sent again",
    "truncated": "the answer ended before its Content-Length, its last chunk or its last frame",
    "surplus": "bytes after the end of an answer",
    "malformed": "not an answer of the protocol",
    "tls": "no handshake, or a certificate for another name",
    "time-out": "no complete answer in time",
    "cut": "a WebSocket that ended without a Close frame from the server",
    "wrong": "another echo or event than the expected one",
    "local": "the generator's own limits: descriptors, ports, memory",
}


class Answer(NamedTuple):
    """The complete head of an answer. `reusable`: the connection may carry another request."""

    status: int
    headers: dict[str, str]
    reusable: bool


class Failed(Exception):
    """One failed request; `kind` is a key of FAILURES. `answer` is the head, if it had arrived."""

    def __init__(self, kind: str, detail: str = "", answer: Answer | None = None) -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = detail
        self.answer = answer


class Target(NamedTuple):
    """An address and what to request there; with TLS if it has a `name`, which the certificates in the file `trust`
    must confirm."""

    family: socket.AddressFamily
    address: str
    port: int
    authority: str
    path: str
    name: str = ""
    trust: str = ""


def target(url: str, at: str = "") -> Target:
    """Parse a URL; `at` is the address to connect to instead of the URL's host, if given. ValueError unless it is
    plain HTTP to loopback or the lab; names are never resolved."""
    parts = urlsplit(url)
    name = parts.hostname or ""
    if parts.scheme != "http" or not name:
        raise ValueError(f"{url}: only http://HOST[:PORT]/PATH")
    if name == "localhost" or name.endswith(".localhost"):
        name = "127.0.0.1"
    try:
        address = ipaddress.ip_address(at or name)
    except ValueError:
        raise ValueError(f"{url}: only an IP address or a name below localhost") from None
    if not address.is_loopback and address not in LAB:
        raise ValueError(f"{url}: load is sent to loopback and the lab only")
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(family, str(address), parts.port or 80, parts.netloc.rpartition("@")[2], path)


def secured(to: Target, name: str, port: int, trust: str) -> Target:
    """The same target with TLS, under this name and at this port."""
    authority = name if port == 443 else f"{name}:{port}"
    return to._replace(port=port, authority=authority, name=name, trust=trust)


class Request(NamedTuple):
    """A request. The pieces of `content` are written `pause` seconds apart."""

    method: str
    to: Target
    headers: tuple[tuple[str, str], ...] = ()
    content: Sequence[bytes] = ()
    pause: float = 0.0

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The headers, including those of the content."""
        fields = [("User-Agent", "pushrod-load"), *self.headers]
        if self.method != "GET":
            length = str(sum(map(len, self.content)))
            fields += [("Content-Type", "application/json"), ("Content-Length", length)]
        return fields


@functools.cache
def _context(trust: str, protocol: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=trust)
    context.set_alpn_protocols([protocol])
    return context


State = Literal["open", "closed", "reset", "surplus"]


class Channel:
    """One TCP connection, with TLS if the target has a name; `orderly` once its end was announced.

    TLS is done in memory, beside the socket, so that what the server did to the connection stays visible.
    """

    def __init__(self, to: Target, protocol: str) -> None:
        self.socket = socket.socket(to.family, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.orderly = not to.name
        self._protocol = protocol
        self._early = b""
        self._tls: ssl.SSLObject | None = None
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._sending = asyncio.Lock()

    async def connect(self, to: Target) -> None:
        """Open it. Raises Failed if it is refused or reset, or if TLS with this name and protocol fails."""
        try:
            await asyncio.get_running_loop().sock_connect(self.socket, (to.address, to.port))
            if to.name:
                await self._shake(to)
        except ConnectionRefusedError as e:
            raise Failed("refused") from e
        except ConnectionError as e:
            raise Failed("reset", "while connecting") from e
        except ssl.SSLError as e:
            raise Failed("tls", str(e.reason or e)) from e

    async def _shake(self, to: Target) -> None:
        loop = asyncio.get_running_loop()
        tls = _context(to.trust, self._protocol).wrap_bio(self._in, self._out, server_hostname=to.name)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await loop.sock_sendall(self.socket, self._out.read())
            data = await loop.sock_recv(self.socket, 65536)
            if not data:
                raise Failed("tls", "closed during the handshake")
            self._in.write(data)
        await loop.sock_sendall(self.socket, self._out.read())
        if tls.selected_alpn_protocol() != self._protocol:
            raise Failed("tls", f"{tls.selected_alpn_protocol()} instead of {self._protocol}")
        self._tls = tls

    def close(self) -> None:
        """Close it; may be called repeatedly."""
        self.socket.close()

    async def shut(self) -> None:
        """Close it after pending data is written."""
        async with self._sending:
            self.socket.close()

    async def send(self, data: bytes) -> None:
        """Write all of it; concurrent calls are serialised."""
        async with self._sending:
            if self._tls:
                self._tls.write(data)
                data = self._out.read()
            await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def receive(self) -> bytes:
        """The next data; empty at the end. Raises ConnectionError, and Failed for invalid TLS."""
        while not (decrypted := self._decrypted()):
            if self._tls and self.orderly:
                return b""
            data = await asyncio.get_running_loop().sock_recv(self.socket, 65536)
            if not (data and self._tls):
                return data
            self._in.write(data)
        return decrypted

    def now(self) -> tuple[State, bytes]:
        """What the server has done so far, without waiting: `open`, or `surplus` with the data that has arrived.

        Data that arrived without TLS can still be received.
        """
        try:
            data = self.socket.recv(65536, 0 if self._tls else socket.MSG_PEEK)
        except BlockingIOError:
            data = None
        except ConnectionError:
            return "reset", b""
        if self._tls is None:
            return ("open", b"") if data is None else ("surplus", b"") if data else ("closed", b"")
        if data:
            self._in.write(data)
        if decrypted := self._decrypted():
            return "surplus", decrypted
        return ("closed", b"") if data == b"" or self.orderly else ("open", b"")

    def keep(self, data: bytes) -> None:
        """Put back the data returned by `now`, to be received next."""
        self._early = data + self._early

    def _decrypted(self) -> bytes:
        """The data that TLS has decrypted."""
        data, self._early = self._early, b""
        if data or self._tls is None:
            return data
        try:
            data = self._tls.read(65536)
        except ssl.SSLWantReadError:
            return b""
        except ssl.SSLError as e:
            raise Failed("malformed", str(e.reason or e)) from e
        self.orderly = not data  # no data and no error: the other side's close_notify
        return data

    async def ahead(self) -> None:
        """Wait until something has arrived, or the end; consumes nothing, so it can be cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            state, data = self.now()
            self.keep(data)
            if state != "open":
                return
            arrived = asyncio.Event()
            loop.add_reader(self.socket, arrived.set)
            try:
                await arrived.wait()
            finally:
                loop.remove_reader(self.socket)
