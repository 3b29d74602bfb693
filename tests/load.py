"""Constant-rate HTTP/1.1 load that sees every failure: open loop, own client, nothing retried.

The instants of all requests are fixed before the first is sent, so a slow answer never slows the rate, and
latency counts from the instant a request was due: a stall shows in full. The client is a few raw sockets
because libraries hide what matters here: they reconnect, retry and follow. It sends to loopback only.

    python -m tests.load --url http://127.0.0.1:8080/ --rate 200 --seconds 30 --json load.json

From a test, in a process of its own, so that neither side takes the other's time:

    with Load("http://127.0.0.1:8080/", rate=200) as load:
        deploy()
    assert load.report.total.failed == 0, load.report.table()
"""

import argparse
import array
import asyncio
import collections
import dataclasses
import errno
import gc
import ipaddress
import json
import math
import re
import resource
import secrets
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

MAX_RATE = 5000.0
MAX_SECONDS = 600.0
MAX_HEAD = 65536
RELEASE_HEADER = "X-Pushrod-Release"
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


class Shape(NamedTuple):
    """One kind of request in the mix.

    `share` is its part of the rate; `{id}` in `body` becomes unique: `RUN-NUMBER`.
    """

    name: str
    targets: tuple[Target, ...]
    share: int = 1
    method: str = "GET"
    persistent: bool = True
    body: str = ""

    def request(self, to: Target, identity: str) -> bytes:
        """The bytes of one request."""
        lines = [f"{self.method} {to.path} HTTP/1.1", f"Host: {to.authority}", "User-Agent: pushrod-load"]
        body = self.body.replace("{id}", identity).encode()
        if self.method != "GET":
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        lines.append(f"Connection: {'keep-alive' if self.persistent else 'close'}")
        return "\r\n".join([*lines, "", ""]).encode() + body


def mixture(shapes: Iterable[Shape]) -> list[Shape]:
    """One round of the mix, each shape as often as its share and as evenly spread as it can be."""
    shapes = [s for s in shapes if s.share > 0]
    total = sum(s.share for s in shapes)
    credit = [0] * len(shapes)
    order = []
    for _ in range(total):
        credit = [c + s.share for c, s in zip(credit, shapes, strict=True)]
        chosen = max(range(len(shapes)), key=credit.__getitem__)
        credit[chosen] -= total
        order.append(shapes[chosen])
    return order


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

    async def exchange(self, request: bytes) -> Answer:
        """Write a request and read its answer to the last byte. Raises Failed."""
        self._received = 0
        try:
            await asyncio.get_running_loop().sock_sendall(self.socket, request)
            answer = await self._answer()
        except ConnectionError as e:
            raise self._cut("reset") from e
        except EOFError as e:
            raise self._cut("unanswered") from e
        if self._buffer:
            raise Failed("surplus", bytes(self._buffer[:40]).decode("latin-1"))
        self.answers += 1
        return answer

    def _cut(self, kind: str) -> Failed:
        if self._received:
            return Failed("truncated", f"after {self._received} bytes")
        return Failed(RACE, kind) if self.answers else Failed(kind)

    async def _answer(self) -> Answer:
        answer = parse_head(await self._until(b"\r\n\r\n"))
        while answer.status < 200:
            answer = parse_head(await self._until(b"\r\n\r\n"))
        length = answer.headers.get("content-length")
        if answer.status in (204, 304):
            return answer
        if "transfer-encoding" in answer.headers:
            await self._chunks(answer.headers["transfer-encoding"])
        elif length is not None:
            if not re.fullmatch(r"[0-9]+", length):
                raise Failed("malformed", f"Content-Length: {length[:40]}")
            await self._take(int(length))
        else:
            await self._to_end()
            return answer._replace(reusable=False)
        return answer

    async def _chunks(self, encoding: str) -> None:
        if encoding.lower() != "chunked":
            raise Failed("malformed", f"Transfer-Encoding: {encoding[:40]}")
        size = -1
        while size:
            line = (await self._until(b"\r\n")).partition(b";")[0].strip()
            if not re.fullmatch(rb"[0-9a-fA-F]{1,16}", line):
                raise Failed("malformed", "chunk size")
            size = int(line, 16)
            if size:
                await self._take(size)
                if await self._take(2) != b"\r\n":
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

    async def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            await self._fill()
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    async def _to_end(self) -> None:
        """A body without a length lasts until the server closes; a reset there still cuts it."""
        try:
            while True:
                await self._fill()
        except EOFError:
            self._buffer.clear()


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


