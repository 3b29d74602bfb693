"""HTTP/1.1, with and without TLS: one request at a time on a connection."""

import asyncio
import collections
import contextlib
import re
from collections.abc import AsyncIterator, Iterator

from devtools.load.wire import RACE, Answer, Channel, Failed, Request, State, Target

MAX_HEAD = 65536


def parse_head(head: bytes) -> Answer:
    """Parse a status line and headers, without the empty line. Raises Failed if they are invalid."""
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
    """One TCP connection. Every way in which an answer can fail to arrive raises a Failed that names it."""

    def __init__(self, to: Target) -> None:
        self.channel = Channel(to, "http/1.1")
        self.answers = 0
        self.head: Answer | None = None
        self._buffer = bytearray()
        self._received = 0

    async def connect(self, to: Target) -> None:
        """Open it. Raises Failed if it is refused or reset."""
        await self.channel.connect(to)

    def close(self) -> None:
        """Close it; may be called repeatedly."""
        self.channel.close()

    def idle_state(self) -> State:
        """What the server did while the connection was idle."""
        return self.channel.now()[0]

    async def exchange(self, request: Request) -> Answer:
        """Send a request and read its complete answer. Raises Failed."""
        answer = await self.begin(request)
        async for _ in self.body(answer):
            pass
        if self._buffer:
            raise Failed("surplus", bytes(self._buffer[:40]).decode("latin-1"))
        self.answers += 1
        return answer

    async def begin(self, request: Request) -> Answer:
        """Send a request and read the head of its answer. Raises Failed."""
        self._received, self.head = 0, None
        with self._explained():
            for number, piece in enumerate(_pieces(request)):
                if number:
                    await asyncio.sleep(request.pause)
                await self.send(piece)
            answer = parse_head(await self._until(b"\r\n\r\n"))
            while 100 <= answer.status < 200 and answer.status != 101:
                answer = parse_head(await self._until(b"\r\n\r\n"))
        framed = answer.status in (204, 304) or {"transfer-encoding", "content-length"} & set(answer.headers)
        self.head = answer if framed else answer._replace(reusable=False)
        return self.head

    async def body(self, answer: Answer) -> AsyncIterator[bytes]:
        """The body of an answer, in the pieces in which it arrives. Raises Failed."""
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
        """Wait until something has arrived, or the end; consumes nothing, so it can be cancelled."""
        if not self._buffer:
            await self.channel.ahead()

    async def send(self, data: bytes) -> None:
        """Write all of it."""
        await self.channel.send(data)

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
        data = await self.channel.receive()
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
        """The next `count` bytes. Raises EOFError or ConnectionError if they do not come."""
        while len(self._buffer) < count:
            await self._fill()
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    async def _to_end(self) -> AsyncIterator[bytes]:
        """A body without a length, which ends when the server closes; a reset still means it was cut."""
        try:
            while True:
                if self._buffer:
                    yield await self.take(len(self._buffer))
                await self._fill()
        except EOFError:
            if not self.channel.orderly:  # TLS without close_notify: anyone could have closed it
                raise
            return


def _pieces(request: Request) -> list[bytes]:
    """The bytes of a request: the head and the content, unless the content is sent slowly."""
    lines = [f"{request.method} {request.to.path} HTTP/1.1", f"Host: {request.to.authority}"]
    lines += [f"{name}: {value}" for name, value in request.fields]
    head = "\r\n".join([*lines, "", ""]).encode()
    return [head, *request.content] if request.pause else [head + b"".join(request.content)]


class Pool:
    """Persistent connections to one address, used in turn, so that all of them are idle sometimes.

    One that the server closed while it was idle, before any byte of the next request was written, is silently
    replaced, as HTTP allows. One that is reset while idle is replaced and counted.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.closed = 0
        self.reset = 0
        self._open = 0
        self._idle: collections.deque[Connection] = collections.deque()

    async def take(self, to: Target) -> Connection:
        """A connection for one request: an idle one if `size` are open, otherwise a new one."""
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
        """Return a connection for the next request."""
        self._idle.append(connection)

    def drop(self, connection: Connection) -> None:
        """Close a connection that must not be reused."""
        connection.close()
        self._open -= 1

    def close(self) -> None:
        """Close all idle connections."""
        while self._idle:
            self.drop(self._idle.popleft())
