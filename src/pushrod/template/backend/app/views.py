"""Views of products: handed over on a Redis stream by the backend, recorded in PostgreSQL by the worker."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from psycopg_pool import AsyncConnectionPool
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from app.stores import OptionalRedis

STREAM = "product-views"
GROUP = "recorders"
# All workers share one name: what one of them took and never recorded is found by how long it is idle,
# and no list of the names of past workers grows in Redis.
CONSUMER = "worker"
KEPT = 10_000  # events the stream holds, about: with the worker away for longer, the oldest are lost
BATCH = 100
BLOCK_MS = 500  # how long a read waits for events: also the longest a stop of the worker waits for it
IDLE_MS = 30_000  # after this, an event that was taken counts as abandoned; far longer than recording takes


@dataclass(frozen=True)
class View:
    """That a product was looked at. `event` is its id in the stream, which begins with milliseconds."""

    event: str
    product_id: int

    @classmethod
    def parse(cls, event: str, fields: dict[str, str] | None) -> Self:
        """Raise ValueError when it is no view; a trimmed event has no fields at all."""
        return cls(event, int((fields or {}).get("product_id", "")))

    @property
    def viewed_at(self) -> datetime:
        return datetime.fromtimestamp(int(self.event.partition("-")[0]) / 1000, UTC)


class ViewSender:
    """The backend's end of the stream."""

    def __init__(self, redis: OptionalRedis) -> None:
        self._redis = redis

    async def send(self, product_id: int) -> None:
        """Hand over a view; while Redis is away, views are not counted."""
        await self._redis.execute("XADD", STREAM, "MAXLEN", "~", KEPT, "*", "product_id", product_id)


class ViewReceiver:
    """The worker's end of the stream. Every method raises redis.RedisError when Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def take(self) -> list[tuple[str, dict[str, str]]]:
        """Abandoned events if there are any, else new ones; none after BLOCK_MS without any."""
        try:
            return await self._abandoned() or await self._new()
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            await self._redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
            return []

    async def settle(self, events: list[str]) -> None:
        """Say that these are done with."""
        await self._redis.xack(STREAM, GROUP, *events)

    async def _abandoned(self) -> list[tuple[str, dict[str, str]]]:
        answer: Any = await self._redis.xautoclaim(STREAM, GROUP, CONSUMER, IDLE_MS, count=BATCH)
        return list(answer[1])

    async def _new(self) -> list[tuple[str, dict[str, str]]]:
        read: Any = await self._redis.xreadgroup(GROUP, CONSUMER, {STREAM: ">"}, count=BATCH, block=BLOCK_MS)
        return [event for _, events in read for event in events]


class ViewRecord:
    """The table `product_views`. Every method raises psycopg.OperationalError when PostgreSQL is away."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool

    async def add(self, views: list[View]) -> None:
        """Record views, all or none. One recorded already, or whose product is gone, is passed over."""
        sql = """INSERT INTO product_views (event, product_id, viewed_at)
                 SELECT %s, id, %s FROM products WHERE id = %s ON CONFLICT DO NOTHING"""
        rows = [(view.event, view.viewed_at, view.product_id) for view in views]
        async with self._pool.connection() as connection, connection.transaction():
            await connection.cursor().executemany(sql, rows)

    async def count(self, product_id: int) -> int:
        """How often a product was looked at, as far as recorded."""
        sql = "SELECT count(*) FROM product_views WHERE product_id = %s"
        async with self._pool.connection() as connection:
            row = await (await connection.execute(sql, [product_id])).fetchone()
        return int(row[0]) if row else 0