@dataclasses.dataclass(frozen=True)
class Seen:
    """A value of the release header: how often, and from when to when, in seconds from the start."""

    count: int
    first: float
    last: float


@dataclasses.dataclass(frozen=True)
class Figures:
    """What became of the requests of one shape, or of all. Latencies and `gap` are in seconds.

    `failed` is `sent` minus `ok`, by kind in `failures`; an answer outside 2xx counts there as `status NNN`.
    The latencies are those of the 2xx answers. `gap` is the longest time without a success, the time before
    the first and after the last included; it began `gap_at` seconds after the start.
    """

    sent: int
    ok: int
    failed: int
    failures: dict[str, int]
    statuses: dict[str, int]
    p50: float
    p99: float
    max: float
    gap: float
    gap_at: float
    releases: dict[str, Seen]


class Tally:
    """Counts as they come; `figures` is what they amount to."""

    def __init__(self, start: float) -> None:
        self.start = start
        self.sent = 0
        self.failures: collections.Counter[str] = collections.Counter()
        self.statuses: collections.Counter[str] = collections.Counter()
        self.releases: dict[str, Seen] = {}
        self._latencies = array.array("d")
        self._last = start
        self._gap = (0.0, 0.0)

    def success(self, due: float, now: float) -> None:
        """A 2xx answer, whole, at `now`."""
        self._latencies.append(now - due)
        self._silence(now)
        self._last = now

    def release(self, value: str, now: float) -> None:
        """An answer of this release."""
        at = round(now - self.start, 4)
        old = self.releases.get(value, Seen(0, at, at))
        self.releases[value] = Seen(old.count + 1, old.first, at)

    def _silence(self, until: float) -> None:
        self._gap = max(self._gap, (until - self._last, self._last - self.start), key=lambda g: g[0])

    def figures(self, end: float) -> Figures:
        """The result of a run whose last request was due at `end`."""
        self._silence(max(end, self._last))
        latencies = sorted(self._latencies)
        return Figures(
            sent=self.sent,
            ok=len(latencies),
            failed=self.sent - len(latencies),
            failures=dict(self.failures.most_common()),
            statuses=dict(self.statuses.most_common()),
            p50=percentile(latencies, 0.50),
            p99=percentile(latencies, 0.99),
            max=percentile(latencies, 1.0),
            gap=round(self._gap[0], 6),
            gap_at=round(self._gap[1], 4),
            releases=self.releases,
        )


