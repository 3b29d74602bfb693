"""Jobs on a Redis stream, through taskiq: the stream distributes them, the outbox records which exist.

taskiq provides the broker, the worker's loop with its limits, and the schedule. Its retries are not used: without a
separate process that times them they run at once, and a job that Redis loses is not retried. Here a job is done
when its transaction has deleted its row of the outbox; until then it becomes due again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from time import perf_counter
from typing import Any

import structlog
from taskiq import TaskiqMessage, TaskiqMiddleware, TaskiqResult, TaskiqScheduler
from taskiq.acks import AcknowledgeType
from taskiq.cli.scheduler.run import SchedulerLoop
from taskiq.receiver import Receiver
from taskiq.schedule_sources import LabelScheduleSource
from taskiq_redis import RedisStreamBroker

from app import outbox
from app.settings import Settings
from app.stores import POSTGRES_AWAY, Pool

log = structlog.get_logger()

Job = Callable[..., Awaitable[None]]
"""Does a job in the connection's transaction; its further arguments are the payload's."""

QUEUE = "jobs"
GROUP = "workers"
KEPT = 10_000  # messages in the stream, approximately; the outbox resends one trimmed unread
IDLE = 60  # seconds after which another worker takes over an unacknowledged message
GRACE = 8.0  # seconds for the current jobs when the worker is told to stop
AT_ONCE = 10  # jobs for each worker


class Jobs:
    """The jobs of the app by name, and the broker that carries them."""

    def __init__(self, pool: Pool, settings: Settings, jobs: Mapping[str, Job]) -> None:
        self._pool = pool
        self._settings = settings
        self.broker = RedisStreamBroker(
            settings.redis_url,
            queue_name=QUEUE,
            consumer_group_name=GROUP,
            consumer_name="worker",  # one for all: otherwise Redis would collect the names of past workers
            consumer_id="0",
            xread_block=1000,
            xread_count=AT_ONCE,
            maxlen=KEPT,
            idle_timeout=IDLE * 1000,
            unacknowledged_lock_timeout=10,
            socket_timeout=5,
            socket_connect_timeout=2,
        )
        self.broker.add_middlewares(_Failures(pool, settings))
        self.senders = {name: self._sender(name, job) for name, job in jobs.items()}
        """Hand a job to any free worker. Raises RedisError if Redis is unavailable."""

    def every(self, cron: str, name: str, act: Callable[[], Awaitable[None]]) -> None:
        """Run `act` on a schedule, in UTC. Each worker sends it, so running it several times must equal running it
        once."""

        async def scheduled() -> None:
            await act()

        self.broker.register_task(scheduled, name, schedule=[{"cron": cron}])

    async def work(self, stop: asyncio.Event) -> None:
        """Do jobs until told to stop, then finish the current ones. Waits while Redis is unavailable."""
        while not stop.is_set():
            try:
                await self.broker.startup()  # creates the group, also after Redis has come back empty
                receiver = Receiver(
                    self.broker,
                    max_async_tasks=AT_ONCE,
                    ack_type=AcknowledgeType.WHEN_EXECUTED,
                    run_startup=False,
                    wait_tasks_timeout=GRACE,
                )
                log.info("waiting for jobs")
                await receiver.listen(stop)
            except Exception as error:  # whatever the library raises; the next attempt starts afresh
                log.warning("jobs wait for Redis", error=repr(error))
                await asyncio.sleep(1)

    async def schedule(self) -> None:
        """Send scheduled jobs when they are due, until cancelled."""
        scheduler = TaskiqScheduler(self.broker, [LabelScheduleSource(self.broker)])
        await scheduler.sources[0].startup()
        await SchedulerLoop(scheduler).run(skip_first_run=True, send_timeout=10.0)

    def _sender(self, name: str, job: Job) -> outbox.Send:
        async def done_once(id: int, payload: dict[str, Any]) -> None:
            started = perf_counter()
            async with self._pool.acquire() as connection, connection.transaction():
                if not await outbox.take(connection, id):
                    return
                await job(connection, **payload)
            log.info("job", job=name, id=id, ms=round((perf_counter() - started) * 1000, 2))

        task = self.broker.register_task(done_once, name)

        async def send(id: int, payload: dict[str, Any]) -> None:
            await task.kicker().with_task_id(str(id)).kiq(id, payload)

        return send


class _Failures(TaskiqMiddleware):
    """Makes a failed job due again later."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        super().__init__()
        self._pool = pool
        self._settings = settings

    async def on_error(
        self, message: TaskiqMessage, result: TaskiqResult[Any], exception: BaseException
    ) -> None:
        log.warning("a job failed", job=message.task_name, id=message.task_id, error=repr(exception))
        if not message.args:
            return  # a scheduled job: it runs at its next time
        with suppress(*POSTGRES_AWAY):  # then its lease expires later, which also makes it due again
            await outbox.failed(self._pool, message.args[0], repr(exception)[:1000], self._settings)
