"""Connections to PostgreSQL and Redis. Every wait has a time-out, in seconds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, TypeAlias

import asyncpg
import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

log = structlog.get_logger()

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

PATIENCE = (
    2.0  # how long a request waits for PostgreSQL to accept a connection before it is answered with 503
)
STATEMENT = 5.0  # time-out of one statement
TURN = 8.0  # how long a request waits while all connections are in use, as many buyers of one product may make it
POOL_SIZE = 10  # per process; PostgreSQL accepts 100 connections in all by default

# Errors while PostgreSQL is unavailable, starting, stopping or too slow: worth a retry, and not the app's fault.
POSTGRES_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # it stops or starts, or a statement exceeded STATEMENT
    asyncpg.InsufficientResourcesError,  # too many connections
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.InterfaceError,  # the connection broke during a statement
    OSError,
    TimeoutError,
)
REDIS_AWAY = (RedisConnectionError, RedisTimeoutError)


class _PatientPool(asyncpg.Pool):
    """asyncpg's pool, in which no request waits for a connection for longer than TURN."""

    def acquire(self, *, timeout: float | None = TURN) -> Any:
        """As asyncpg's; the time-out is set up only if all connections are in use."""
        return super().acquire(timeout=None if self.get_idle_size() else timeout)


@asynccontextmanager
async def open_postgres(url: str, size: int = POOL_SIZE) -> AsyncIterator[Pool]:
    """A pool that connects on first use, and again after PostgreSQL was unavailable.

    Single statements commit on their own; several that belong together need `connection.transaction()`.
    """
    pool = _PatientPool(
        url,
        connection_class=asyncpg.Connection,
        record_class=asyncpg.Record,
        loop=None,
        min_size=0,
        max_size=size,
        max_queries=50_000,
        max_inactive_connection_lifetime=300.0,
        timeout=PATIENCE,
        command_timeout=STATEMENT + 1,  # for a server that does not report its own time-out
        server_settings={
            "statement_timeout": str(int(STATEMENT * 1000)),
            "idle_in_transaction_session_timeout": "10000",
            "jit": "off",
        },
        reset=_leave_as_it_is,
    )
    async with pool:
        yield pool


async def _leave_as_it_is(_connection: object) -> None:
    """Replaces asyncpg's RESET ALL, a round trip for each use: nothing here changes a session."""


def open_redis(url: str, timeout: float = 0.5, size: int = 50) -> Redis:
    """A client to enter with `async with`. It retries once, for connections that died while idle."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=size,
        timeout=timeout,  # for a connection when all are in use
        socket_connect_timeout=timeout,
        socket_timeout=timeout,
        retry=Retry(NoBackoff(), 1),
    )
    return Redis.from_pool(pool)


class OptionalRedis:
    """A Redis that is useful but never required.

    After it has failed to answer, it is not asked for PAUSE seconds, so that one that hangs costs one time-out a
    second instead of one for each request.
    """

    PAUSE = 1.0

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._ask_again = 0.0

    async def execute(self, *command: str | bytes | int) -> Any:
        """The answer of Redis to one command. Raises RedisError if it is, or just was, unavailable."""
        if monotonic() < self._ask_again:
            raise RedisConnectionError("it has just failed to answer")
        try:
            return await self._redis.execute_command(*command)
        except RedisError as error:
            log.warning("Redis is unavailable; continuing without it", error=str(error))
            self._ask_again = monotonic() + self.PAUSE
            raise