def percentile(ordered: list[float], part: float) -> float:
    """The nearest-rank percentile of sorted values; 0 when there is none."""
    return round(ordered[max(0, math.ceil(part * len(ordered)) - 1)], 6) if ordered else 0.0


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to send: `rate` requests a second for `seconds`; each may take `timeout` seconds."""

    shapes: tuple[Shape, ...]
    rate: float
    seconds: float
    timeout: float = 10.0
    connections: int = 16
    header: str = RELEASE_HEADER

    def __post_init__(self) -> None:
        if not mixture(self.shapes):
            raise ValueError("no shape has a share of the load")
        if not 0 < self.rate <= MAX_RATE:
            raise ValueError(f"rate: more than 0 and at most {MAX_RATE:g} requests a second")
        if not 0 < self.seconds <= MAX_SECONDS:
            raise ValueError(f"seconds: more than 0 and at most {MAX_SECONDS:g}")


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of a run.

    `rate` is the one reached and `lag` the longest that the generator itself was late, in seconds: where it
    is large, the machine was too busy for the figures to mean much. `samples` are the first failures.
    """

    rate: float
    seconds: float
    lag: float
    idle_closed: int
    idle_reset: int
    shapes: dict[str, Figures]
    total: Figures
    samples: list[str]

    @property
    def passed(self) -> bool:
        """Whether something was sent and nothing failed."""
        return self.total.ok > 0 and self.total.failed == 0

    def json(self) -> str:
        """The whole report, for `load`."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def load(cls, text: str) -> "Report":
        """Read back what `json` wrote."""
        raw = json.loads(text)
        raw["shapes"] = {name: _figures(f) for name, f in raw["shapes"].items()}
        raw["total"] = _figures(raw["total"])
        return cls(**raw)

    def table(self) -> str:
        """The report for people."""
        titles = ("shape", "sent", "ok", "failed", "p50", "p99", "max", "longest gap")
        rows: list[tuple[str, ...]] = [titles]
        rows += [_row(name, f) for name, f in {**self.shapes, "all": self.total}.items()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
        lines += [
            f"{name}: {n} x {kind}" for name, f in self.shapes.items() for kind, n in f.failures.items()
        ]
        lines += [
            f"release {value}: {seen.count} answers, {seen.first:.2f} s to {seen.last:.2f} s"
            for value, seen in self.total.releases.items()
        ]
        lines.append(f"{self.rate:.1f}/s for {self.seconds:.1f} s; generator late by {_ms(self.lag)} at most")
        lines.append(f"idle connections closed by the server: {self.idle_closed}, reset: {self.idle_reset}")
        return "\n".join([*lines, *self.samples])


def _figures(raw: dict[str, Any]) -> Figures:
    releases = {value: Seen(**seen) for value, seen in raw["releases"].items()}
    return Figures(**{**raw, "releases": releases})


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _row(name: str, f: Figures) -> tuple[str, ...]:
    counts = (str(f.sent), str(f.ok), str(f.failed))
    return (name, *counts, _ms(f.p50), _ms(f.p99), _ms(f.max), f"{_ms(f.gap)} at {f.gap_at:.2f} s")


class Run:
    """One run of a plan, in the current event loop."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._pools: dict[tuple[str, int], Pool] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._samples: list[str] = []
        self._lag = 0.0
        self._header = plan.header.lower()
        self._name = secrets.token_hex(4)

    async def __call__(self, *, stop_on: Iterable[signal.Signals] = (), announce: str = "") -> Report:
        """Send until the plan is done or one of `stop_on` arrives, wait for what is in flight, and report.

        `announce` is printed as soon as the first request is on its way.
        """
        loop = asyncio.get_running_loop()
        self._start = loop.time()
        self._total = Tally(self._start)
        self._tallies = {s.name: Tally(self._start) for s in self.plan.shapes if s.share > 0}
        pacer = loop.create_task(self._pace(announce))
        for number in stop_on:
            loop.add_signal_handler(number, pacer.cancel)
        await asyncio.wait([pacer])
        if not pacer.cancelled():
            pacer.result()
        end = self._start + max(0, self._total.sent - 1) / self.plan.rate
        if self._tasks:
            await asyncio.gather(*self._tasks)
        for pool in self._pools.values():
            pool.close()
        return self._report(end)

    async def _pace(self, announce: str) -> None:
        loop = asyncio.get_running_loop()
        order = mixture(self.plan.shapes)
        for n in range(max(1, int(self.plan.rate * self.plan.seconds))):
            due = self._start + n / self.plan.rate
            await asyncio.sleep(max(0.0, due - loop.time()))
            task = loop.create_task(self._one(order[n % len(order)], n, due))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            self._last_sent = loop.time()
            if n == 0 and announce:
                print(announce, flush=True)

    async def _one(self, shape: Shape, n: int, due: float) -> None:
        loop = asyncio.get_running_loop()
        self._lag = max(self._lag, loop.time() - due)
        both = (self._tallies[shape.name], self._total)
        for tally in both:
            tally.sent += 1
        try:
            async with asyncio.timeout(self.plan.timeout):
                answer = await self._ask(shape, n)
        except TimeoutError:
            self._fail(both, shape, n, Failed("time-out", f"{self.plan.timeout:g} s"))
        except Failed as e:
            self._fail(both, shape, n, e)
        except OSError as e:
            self._fail(both, shape, n, Failed("local", errno.errorcode.get(e.errno or 0, str(e))))
        else:
            self._count(both, shape, n, due, answer)

    async def _ask(self, shape: Shape, n: int) -> Answer:
        to = shape.targets[(self._tallies[shape.name].sent - 1) % len(shape.targets)]
        request = shape.request(to, f"{self._name}-{n}")
        if not shape.persistent:
            connection = Connection(to)
            try:
                await connection.connect(to)
                return await connection.exchange(request)
            finally:
                connection.close()
        address = (to.address, to.port)
        pool = self._pools.setdefault(address, Pool(self.plan.connections))
        connection = await pool.take(to)
        try:
            answer = await connection.exchange(request)
        except BaseException:
            pool.drop(connection)
            raise
        (pool.give if answer.reusable else pool.drop)(connection)
        return answer

    def _count(self, both: tuple[Tally, ...], shape: Shape, n: int, due: float, answer: Answer) -> None:
        now = asyncio.get_running_loop().time()
        ok = 200 <= answer.status < 300
        for tally in both:
            tally.statuses[str(answer.status)] += 1
            if self._header in answer.headers:
                tally.release(answer.headers[self._header], now)
            if ok:
                tally.success(due, now)
        if not ok:
            self._fail(both, shape, n, Failed(f"status {answer.status}"))

    def _fail(self, both: tuple[Tally, ...], shape: Shape, n: int, failure: Failed) -> None:
        for tally in both:
            tally.failures[failure.kind] += 1
        if len(self._samples) < 20:
            at = asyncio.get_running_loop().time() - self._start
            self._samples.append(f"{at:8.3f} s  {shape.name} request {n}: {failure}")

    def _report(self, end: float) -> Report:
        sent, elapsed = self._total.sent, self._last_sent - self._start
        return Report(
            rate=round((sent - 1) / elapsed, 1) if sent > 1 else 0.0,
            seconds=round(elapsed, 3),
            lag=round(self._lag, 6),
            idle_closed=sum(p.closed for p in self._pools.values()),
            idle_reset=sum(p.reset for p in self._pools.values()),
            shapes={name: tally.figures(end) for name, tally in self._tallies.items()},
            total=self._total.figures(end),
            samples=self._samples,
        )


