"""The worker: does jobs, relays the outbox, and runs the schedule.

Any number of workers can run side by side. They wait while a store is unavailable. SIGTERM ends one after its
current jobs.
"""

import asyncio
import os
import signal
from contextlib import suppress
from typing import Any

import structlog
from pydantic_core import to_json

from app import events
from app.jobs import AT_ONCE, Jobs
from app.locks import Locks
from app.outbox import Relay
from app.settings import Settings
from app.shop.orders import ADVANCE, Orders
from app.shop.products import make_cache
from app.shop.sales import CLOSE_DAY, Sales
from app.stores import open_postgres, open_redis
from app.telemetry import configure_logging

log = structlog.get_logger()

LAST = 12.0  # seconds from the signal to the end, if a store answers nobody; less than stop_grace_period


async def main() -> None:
    """Work until SIGTERM or SIGINT."""
    settings = Settings.from_environment()
    configure_logging(settings.log_level)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _stop, stop)
    async with (
        open_postgres(settings.database_url, size=AT_ONCE + 2) as pool,
        open_redis(settings.redis_url, timeout=2.0) as redis,
        open_redis(settings.cache_url) as cache_redis,
    ):
        orders = Orders(pool, make_cache(cache_redis, settings), settings.step_seconds)
        jobs = Jobs(pool, settings, {ADVANCE: orders.advance})
        jobs.every(settings.nightly, CLOSE_DAY, Sales(pool, Locks(redis, pool)).close_yesterday)

        async def publish(id: int, payload: dict[str, Any]) -> None:
            data = to_json(payload["data"]).decode()
            await events.publish(redis, id, payload["user_id"], payload["event"], data)

        relay = Relay(pool, publish, jobs.senders, settings)
        schedule = asyncio.create_task(jobs.schedule())
        async with asyncio.TaskGroup() as group:
            group.create_task(jobs.work(stop))
            group.create_task(relay.run(stop))
        schedule.cancel()
        with suppress(asyncio.CancelledError):
            await schedule
        await jobs.broker.shutdown()
    log.info("stopped")


def _stop(stop: asyncio.Event) -> None:
    stop.set()
    asyncio.get_running_loop().call_later(LAST, _give_up)


def _give_up() -> None:
    """End at once, and log what still waits. PostgreSQL undoes an unfinished job, which becomes due again."""
    frames = [frame for task in asyncio.all_tasks() for frame in task.get_stack(limit=1)]
    log.error("not stopped in time", waiting=[f"{f.f_code.co_qualname}:{f.f_lineno}" for f in frames])
    os._exit(1)


if __name__ == "__main__":
    asyncio.run(main())
