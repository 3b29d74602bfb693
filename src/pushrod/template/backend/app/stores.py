"""Connections to PostgreSQL and Redis. Whatever waits has a time-out, in seconds."""

import logging
from time import monotonic
from typing import Any

from psycopg_pool import AsyncConnectionPool
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

PATIENCE = 2  # how long a request waits for PostgreSQL before it is answered with 503
POOL_SIZE = 10  # per process; PostgreSQL takes 100 connections in all unless told otherwise


def open_postgres(url: str, size: int = POOL_SIZE) -> AsyncConnectionPool:
    """A pool to enter with `async with`; it connects in the background, and again after PostgreSQL was away.

    Each connection is tested as it is taken, so that a restart of PostgreSQL does not fail the next requests.
    Single statements commit by themselves; several that belong together need `connection.transaction()`.
    """
    return AsyncConnectionPool(
        url,
        min_size=1,
        max_size=size,
        timeout=PATIENCE,
        reconnect_timeout=PATIENCE,  # its tries grow rarer up to this; then the next request tries at once
        open=False,
        check=AsyncConnectionPool.check_connection,
        kwargs={"autocommit": True, "connect_timeout": PATIENCE, "options": "-c statement_timeout=5s"},
    )


def open_redis(url: str, timeout: float = 0.5) -> Redis:
    """A client to enter with `async with`. One retry, for a connection that died while it was idle."""
    return Redis.from_url(
        url,
        decode_responses=True,
        socket_connect_timeout=timeout,
        socket_timeout=timeout,
        retry=Retry(NoBackoff(), 1),
    )


class OptionalRedis:
    """Redis as the web side sees it: useful, never needed.

    When it does not answer, commands give None, as if it held nothing; for the next PAUSE it is not even
    asked, so that a Redis that hangs costs one time-out a second and not one a request.
    """

    PAUSE = 1.0

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._ask_again = 0.0

    async def execute(self, *command: str | int) -> Any:
        """What Redis answers to one command, or None when it is away."""
        if monotonic() < self._ask_again:
            return None
        try:
            return await self._redis.execute_command(*command)  # type: ignore[no-untyped-call]
        except RedisError as error:
            log.warning("Redis is away, going on without it: %s", error)
            self._ask_again = monotonic() + self.PAUSE
            return None
