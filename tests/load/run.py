"""One run: every request at its own instant, whatever became of the ones before."""

import asyncio
import errno
import secrets
import signal
from collections.abc import Iterable

from tests.load import streams
from tests.load.figures import Report, Tally
from tests.load.shapes import Plan, Shape, mixture
from tests.load.wire import Answer, Connection, Failed, Pool


class Run:
    """One run of a plan, in the current event loop."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._pools: dict[tuple[str, int], Pool] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._samples: list[str] = []
        self._lag = 0.0
        self._all_last = all(s.lasts for s in plan.shapes if s.share)
        self._header = plan.header.lower()
        self._name = secrets.token_hex(4)
        self._ids: dict[bool, list[str]] = {True: [], False: []}  # by whether they were acknowledged

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
            async with asyncio.timeout(self.plan.timeout + shape.seconds):
                answer, early = await self._ask(shape, n)
        except TimeoutError:
            self._fail(both, shape, n, Failed("time-out", f"{self.plan.timeout:g} s"))
        except Failed as e:
            self._fail(both, shape, n, e)
        except OSError as e:
            self._fail(both, shape, n, Failed("local", errno.errorcode.get(e.errno or 0, str(e))))
        else:
            self._count(both, shape, n, due, answer, early=early)

    async def _ask(self, shape: Shape, n: int) -> tuple[Answer, bool]:
        """The answer, and whether the server ended early what it could have gone on with."""
        to = shape.targets[(self._tallies[shape.name].sent - 1) % len(shape.targets)]
        first, *rest = shape.pieces(to, self._identity(n))
        pause = shape.seconds / max(1, len(rest))
        if not shape.persistent:
            connection = Connection(to)
            try:
                await connection.connect(to)
                if shape.kind == "websocket":
                    return await streams.talk(connection, to, shape.seconds)
                if shape.kind == "events":
                    return await streams.listen(connection, first)
                return await connection.exchange(first, rest, pause), False
            finally:
                connection.close()
        address = (to.address, to.port)
        pool = self._pools.setdefault(address, Pool(self.plan.connections))
        connection = await pool.take(to)
        try:
            if connection.answers and self.plan.distance:
                await asyncio.sleep(self.plan.distance)
            answer = await connection.exchange(first, rest, pause)
        except BaseException:
            pool.drop(connection)
            raise
        (pool.give if answer.reusable else pool.drop)(connection)
        return answer, False

    def _identity(self, n: int) -> str:
        return f"{self._name}-{n}"

    def _count(
        self, both: tuple[Tally, ...], shape: Shape, n: int, due: float, answer: Answer, *, early: bool
    ) -> None:
        now = asyncio.get_running_loop().time()
        ok = answer.status == 101 if shape.kind == "websocket" else 200 <= answer.status < 300
        for tally in both:
            tally.statuses[str(answer.status)] += 1
            if self._header in answer.headers:
                tally.release(answer.headers[self._header], now)
            if ok:
                tally.success(due, now, timed=tally is not self._total or not shape.lasts or self._all_last)
                tally.closed += early
        if ok and shape.numbered:
            self._ids[True].append(self._identity(n))
        if not ok:
            self._fail(both, shape, n, Failed(f"status {answer.status}"))

    def _fail(self, both: tuple[Tally, ...], shape: Shape, n: int, failure: Failed) -> None:
        for tally in both:
            tally.failures[failure.kind] += 1
        if shape.numbered:
            self._ids[False].append(self._identity(n))
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
            acknowledged=self._ids[True],
            unacknowledged=self._ids[False],
        )
