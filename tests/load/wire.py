"""HTTP/1.1 on raw sockets, because libraries hide what matters here: they reconnect, retry and follow.

This is the one module that knows the protocol: another (TLS, HTTP/2) is another `Connection`.
"""

import asyncio
import collections
import contextlib
import ipaddress
import re
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

MAX_HEAD = 65536
RACE = "idle-close race"

FAILURES = {
    "refused": "nothing accepted the connection",
    "reset": "reset before any byte of the answer, on a connection's first request",
    "unanswered": "closed before any byte of the answer, on a connection's first request",
    RACE: "a request already written on a used connection, then closed or reset without an answer",
    "truncated": "the answer ended before its Content-Length or its last chunk",
    "surplus": "bytes after the end of an answer",
    "malformed": "not an HTTP/1.1 answer",
    "time-out": "no whole answer in time",
    "cut": "a WebSocket that ended without a Close frame from the server",
    "wrong": "an echo or an event other than the one that was due",
    "local": "the generator's own limits: descriptors, ports, memory",
}


class Failed(Exception):
    """One request failed; `kind` is a key of FAILURES."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = detail


class Target(NamedTuple):
    """A loopback address and what to ask there."""

    family: socket.AddressFamily
    address: str
    port: int
    authority: str
    path: str


def target(url: str) -> Target:
    """Read a URL. ValueError unless it is plain HTTP on loopback; no name is ever looked up."""
    parts = urlsplit(url)
    name = parts.hostname or ""
    if parts.scheme != "http" or not name:
        raise ValueError(f"{url}: only http://HOST[:PORT]/PATH")
    if name == "localhost" or name.endswith(".localhost"):
        name = "127.0.0.1"
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        raise ValueError(f"{url}: only an IP address or a name below localhost") from None
    if not address.is_loopback:
        raise ValueError(f"{url}: load goes to loopback only")
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(family, str(address), parts.port or 80, parts.netloc.rpartition("@")[2], path)


class Answer(NamedTuple):
    """The head of an answer that arrived whole. `reusable`: the connection may carry another request."""

    status: int
    headers: dict[str, str]
    reusable: bool


def parse_head(head: bytes) -> Answer:
    """Read a status line and headers, without the empty line. Raises Failed when they are not that."""
    first, *lines = head.decode("latin-1").split("\r\n")
    matched = re.fullmatch(r"HTTP/1\.([01]) ([1-5]\d\d)(?: .*)?", first)
    fields = [line.partition(":") for line in lines]
    if not matched or any(not colon or not name or name != name.strip() for name, colon, _ in fields):
        raise Failed("malformed", first[:80])
    headers = {name.lower(): value.strip() for name, _, value in fields}
    connection = headers.get("connection", "").lower()
    reusable = connection != "close" if matched[1] == "1" else connection == "keep-alive"
    return Answer(int(matched[2]), headers, reusable)


class Connection:
    """One TCP connection. Every way an answer can fail to arrive ends in a Failed that names it."""

    def __init__(self, to: Target) -> None:
        self.socket = socket.socket(to.family, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answers = 0
        self._buffer = bytearray()
        self._received = 0

    async def connect(self, to: Target) -> None:
        """Open it. Raises Failed when it is refused or reset."""
        try:
            await asyncio.get_running_loop().sock_connect(self.socket, (to.address, to.port))
        except ConnectionRefusedError as e:
            raise Failed("refused") from e
        except ConnectionError as e:
            raise Failed("reset", "while connecting") from e

    def close(self) -> None:
        """Close it; more than once is allowed."""
        self.socket.close()

    def idle_state(self) -> str:
        """What the server did while nothing was asked: `open`, `closed`, `reset` or `surplus`."""
        try:
            return "surplus" if self.socket.recv(1, socket.MSG_PEEK) else "closed"
        except BlockingIOError:
            return "open"
        except ConnectionError:
            return "reset"

    async def exchange(self, request: bytes, rest: Sequence[bytes] = (), pause: float = 0.0) -> Answer:
        """Write a request and read its answer to the last byte. Raises Failed.

        `rest` are further pieces of the request, each written `pause` seconds after the one before.
        """
        answer = await self.begin(request, rest, pause)
        async for _ in self.body(answer):
            pass
        if self._buffer:
            raise Failed("surplus", bytes(self._buffer[:40]).decode("latin-1"))
        self.answers += 1
        return answer

    async def begin(self, request: bytes, rest: Sequence[bytes] = (), pause: float = 0.0) -> Answer:
        """Write a request and read the head of its answer. Raises Failed."""
        self._received = 0
        with self._explained():
            await self.send(request)
            for piece in rest:
                await asyncio.sleep(pause)
                await self.send(piece)
            answer = parse_head(await self._until(b"\r\n\r\n"))
            while 100 <= answer.status < 200 and answer.status != 101:
                answer = parse_head(await self._until(b"\r\n\r\n"))
        framed = answer.status in (204, 304) or {"transfer-encoding", "content-length"} & set(answer.headers)
        return answer if framed else answer._replace(reusable=False)

    async def body(self, answer: Answer) -> AsyncIterator[bytes]:
        """The body of an answer, to its end, in the pieces it arrives in. Raises Failed."""
        with self._explained():
            length = answer.headers.get("content-length")
            if answer.status in (101, 204, 304):
                return
            if "transfer-encoding" in answer.headers:
                async for chunk in self._chunks(answer.headers["transfer-encoding"]):
                    yield chunk
            elif length is None:
                async for piece in self._to_end():
                    yield piece
            elif re.fullmatch(r"[0-9]+", length):
                yield await self.take(int(length))
            else:
                raise Failed("malformed", f"Content-Length: {length[:40]}")

    async def ahead(self) -> None:
        """Wait until something has arrived, or the end has; takes nothing, so that it may be cancelled."""
        if self._buffer:
            return
        loop = asyncio.get_running_loop()
        arrived = asyncio.Event()
        loop.add_reader(self.socket, arrived.set)
        try:
            await arrived.wait()
        finally:
            loop.remove_reader(self.socket)

    async def send(self, data: bytes) -> None:
        """Write it all."""
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except ConnectionError as e:
            raise self._cut("reset") from e
        except EOFError as e:
            raise self._cut("unanswered") from e

    def _cut(self, kind: str) -> Failed:
        if self._received:
            return Failed("truncated", f"after {self._received} bytes")
        return Failed(RACE, kind) if self.answers else Failed(kind)

    async def _chunks(self, encoding: str) -> AsyncIterator[bytes]:
        if encoding.lower() != "chunked":
            raise Failed("malformed", f"Transfer-Encoding: {encoding[:40]}")
        size = -1
        while size:
            line = (await self._until(b"\r\n")).partition(b";")[0].strip()
            if not re.fullmatch(rb"[0-9a-fA-F]{1,16}", line):
                raise Failed("malformed", "chunk size")
            size = int(line, 16)
            if size:
                yield await self.take(size)
                if await self.take(2) != b"\r\n":
                    raise Failed("malformed", "end of chunk")
        while await self._until(b"\r\n"):
            pass

    async def _fill(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self.socket, 65536)
        if not data:
            raise EOFError
        self._received += len(data)
        self._buffer += data

    async def _until(self, mark: bytes) -> bytes:
        while (at := self._buffer.find(mark)) < 0:
            if len(self._buffer) > MAX_HEAD:
                raise Failed("malformed", "endless head")
            await self._fill()
        taken = bytes(self._buffer[:at])
        del self._buffer[: at + len(mark)]
        return taken

    async def take(self, count: int) -> bytes:
        """The next `count` bytes. Raises EOFError or ConnectionError when they do not come."""
        while len(self._buffer) < count:
            await self._fill()
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    async def _to_end(self) -> AsyncIterator[bytes]:
        """A body without a length lasts until the server closes; a reset there still cuts it."""
        try:
            while True:
                if self._buffer:
                    yield await self.take(len(self._buffer))
                await self._fill()
        except EOFError:
            return


class Pool:
    """Persistent connections to one address, each used in turn, so that all of them are idle now and then.

    One that the server closed while it was idle, before a byte of the next request was written, is replaced
    without a word: that is HTTP's own rule. One that is reset while idle is replaced and counted.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.closed = 0
        self.reset = 0
        self._open = 0
        self._idle: collections.deque[Connection] = collections.deque()

    async def take(self, to: Target) -> Connection:
        """A connection to write one request on: an idle one once `size` are open, else a new one."""
        while self._idle and self._open >= self.size:
            connection = self._idle.popleft()
            state = connection.idle_state()
            if state == "open":
                return connection
            self.drop(connection)
            self.closed += state == "closed"
            self.reset += state == "reset"
            if state == "surplus":
                raise Failed("surplus", "on an idle connection")
        connection = Connection(to)
        self._open += 1
        try:
            await connection.connect(to)
        except BaseException:
            self.drop(connection)
            raise
        return connection

    def give(self, connection: Connection) -> None:
        """Take one back for the next request."""
        self._idle.append(connection)

    def drop(self, connection: Connection) -> None:
        """Close one that is not to be used again."""
        connection.close()
        self._open -= 1

    def close(self) -> None:
        """Close all idle ones."""
        while self._idle:
            self.drop(self._idle.popleft())
