"""One run: every request at its scheduled time, regardless of earlier ones."""

import asyncio
import contextlib
import errno
import secrets
import signal
from collections.abc import AsyncIterator, Iterable

from devtools.load import streams
from devtools.load.figures import Failure, Report, Tally
from devtools.load.http1 import Connection, Pool
from devtools.load.http2 import Session, Sessions, Stream
from devtools.load.shapes import Plan, Shape, mixture
from devtools.load.wire import Answer, Failed, Target

MOST = 1000  # failures that are listed individually


class Run:
    """One run of a plan, in the current event loop."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._pools: dict[tuple[str, int], Pool] = {}
        self._sessions: dict[tuple[str, int], Sessions] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: list[Failure] = []
        self._lag = 0.0
        self._all_last = all(s.lasts for s in plan.shapes if s.share)
        self._header = plan.header.lower()
        self._name = secrets.token_hex(4)
        self._ids: dict[bool, list[str]] = {True: [], False: []}  # by whether they were acknowledged

    async def __call__(self, *, stop_on: Iterable[signal.Signals] = (), announce: str = "") -> Report:
        """Send until the plan is done or one of `stop_on` arrives, wait for open requests, and report.

        `announce` is printed once the first request is being sent.
        """
        loop = asyncio.get_running_loop()
        self._start = loop.time()
        self._total = Tally(self._start)
        shapes = [s for s in self.plan.shapes if s.share > 0]
        self._tallies = {s.key: Tally(self._start) for s in shapes}
        self._protocols = {s.protocol: Tally(self._start) for s in shapes}
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
        for sessions in self._sessions.values():
            await sessions.close()
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
        tallies = (self._tallies[shape.key], self._protocols[shape.protocol], self._total)
        for tally in tallies:
            tally.sent += 1
        try:
            async with asyncio.timeout(self.plan.timeout + shape.seconds):
                answer, early = await self._ask(shape, n)
        except TimeoutError:
            self._fail(tallies, shape, n, Failed("time-out", f"{self.plan.timeout:g} s"))
        except Failed as e:
            self._fail(tallies, shape, n, e)
        except OSError as e:
            self._fail(tallies, shape, n, Failed("local", errno.errorcode.get(e.errno or 0, str(e))))
        else:
            self._count(tallies, shape, n, due, answer, early=early)

    async def _ask(self, shape: Shape, n: int) -> tuple[Answer, bool]:
        """The answer, and whether the server closed early what it could have continued."""
        to = shape.targets[(self._tallies[shape.key].sent - 1) % len(shape.targets)]
        forwarded = (("X-Forwarded-Proto", "https"),) if self.plan.forwarded and not to.name else ()
        request = shape.request(to, self._identity(shape, n), forwarded)
        async with (self._stream if shape.protocol == "h2" else self._connection)(shape, to) as carrier:
            try:
                if shape.kind == "events":
                    return await streams.listen(carrier, request)
                if shape.kind == "websocket":
                    assert isinstance(carrier, Connection), "no WebSocket over HTTP/2"
                    return await streams.talk(carrier, request, shape.seconds)
                return await carrier.exchange(request), False
            except Failed as e:
                e.answer = carrier.head
                raise

    @contextlib.asynccontextmanager
    async def _connection(self, shape: Shape, to: Target) -> AsyncIterator[Connection]:
        """A new connection, or a kept one."""
        if not shape.persistent:
            connection = Connection(to)
            try:
                await connection.connect(to)
                yield connection
            finally:
                connection.close()
            return
        pool = self._pools.setdefault((to.address, to.port), Pool(self.plan.connections))
        connection = await pool.take(to)
        try:
            if connection.answers and self.plan.distance:
                await asyncio.sleep(self.plan.distance)
            yield connection
        except BaseException:
            pool.drop(connection)
            raise
        (pool.give if connection.head and connection.head.reusable else pool.drop)(connection)

    @contextlib.asynccontextmanager
    async def _stream(self, shape: Shape, to: Target) -> AsyncIterator[Stream]:
        """A stream on a shared connection, or on its own."""
        async with contextlib.AsyncExitStack() as stack:
            if shape.persistent:
                address = (to.address, to.port)
                session = await self._sessions.setdefault(address, Sessions(self.plan.sessions)).take(to)
                await asyncio.sleep(self.plan.distance)
            else:
                session = await stack.enter_async_context(Session(to))
            stream = Stream(session)
            try:
                yield stream
            finally:
                await session.leave(stream)

    def _identity(self, shape: Shape, n: int) -> str:
        return f"{self._name}-{n}-{shape.key}"

    def _count(
        self, tallies: tuple[Tally, ...], shape: Shape, n: int, due: float, answer: Answer, *, early: bool
    ) -> None:
        now = asyncio.get_running_loop().time()
        ok = answer.status == 101 if shape.kind == "websocket" else 200 <= answer.status < 300
        own = tallies[0]
        for tally in tallies:
            tally.statuses[str(answer.status)] += 1
            if self._header in answer.headers:
                tally.release(answer.headers[self._header], now)
            if ok:
                tally.success(due, now, timed=tally is own or not shape.lasts or self._all_last)
                tally.closed += early
        if ok and shape.numbered:
            self._ids[True].append(self._identity(shape, n))
        if not ok:
            self._fail(tallies, shape, n, Failed(f"status {answer.status}", answer=answer))

    def _fail(self, tallies: tuple[Tally, ...], shape: Shape, n: int, failure: Failed) -> None:
        for tally in tallies:
            tally.failures[failure.kind] += 1
        if shape.numbered:
            self._ids[False].append(self._identity(shape, n))
        if len(self._failures) < MOST:
            headers = failure.answer.headers if failure.answer else {}
            at = asyncio.get_running_loop().time() - self._start
            named = (headers.get("x-instance", ""), headers.get("x-request-id", ""))
            self._failures.append(Failure(shape.key, n, round(at, 3), failure.kind, failure.detail, *named))

    def _report(self, end: float) -> Report:
        sent, elapsed = self._total.sent, self._last_sent - self._start
        return Report(
            rate=round((sent - 1) / elapsed, 1) if sent > 1 else 0.0,
            seconds=round(elapsed, 3),
            started=self._start,
            lag=round(self._lag, 6),
            idle_closed=sum(p.closed for p in self._pools.values()),
            idle_reset=sum(p.reset for p in self._pools.values()),
            goaways=sum(s.goaways for s in self._sessions.values()),
            shapes={name: tally.figures(end) for name, tally in self._tallies.items()},
            protocols={str(name): tally.figures(end) for name, tally in self._protocols.items()},
            total=self._total.figures(end),
            failures=self._failures,
            acknowledged=self._ids[True],
            unacknowledged=self._ids[False],
        )
