"""Cache-aside: JSON in Redis beside the tables; read through, refreshed early, invalidated by every write.

What a read does, in this order:

- A value that this process has read within NEAR seconds is returned at once, without Redis.
- A fresh value in Redis is a hit. In the last tenth of its life one reader refreshes it in the background.
- A value that is no longer fresh is reloaded by one reader. The others get the stale value, and so does that reader
  if the load fails or takes longer than PATIENCE.
- Without a value, one reader loads it and the others wait for it, across all processes.
- Without Redis every process loads for itself, one reader for each key.

Libraries (cashews was evaluated) have locks and early refresh too, but no lease: a value loaded before a write must
not be stored after it. Here a reader may store a value only while it holds the lease that it took before loading,
and a write revokes the lease.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

import structlog
from prometheus_client import Counter
from redis.exceptions import RedisError

from app.stores import OptionalRedis

log = structlog.get_logger()

NEAR = 1.0  # seconds; for so long another process may return the value from before a write
NEAR_SIZE = 10_000  # keys
PATIENCE = 0.3  # seconds that a reader waits for a new value if it has a stale one
LEASE = 10.0  # seconds; longer than any statement may take
RETRY = 1.0  # seconds until a failed load is retried
POLL = 0.02  # seconds between two checks by a reader that waits for another's load
EARLY = 0.1  # the last part of its life, in which a value is refreshed

READS = Counter("cache_reads", "Reads of the cache by kind of value and result", ["kind", "result"])
LOADS = Counter("cache_loads", "Values loaded from PostgreSQL for the cache", ["kind"])

_ASK = """local raw = redis.call('GET', KEYS[1])
if raw then
  local version, fresh_until = string.match(raw, '^(%d+) (%d+)\\n')
  if version == ARGV[3] and tonumber(fresh_until) >= tonumber(ARGV[4]) then return {raw, false} end
