"""The transactional outbox: actions to follow a transaction, written in it, so that both happen or neither does.

A row is an event to publish or a job to do. The relay sends due rows, and sends them again after a lease. A job's
row stays until the transaction that does the job deletes it. An event's row is deleted after it has been sent
twice: Redis writes to disk once a second, so a crash of its machine can lose what it has acknowledged. Therefore:

- Nothing is lost: whatever crashes at whatever moment, the row still exists.
- Nothing is invented: the row exists only if its transaction was committed.
- A job that is delivered twice is done once: the second delivery finds no row. An event that is published twice is
  in the stream once: Redis knows the row's id, unless it has lost the event too.

A failed job becomes due again after a pause that doubles each time; after `max_tries` the row is a dead letter,
which stays for a person to look at (`python -m app.manage dead`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import asyncpg
import structlog
from pydantic_core import from_json, to_json
from redis.exceptions import RedisError

from app.settings import Settings
from app.stores import POSTGRES_AWAY, Connection, Pool

log = structlog.get_logger()

EVENT = "event"  # the topic of published events; every other topic is the name of a job
BATCH = 200
POLL = 0.2  # seconds between two checks for due rows
LONGEST_PAUSE = 60.0  # seconds between two attempts

Send = Callable[[int, dict[str, Any]], Awaitable[None]]
"""Sends a row: its id and its payload."""


async def put(connection: Connection, topic: str, payload: dict[str, Any], delay: float = 0.0) -> None:
    """Schedule an action `delay` seconds after the connection's transaction, if that is committed."""
    sql = "INSERT INTO outbox (topic, payload, due_at) VALUES ($1, $2, now() + make_interval(secs => $3))"
    await connection.execute(sql, topic, to_json(payload).decode(), delay)


async def take(connection: Connection, id: int) -> bool:
    """Make this transaction the one that does the job; False if it is done. Waits for another that is doing it."""
    return await connection.fetchval("DELETE FROM outbox WHERE id = $1 RETURNING true", id) is True


async def failed(pool: Pool, id: int, error: str, settings: Settings) -> None:
    """Make a failed job due again, after a pause that doubles with each attempt."""
    sql = """UPDATE outbox SET error = $2, due_at = now() + make_interval(secs => least($3 * 2 ^ (tries - 1), $4))
             WHERE id = $1"""
    await pool.execute(sql, id, error, settings.retry_seconds, LONGEST_PAUSE)


class Relay:
    """Sends due rows in order. Every worker runs a relay; only one is active at a time."""

    def __init__(self, pool: Pool, publish: Send, send: Mapping[str, Send], settings: Settings) -> None:
        self._pool = pool
        self._senders = {EVENT: publish, **send}
        self._settings = settings

    async def run(self, stop: asyncio.Event) -> None:
        """Run until told to stop. Waits while a store is unavailable or the table does not exist yet."""
        while not stop.is_set():
            pause = POLL
            try:
                if await self.round() == BATCH:
                    continue
            except (*POSTGRES_AWAY, asyncpg.UndefinedTableError, RedisError) as error:
                log.warning("the outbox waits", error=repr(error))
                pause = 1.0
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)

    async def round(self) -> int:
        """Send what is due, at most BATCH rows; returns how many.

        Rows are sent before that is committed: a crash in between sends them twice, which does no harm.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            if not await connection.fetchval("SELECT pg_try_advisory_xact_lock(hashtext('outbox'))"):
                return 0
            rows = await connection.fetch(
                """SELECT id, topic, payload, tries FROM outbox
                   WHERE due_at <= now() AND dead_at IS NULL AND topic = ANY($1)
                   ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED""",
                list(self._senders),  # topics that only another release knows are left to its workers
                BATCH,
            )
            done: list[int] = []
            sent: list[int] = []
            dead: list[int] = []
            for row in rows:
                if row["tries"] >= self._settings.max_tries:
                    dead.append(row["id"])
                    continue
                await self._senders[row["topic"]](row["id"], from_json(row["payload"]))
                (done if row["topic"] == EVENT and row["tries"] else sent).append(row["id"])
            await connection.execute("DELETE FROM outbox WHERE id = ANY($1)", done)
            await connection.execute(
                """UPDATE outbox SET tries = tries + 1, due_at = now() + make_interval(secs => $2)
                   WHERE id = ANY($1)""",
                sent,
                self._settings.lease_seconds,
            )
            await connection.execute("UPDATE outbox SET dead_at = now() WHERE id = ANY($1)", dead)
        if dead:
            log.error("dead letters: python -m app.manage dead", ids=dead)
        return len(rows)


async def figures(pool: Pool) -> dict[str, float]:
    """Metrics of the outbox: due rows, dead rows, and for how many seconds the oldest row has been due."""
    row = await pool.fetchrow(
        """SELECT count(*) FILTER (WHERE dead_at IS NULL AND due_at <= now()) AS due,
                  count(*) FILTER (WHERE dead_at IS NOT NULL) AS dead,
                  coalesce(extract(epoch FROM max(now() - due_at) FILTER (WHERE dead_at IS NULL)), 0) AS late
           FROM outbox"""
    )
    return {name: max(0.0, float(value)) for name, value in (row or {}).items()}
