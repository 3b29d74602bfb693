"""Locks across processes, and the fencing token that makes them safe.

A lock in Redis needs a time-out, or a holder that dies would keep it for ever. So a holder that is paused for
longer (by garbage collection, by a suspended host) continues as if it still held the lock, together with the next
holder. Redis cannot prevent that, but the store being written can: each holder has a higher token than the one
before, and PostgreSQL refuses a write whose token is lower than one it has seen. redis-py's own lock has no such
token.
"""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from redis.asyncio import Redis

from app.stores import Connection, Pool

# The token never falls below what PostgreSQL has seen, even if Redis has lost its count.
_ACQUIRE = """if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
local token = math.max(tonumber(redis.call('GET', KEYS[2]) or '0'), tonumber(ARGV[3])) + 1
redis.call('SET', KEYS[2], string.format('%d', token))
return token"""
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


class Lock(NamedTuple):
    """A lock that is held, with its token."""

    name: str
    token: int
    secret: str


class SupersededError(Exception):
    """Another holder has acquired the lock since, and has written."""


class Locks:
    """Locks by name. Every method raises RedisError if Redis is unavailable."""

    def __init__(self, redis: Redis, pool: Pool) -> None:
        self._redis = redis
        self._pool = pool

    async def acquire(self, name: str, seconds: float) -> Lock | None:
        """The lock, for `seconds`; None if it is held by another."""
        seen = await self._pool.fetchval("SELECT token FROM fences WHERE name = $1", name) or 0
        secret = secrets.token_hex(16)
        answer: Any = self._redis.eval(
            _ACQUIRE, 2, f"lock:{name}", f"token:{name}", secret, int(seconds * 1000), seen
        )
        token = int(await answer)
        return Lock(name, token, secret) if token else None

    async def release(self, lock: Lock) -> None:
        """Release the lock, unless another holder has it by now."""
        answer: Any = self._redis.eval(_RELEASE, 1, f"lock:{lock.name}", lock.secret)
        await answer

    @asynccontextmanager
    async def hold(self, name: str, seconds: float) -> AsyncIterator[Lock | None]:
        """Hold the lock during the block, for `seconds` at most; yields None if it is held by another."""
        lock = await self.acquire(name, seconds)
        try:
            yield lock
        finally:
            if lock is not None:
                await self.release(lock)


async def fence(connection: Connection, lock: Lock) -> None:
    """Let this transaction write only if no later holder of the lock has written.

    Blocks other holders' transactions until it ends. Raises SupersededError.
    """
    sql = """INSERT INTO fences (name, token) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET token = excluded.token WHERE fences.token <= excluded.token
             RETURNING token"""
    if await connection.fetchval(sql, lock.name, lock.token) is None:
        raise SupersededError(f"{lock.name}: a later holder than {lock.token} has written")