end
return {raw, redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) and 1}"""
_PUT = """if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
return 1"""

Load = Callable[[], Awaitable[bytes | None]]


class Answer(NamedTuple):
    """A value, or None if there is none, and where it came from: hit, miss or stale."""

    value: bytes | None
    how: str


class _Entry(NamedTuple):
    value: bytes
    fresh_for: float  # seconds; negative once it is stale


class Cache:
    """Values of one kind, by id.

    `version` identifies their shape: change it whenever the shape changes. Two releases share the cache while one
    takes over from the other, and after a rollback; a value with another version, or one that `check` refuses with
    ValueError, is a miss.
    """

    def __init__(
        self,
        redis: OptionalRedis,
        kind: str,
        version: int,
        check: Callable[[bytes], object],
        seconds: int,
        stale: int,
    ) -> None:
        self._redis = redis
        self._kind = kind
        self._version = version
        self._check = check
        self._seconds = seconds
        self._stale = stale
        self._near: dict[int, tuple[float, bytes]] = {}
        self._loads: dict[int, asyncio.Task[Answer]] = {}
        self._background: set[asyncio.Task[bytes | None]] = set()
        self._writes = 0
        self._counts = {how: READS.labels(kind, how) for how in ("hit", "miss", "stale")}
        self._loaded = LOADS.labels(kind)

    def near(self, id: int) -> bytes | None:
        """The value with that id if this process read it within NEAR seconds; counts as a hit."""
        near = self._near.get(id)
        if near is None or near[0] <= time.monotonic():
            return None
        self._counts["hit"].inc()
        return near[1]

    async def read(self, id: int, load: Load) -> Answer:
        """The value with that id. Raises what `load` raises if there is no stale value to return."""
        near = self.near(id)
        if near is not None:
            return Answer(near, "hit")
        running = self._loads.get(id)
        if running is None:
            running = self._loads[id] = asyncio.create_task(self._read(id, load))
            running.add_done_callback(lambda task: self._done(id, task))
        answer = await asyncio.shield(running)  # a client that disconnects must not cancel it for the others
        self._counts[answer.how].inc()
        return answer

    async def drop(self, *ids: int) -> None:
        """Invalidate values that have been written; call it after PostgreSQL has committed.

        If Redis cannot be reached, the old value may be returned as long as it is fresh.
        """
        self._writes += 1
        for id in ids:
            self._near.pop(id, None)
            self._loads.pop(id, None)
        try:
            await self._redis.execute(
                "DEL", *(name for id in ids for name in (self._key(id), self._lease(id)))
            )
        except RedisError:
            log.warning("a write could not invalidate the cache", kind=self._kind, ids=ids)

    async def _read(self, id: int, load: Load) -> Answer:
        writes = self._writes
        answer, seconds = await self._look(id, load)
        if answer.value is not None and seconds > 0 and writes == self._writes:
            if len(self._near) >= NEAR_SIZE:
                self._near.clear()
            self._near[id] = (time.monotonic() + min(NEAR, seconds), answer.value)
        return answer

    async def _look(self, id: int, load: Load) -> tuple[Answer, float]:
        """The answer, and for how many seconds it may be kept in this process."""
        end = time.monotonic() + LEASE
        try:
            while True:
                entry, lease = await self._ask(id)
                if entry is not None:
                    break
                if lease is not None:
                    return Answer(await self._fill(id, lease, load), "miss"), NEAR
                if time.monotonic() > end:
                    return Answer(await self._load(load), "miss"), NEAR
                await asyncio.sleep(POLL)
        except RedisError:
            return Answer(await self._load(load), "miss"), NEAR
        if lease is None:
            return Answer(entry.value, "hit" if entry.fresh_for > 0 else "stale"), entry.fresh_for
        filling = asyncio.create_task(self._fill(id, lease, load, RETRY))
        self._background.add(filling)
        filling.add_done_callback(self._filled)
        if entry.fresh_for > 0:
            return Answer(entry.value, "hit"), entry.fresh_for
        done, _ = await asyncio.wait({filling}, timeout=PATIENCE)
        if done and filling.exception() is None:
            return Answer(filling.result(), "miss"), NEAR
        return Answer(entry.value, "stale"), 0.0

    async def _ask(self, id: int) -> tuple[_Entry | None, bytes | None]:
        """What Redis has, and a lease if this reader must load the value."""
        lease = secrets.token_bytes(8)
        early = int((time.time() + self._seconds * EARLY) * 1000)
        keys = (self._key(id), self._lease(id))
        raw, taken = await self._redis.execute(
            "EVAL", _ASK, 2, *keys, lease, int(LEASE * 1000), self._version, early
        )
        entry = self._parse(raw)
        if raw is not None and entry is None and not taken:
            await self._redis.execute("DEL", keys[0])  # its head says fresh, but the content is invalid
        return entry, lease if taken else None

    async def _fill(self, id: int, lease: bytes, load: Load, retry: float = 0.0) -> bytes | None:
        """Load a value and store it, unless it has been written meanwhile; after a failure, pause for `retry`."""
        try:
            value = await self._load(load)
        except Exception:
            await self._ignoring("PEXPIRE", self._lease(id), int(retry * 1000))
            raise
        if value is None:
            await self._ignoring("DEL", self._lease(id), self._key(id))
            return None
        head = b"%d %d\n" % (self._version, int((time.time() + self._seconds) * 1000))
        keeps = (self._seconds + self._stale) * 1000
        await self._ignoring("EVAL", _PUT, 2, self._key(id), self._lease(id), lease, head + value, keeps)
        return value

    async def _ignoring(self, *command: str | bytes | int) -> None:
        with suppress(RedisError):  # logged where it happens; the value is known anyway
            await self._redis.execute(*command)

    async def _load(self, load: Load) -> bytes | None:
        self._loaded.inc()
        return await load()

    def _parse(self, raw: bytes | None) -> _Entry | None:
        if raw is None:
            return None
        head, _, value = raw.partition(b"\n")
        try:
            version, fresh_until = map(int, head.split())
            if version != self._version:
                return None
            self._check(value)
        except ValueError:
            return None
        return _Entry(value, fresh_until / 1000 - time.time())

    def _done(self, id: int, task: asyncio.Task[Answer]) -> None:
        if self._loads.get(id) is task:
            del self._loads[id]
        if not task.cancelled():
            task.exception()  # waiting readers have received it; without any, nobody needs it

    def _filled(self, task: asyncio.Task[bytes | None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.warning("a cached value could not be refreshed", kind=self._kind, error=repr(error))

    def _key(self, id: int) -> str:
        return f"{self._kind}:{id}"

    def _lease(self, id: int) -> str:
        return f"{self._kind}:{id}:lease"
