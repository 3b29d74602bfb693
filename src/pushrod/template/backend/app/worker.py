"""The worker: records in PostgreSQL the views of products that the backend hands over on a Redis stream.

An event is taken, recorded, then settled; a worker that dies between leaves it to another one, and recording
it twice records it once. A store that is away is waited for. SIGTERM ends it after the events in hand.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import psycopg
from redis.exceptions import RedisError

from app.settings import Settings
from app.stores import open_postgres, open_redis
from app.views import BLOCK_MS, View, ViewReceiver, ViewRecord

log = logging.getLogger("app.worker")

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between tries while a store is away


async def main() -> None:
    """Work until SIGTERM or SIGINT."""
    settings = Settings.from_environment()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    patience = BLOCK_MS / 1000 + 4  # a read that waits for events is no Redis that hangs
    async with (
        open_postgres(settings.database_url, size=1) as pool,
        open_redis(settings.redis_url, patience) as redis,
    ):
        log.info("waiting for views")
        await work(ViewReceiver(redis), ViewRecord(pool), stop)
    log.info("stopped")


async def work(receiver: ViewReceiver, record: ViewRecord, stop: asyncio.Event) -> None:
    """Take and record events, a batch at a time, until told to stop."""

    async def finish() -> None:
        await record.add(_views(events))
        await receiver.settle([event for event, _ in events])

    while not stop.is_set():
        events = await keep_trying(receiver.take, stop) or []
        if events:
            await keep_trying(finish, stop)


async def keep_trying(step: Callable[[], Awaitable[T]], stop: asyncio.Event) -> T | None:
    """What the step gives once its stores answer; None when told to stop while they do not."""
    pause = FIRST_PAUSE
    while True:
        try:
            return await step()
        except (psycopg.Error, RedisError) as error:
            log.warning("will try again in %.1f s: %s", pause, error)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause)
        if stop.is_set():
            return None
        pause = min(pause * 2, LONGEST_PAUSE)


def _views(events: list[tuple[str, dict[str, str]]]) -> list[View]:
    views = []
    for event, fields in events:
        try:
            views.append(View.parse(event, fields))
        except ValueError:
            log.warning("passed over event %s, which is no view", event)
    return views


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    asyncio.run(main())