class Load:
    """The generator as a process of its own: entering waits until it sends, leaving stops it and reads it.

    `shapes` maps `keep`, `close`, `post` and `slow` to their shares; `post` and `slow` need their URL.
    `seconds` bounds the run whatever happens to whoever started it.
    """

    def __init__(
        self,
        *urls: str,
        rate: float,
        shapes: Mapping[str, int] | None = None,
        post_url: str = "",
        post_body: str = "",
        slow_url: str = "",
        seconds: float = 120.0,
        timeout: float = 10.0,
        connections: int = 16,
        header: str = RELEASE_HEADER,
    ) -> None:
        # -I: the directory of this file must not come before the standard library.
        self._argv = [sys.executable, "-I", str(Path(__file__).resolve()), "--rate", str(rate)]
        self._argv += ["--seconds", str(seconds), "--timeout", str(timeout), "--header", header]
        self._argv += ["--connections", str(connections)]
        for url in urls:
            self._argv += ["--url", url]
        for name, share in (shapes or {"keep": 1, "close": 1}).items():
            self._argv += ["--shape", f"{name}={share}"]
        options = (("--post-url", post_url), ("--post-body", post_body), ("--slow-url", slow_url))
        for option, value in options:
            self._argv += [option, value] if value else []
        self._timeout = timeout
        self._report: Report | None = None
        self._process: subprocess.Popen[str] | None = None

    @property
    def report(self) -> Report:
        """What came of it; there once the load has stopped."""
        if self._report is None:
            raise RuntimeError("the load has not been stopped")
        return self._report

    def start(self) -> None:
        """Start the process and wait until its first request is on its way."""
        self._directory = tempfile.TemporaryDirectory(prefix="load-")
        self._json = Path(self._directory.name) / "report.json"
        argv = [*self._argv, "--json", str(self._json)]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._process = process
        assert process.stdout
        ready, _, _ = select.select([process.stdout], [], [], 10.0)
        if not ready or not process.stdout.readline().startswith("sending"):
            self._end()
            raise RuntimeError(f"the load did not start: {process.communicate()[1].strip()}")

    def stop(self) -> Report:
        """Stop sending, wait for what is in flight and return the report."""
        process = self._process
        if process is None:
            raise RuntimeError("the load was not started")
        try:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=self._timeout + 20.0)
            if not self._json.exists():
                raise RuntimeError(f"the load left no report: {errors.strip()}")
            self._report = Report.load(self._json.read_text())
        finally:
            self._end()
        return self._report

    def _end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._directory.cleanup()

    def __enter__(self) -> "Load":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.stop()
        else:
            self._end()


