"""HTTP/2 with TLS: many concurrent requests on a connection, each on its own stream.

A server may announce at any moment that it accepts nothing more on a connection (GOAWAY), and the last stream it
has accepted. A client that has not sent its request yet opens another connection. A request already sent on a later
stream is `unprocessed`, and so is one the server refuses as such: it could be sent again, but this client does not.
"""

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator, Coroutine
from types import TracebackType

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

from devtools.load.wire import UNPROCESSED, Answer, Channel, Failed, Request, Target

_GOAWAY = 0x7  # RFC 9113, 6.8
_HEAD = 9  # bytes in front of every frame: RFC 9113, 4.1


class Stream:
    """One request and its answer."""

    def __init__(self, session: "Session") -> None:
        self.head: Answer | None = None
        self.number = 0
        self.over = False
        self._session = session
        self._received = 0
        self._events: asyncio.Queue[bytes | Answer | Failed | None] = asyncio.Queue()

    async def exchange(self, request: Request) -> Answer:
        """Send a request and read its complete answer. Raises Failed."""
        answer = await self.begin(request)
        async for _ in self.body(answer):
            pass
        return answer

    async def begin(self, request: Request) -> Answer:
        """Send a request and read the head of its answer. Raises Failed."""
        await self._session.ask(self, request)
        for piece in request.content:
            await asyncio.sleep(request.pause)
            await self._session.write(self, piece)
        if request.content:
            await self._session.write(self, b"", last=True)
        answer = await self._next()
        assert isinstance(answer, Answer)
        return answer

    async def body(self, answer: Answer) -> AsyncIterator[bytes]:
        """The body of the answer, in the pieces in which it arrives. Raises Failed."""
        while (piece := await self._next()) is not None:
            assert isinstance(piece, bytes)
            yield piece

    async def _next(self) -> bytes | Answer | None:
        event = await self._events.get()
        if isinstance(event, Failed):
            raise event
        return event

    def handle(self, event: Event) -> None:
        """Handle an event of this stream."""
        if isinstance(event, ResponseReceived):
            headers = {str(name): str(value) for name, value in event.headers}
            self.head = Answer(int(headers.pop(":status")), headers, reusable=True)
            self._events.put_nowait(self.head)
        elif isinstance(event, DataReceived):
            self._received += len(event.data)
            self._events.put_nowait(event.data)
        elif isinstance(event, StreamEnded):
            self.over = True
            self._events.put_nowait(None)
        elif isinstance(event, StreamReset) and not self.over:
            code = ErrorCodes(event.error_code).name
            if event.error_code == ErrorCodes.REFUSED_STREAM:
                self.fail(Failed(UNPROCESSED, code))
            else:
                self.fail(self._cut("reset", code))

    def cut(self, kind: str, why: str, last: int | None) -> None:
        """Fail the stream because the connection has ended or is closed to it."""
        if last is not None and self.number > last:
            self.fail(Failed(UNPROCESSED, f"stream {self.number}, the last one taken was {last}"))
        else:
            self.fail(self._cut(kind, why))

    def fail(self, failure: Failed) -> None:
        """End the stream with a failure, unless it has ended already."""
        if not self.over:
            self.over = True
            self._events.put_nowait(failure)

    def _cut(self, kind: str, why: str) -> Failed:
        if self.head:
            return Failed("truncated", f"after {self._received} bytes: {why}")
        return Failed(kind, why)


