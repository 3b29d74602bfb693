"""An app that shuts down properly: the program itself, one file of standard Python, pushed by tests.

On SIGTERM it accepts no more connections, closes idle ones, answers open requests, ends server-sent events with the
last chunk and WebSockets with a Close frame, and exits. A posted row is in the file ROWS, or one below HOME, before
it is answered. Each answer names its instance in `X-Instance`: the address, and the process there.

`TROUBLE=crash` ends it before it listens, `TROUBLE=sick` makes it unhealthy; `BOOT` is the number of seconds before
it listens, `LISTEN` the address, if not loopback.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import secrets
import signal
import time
import urllib.parse
from pathlib import Path

VERSION = "one"
ROWS = Path(os.environ.get("ROWS") or Path(os.environ.get("HOME", "."), "rows"))
PROCESS = secrets.token_hex(4)  # a process id may be reused, and is 1 in every container
EVERY = 0.25  # seconds between two events
PATIENCE = 2.0  # seconds for a client to answer a Close frame
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3

Query = dict[str, str]


class Leaving(Exception):
    """The connection must be closed."""


class App:
    """All connections, and whether they must end."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()

    async def run(self, port: int) -> None:
        """Serve until SIGTERM, then until the last connection has ended."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.stopping.set)
        address = os.environ.get("LISTEN", "127.0.0.1")
        server = await asyncio.start_server(self.accept, address, port, backlog=512)
        await self.stopping.wait()
        server.close()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one connection, as a task."""
        task = asyncio.current_task()
        assert task
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        with contextlib.suppress(Leaving, ConnectionError, asyncio.IncompleteReadError):
            while not self.stopping.is_set():
                await Exchange(self, reader, writer).answer()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def unless_stopping(self, seconds: float) -> bool:
        """Wait; returns whether to continue."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        return not self.stopping.is_set()


class Exchange:
    """One request and its answer."""

    def __init__(self, app: App, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.app = app
        self.reader = reader
        self.writer = writer
        address, port = writer.get_extra_info("sockname")[:2]
        self.instance = f"{address}:{port}/{PROCESS}"

    async def answer(self) -> None:
        """Wait for the request, and answer it."""
        method, path, self.headers = await self._head()
        body = await self.reader.readexactly(int(self.headers.get("content-length", 0)))
        url = urllib.parse.urlsplit(path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if (method, url.path) == ("POST", "/rows"):
            await self._respond(201, self._store(body))
        elif url.path == "/rows":
            await self._respond(200, ROWS.read_text() if ROWS.exists() else "")
        elif url.path == "/healthz":
            await self._respond(500 if os.environ.get("TROUBLE") == "sick" else 200, "")
        elif url.path == "/process":
            await self._respond(200, f"{self.instance} {os.getpid()}")
        elif url.path == "/slow":
            await asyncio.sleep(float(query["seconds"]))
            await self._respond(200, VERSION)
        elif url.path == "/events":
            await self._events(int(query["count"]))
        elif url.path == "/socket":
            await self._socket()
        else:
            await self._respond(200 if url.path == "/" else 404, VERSION)

    async def _head(self) -> tuple[str, str, dict[str, str]]:
        """The next request's head; raises Leaving if the app stops before there is one."""
        head = asyncio.ensure_future(self.reader.readuntil(b"\r\n\r\n"))
        stopping = asyncio.ensure_future(self.app.stopping.wait())
        await asyncio.wait([head, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not head.done():
            head.cancel()
            raise Leaving
        first, *lines = (await head).decode("latin-1").rstrip().split("\r\n")
        method, path, _ = first.split()
        return method, path, {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}

    async def _respond(self, status: int, text: str) -> None:
        body = text.encode()
        last = "Connection: close\r\n" if self.app.stopping.is_set() else ""
        self._begin(f"{status} Answer", f"Content-Length: {len(body)}\r\n{last}")
        self.writer.write(body)
        await self.writer.drain()

    def _begin(self, status: str, headers: str) -> None:
        self.writer.write(f"HTTP/1.1 {status}\r\nX-Instance: {self.instance}\r\n{headers}\r\n".encode())

    def _store(self, body: bytes) -> str:
        """Append a line in one write, so that the lines of two instances do not mix."""
        identity = str(json.loads(body)["id"])
        with ROWS.open("ab", buffering=0) as f:
            f.write(f"{identity}\n".encode())
        return identity

    async def _events(self, count: int) -> None:
        headers = "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
        self._begin("200 OK", f"{headers}X-Accel-Buffering: no\r\n")
        going = True
        for number in range(count):
            self._chunk(f"data: {number}\n\n")
            await self.writer.drain()
            going = await self.app.unless_stopping(EVERY)
            if not going:
                break
        self._chunk(f"event: {'end' if going else 'bye'}\ndata:\n\n")
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    def _chunk(self, text: str) -> None:
        self.writer.write(f"{len(text):x}\r\n{text}\r\n".encode())

    # ---- WebSocket (RFC 6455) -------------------------------------------------------------------------------

    async def _socket(self) -> None:
        key = self.headers["sec-websocket-key"].encode()
        accept = base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest()).decode()
        headers = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        self._begin("101 Switching Protocols", f"{headers}Sec-WebSocket-Accept: {accept}\r\n")
        echoing = asyncio.ensure_future(self._echo())
        stopping = asyncio.ensure_future(self.app.stopping.wait())
        await asyncio.wait([echoing, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not echoing.done():
            self._frame(0x8, (1001).to_bytes(2, "big"))  # going away
            await asyncio.wait([echoing], timeout=PATIENCE)
            echoing.cancel()
        raise Leaving

    async def _echo(self) -> None:
        """Echo messages until the client sends Close."""
        opcode = 0
        while opcode != 0x8:
            first, second = await self.reader.readexactly(2)
            opcode, mask = first & 0x0F, await self.reader.readexactly(4)
            payload = await self.reader.readexactly(second & 0x7F)
            if not self.app.stopping.is_set():  # otherwise we have sent Close, after which nothing may follow
                self._frame(opcode, bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))
                await self.writer.drain()

    def _frame(self, opcode: int, payload: bytes) -> None:
        self.writer.write(bytes([0x80 | opcode, len(payload)]) + payload)


if __name__ == "__main__":
    if os.environ.get("TROUBLE") == "crash":
        raise SystemExit("crashing, as TROUBLE says")
    time.sleep(float(os.environ.get("BOOT", "0")))
    asyncio.run(App().run(int(os.environ["PORT"])))
