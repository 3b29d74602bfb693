"""The nightly job: the previous day is closed, once, however many workers there are."""

from datetime import UTC, date, datetime, timedelta

import structlog

from app.locks import Lock, Locks, fence
from app.stores import Pool

log = structlog.get_logger()

CLOSE_DAY = "close_day"
LONGEST = 60.0  # seconds allowed for closing a day; then another worker may start


class Sales:
    """The table `daily_sales`."""

    def __init__(self, pool: Pool, locks: Locks) -> None:
        self._pool = pool
        self._locks = locks

    async def close_yesterday(self) -> None:
        """Close the day that has just ended, in UTC."""
        await self.close((datetime.now(UTC) - timedelta(days=1)).date())

    async def close(self, day: date) -> bool:
        """Close a day; returns whether this call did it."""
        async with self._locks.hold(CLOSE_DAY, LONGEST) as lock:
            if lock is None or await self._pool.fetchval("SELECT true FROM daily_sales WHERE day = $1", day):
                return False
            await self.write(lock, day, *await self.count(day))
        log.info("day closed", day=str(day))
        return True

    async def count(self, day: date) -> tuple[int, int]:
        """The number of orders placed on a day, and their total in cents."""
        row = await self._pool.fetchrow(
            """SELECT count(DISTINCT o.id), coalesce(sum(i.quantity * i.price_cents), 0)::bigint AS cents
               FROM orders o JOIN order_items i ON i.order_id = o.id
               WHERE o.created_at >= $1::date::timestamp AT TIME ZONE 'UTC'
                 AND o.created_at < ($1::date + 1)::timestamp AT TIME ZONE 'UTC'""",
            day,
        )
        return (row["count"], row["cents"]) if row else (0, 0)

    async def write(self, lock: Lock, day: date, orders: int, cents: int) -> None:
        """Write the totals. Raises SupersededError if a later holder of the lock has written."""
        async with self._pool.acquire() as connection, connection.transaction():
            await fence(connection, lock)
            sql = """INSERT INTO daily_sales (day, orders, total_cents, token) VALUES ($1, $2, $3, $4)
                     ON CONFLICT (day) DO UPDATE
                     SET orders = excluded.orders, total_cents = excluded.total_cents, token = excluded.token"""
            await connection.execute(sql, day, orders, cents, lock.token)