class Session:
    """One connection. `goaway` is the last stream that the server accepts, after a GOAWAY."""

    def __init__(self, to: Target) -> None:
        self.goaway: int | None = None
        self.over = False
        self._channel = Channel(to, "h2")
        self._machine = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._machine.initiate_connection()
        self._streams: dict[int, Stream] = {}
        self._buffer = bytearray()
        self._window = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._opening = asyncio.ensure_future(self._open(to))

    async def _open(self, to: Target) -> None:
        try:
            await self._channel.connect(to)
            await self._flush()
        except BaseException:
            self.over = True
            self._channel.close()
            raise
        asyncio.get_running_loop().add_reader(self._channel.socket, self._arrived)
        self._arrived()  # data that came with the handshake

    async def opened(self) -> None:
        """Wait for the handshake. Raises Failed for every waiter."""
        await asyncio.shield(self._opening)

    def usable(self) -> bool:
        """Whether a request may be sent on it, as far as the client can know."""
        if self._opening.done() and not self.over:
            self._look()
        full = len(self._streams) >= self._machine.remote_settings.max_concurrent_streams
        return not self.over and self.goaway is None and not full

    async def ask(self, stream: Stream, request: Request) -> None:
        """Send the head of a request. Raises Failed."""
        to = request.to
        fields = [(":method", request.method), (":scheme", "https"), (":authority", to.authority)]
        fields += [(":path", to.path), *((name.lower(), value) for name, value in request.fields)]
        stream.number = self._machine.get_next_available_stream_id()
        self._streams[stream.number] = stream
        try:
            self._machine.send_headers(stream.number, fields, end_stream=not request.content)
        except ProtocolError as e:
            raise Failed("local", str(e)) from e
        await self._flush()
        if self.over or self.goaway is not None:
            stream.cut("unanswered", "the connection had ended", self.goaway)

    async def write(self, stream: Stream, data: bytes, *, last: bool = False) -> None:
        """Send a piece of content as flow control allows; does nothing once the stream has ended."""
        with contextlib.suppress(ProtocolError):  # the answer came before the request was complete
            while not stream.over:
                room = self._machine.local_flow_control_window(stream.number)
                part = data[: min(room, self._machine.max_outbound_frame_size)]
                data = data[len(part) :]
                if part or last:
                    self._machine.send_data(stream.number, part, end_stream=last and not data)
                    await self._flush()
                if not data:
                    return
                self._window.clear()
                if not part:
                    await self._window.wait()

    async def leave(self, stream: Stream) -> None:
        """Forget a stream that is complete or given up."""
        self._streams.pop(stream.number, None)
        if not stream.over and not self.over:
            stream.over = True
            with contextlib.suppress(ProtocolError):
                self._machine.reset_stream(stream.number, ErrorCodes.CANCEL)
            await self._flush()

    async def close(self) -> None:
        """Send GOAWAY and close."""
        if not self.over:
            self._machine.close_connection()
            await self._flush()
            self._end("unanswered", "closed here")
        await asyncio.gather(*self._tasks)

    def _arrived(self) -> None:
        self._look()
        if not self.over:
            self._soon(self._flush())

    def _look(self) -> None:
        """Handle all that has arrived, without waiting: two waiting readers could take the parts in the wrong
        order."""
        try:
            state, data = self._channel.now()
            while state == "surplus":
                self._take(data)
                state, data = self._channel.now()
        except Failed as e:
            self._end(e.kind, e.detail)
            return
        if state != "open":
            self._end("unanswered" if state == "closed" else "reset", "the connection has ended")

    def _soon(self, does: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(does)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _flush(self) -> None:
        """Write pending data; the reader notices if the connection has ended."""
        if not self.over and (data := self._machine.data_to_send()):
            with contextlib.suppress(ConnectionError):
                await self._channel.send(data)

    def _take(self, data: bytes) -> None:
        """Pass on data frame by frame: h2 treats a GOAWAY as the end of everything, but it only concerns later
        streams."""
        self._buffer += data
        while len(self._buffer) >= _HEAD:
            whole = _HEAD + int.from_bytes(self._buffer[:3], "big")
            if whole - _HEAD > self._machine.max_inbound_frame_size:
                raise Failed("malformed", "an oversized frame")
            if len(self._buffer) < whole:
                return
            frame = bytes(self._buffer[:whole])
            del self._buffer[:whole]
            if frame[3] == _GOAWAY:
                self._leave_off(int.from_bytes(frame[_HEAD : _HEAD + 4], "big") & 0x7FFFFFFF)
                continue
            try:
                events = self._machine.receive_data(frame)
            except ProtocolError as e:
                raise Failed("malformed", str(e)) from e
            self._window.set()
            for event in events:
                self._dispatch(event)

    def _dispatch(self, event: Event) -> None:
        number = getattr(event, "stream_id", 0)
        if isinstance(event, DataReceived) and event.flow_controlled_length:
            self._machine.acknowledge_received_data(event.flow_controlled_length, number)
        if stream := self._streams.get(number or 0):
            stream.handle(event)

    def _leave_off(self, last: int) -> None:
        self.goaway = last
        for stream in list(self._streams.values()):
            if stream.number > last:
                stream.cut("unanswered", "", last)

    def _end(self, kind: str, why: str) -> None:
        if self.over:
            return
        self.over = True
        for stream in self._streams.values():
            stream.cut(kind, why, self.goaway)
        self._window.set()
        asyncio.get_running_loop().remove_reader(self._channel.socket)
        self._soon(self._channel.shut())

    async def __aenter__(self) -> "Session":
        await self.opened()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class Sessions:
    """Several connections to one address, used in turn; one that has ended or accepts no more is replaced."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.goaways = 0
        self._usable: collections.deque[Session] = collections.deque()
        self._left: list[Session] = []

    async def take(self, to: Target) -> Session:
        """A connection for one request. Raises Failed."""
        for session in [s for s in self._usable if not s.usable()]:
            self._usable.remove(session)
            self._left.append(session)
            self.goaways += session.goaway is not None
        self._left = [s for s in self._left if not s.over]
        if len(self._usable) < self.size:
            self._usable.appendleft(Session(to))
        session = self._usable[0]
        self._usable.rotate(-1)
        await session.opened()
        return session

    async def close(self) -> None:
        """Close all of them."""
        for session in [*self._usable, *self._left]:
            with contextlib.suppress(Failed):
                await session.opened()
                await session.close()