def _arguments(argv: list[str] | None) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    parser = argparse.ArgumentParser(prog="load", description="Constant-rate HTTP load on loopback.")
    add = parser.add_argument
    add("--url", action="append", default=[], help="what `keep` and `close` get; several are taken in turn")
    add("--rate", type=float, required=True, help=f"requests a second, all shapes together, to {MAX_RATE:g}")
    add("--seconds", type=float, required=True, help=f"how long, to {MAX_SECONDS:g}")
    add(
        "--shape", action="append", default=[], metavar="NAME=SHARE", help="keep, close, post, slow (1:1:0:0)"
    )
    add("--post-url", default="", help="where `post` sends to")
    add("--post-body", default='{"id": "{id}"}', help="what it sends; {id} becomes a unique id")
    add("--slow-url", default="", help="what `slow` gets")
    add("--timeout", type=float, default=10.0, help="seconds for one request")
    add("--connections", type=int, default=16, help="persistent connections kept open at least")
    add("--header", default=RELEASE_HEADER, help="the header that names the release")
    add("--json", type=Path, metavar="FILE", help="write the report there too")
    return parser, parser.parse_args(argv)


def _shapes(options: argparse.Namespace) -> tuple[Shape, ...]:
    shares = {}
    for item in options.shape or ["keep=1", "close=1"]:
        name, _, share = item.partition("=")
        if name not in ("keep", "close", "post", "slow") or not share.isdigit():
            raise ValueError(f"--shape {item}: keep, close, post or slow, then = and a whole number")
        shares[name] = int(share)
    urls = tuple(map(target, options.url))
    post, slow = (tuple(target(u) for u in (url,) if u) for url in (options.post_url, options.slow_url))
    shapes = (
        Shape("keep", urls, shares.get("keep", 0)),
        Shape("close", urls, shares.get("close", 0), persistent=False),
        Shape("post", post, shares.get("post", 0), "POST", body=options.post_body),
        Shape("slow", slow, shares.get("slow", 0)),
    )
    for shape in shapes:
        if shape.share and not shape.targets:
            raise ValueError(f"the shape {shape.name} has no URL")
    return shapes


def main(argv: list[str] | None = None) -> int:
    """Run the command line: 0 when nothing failed, 1 when something did, 2 when it was asked wrongly."""
    parser, options = _arguments(argv)
    try:
        shapes = _shapes(options)
        plan = Plan(
            shapes, options.rate, options.seconds, options.timeout, options.connections, options.header
        )
    except ValueError as e:
        parser.error(str(e))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.freeze()
    return asyncio.run(_run_and_tell(plan, f"sending {plan.rate:g}/s for {plan.seconds:g} s", options.json))


async def _run_and_tell(plan: Plan, announce: str, file: Path | None) -> int:
    """Run and report inside the loop: while it lives a late signal cannot end us before the report is out."""
    report = await Run(plan)(stop_on=(signal.SIGTERM, signal.SIGINT), announce=announce)
    if file:
        file.write_text(report.json())
    print(report.table(), flush=True)
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
