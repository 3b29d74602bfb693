"""Sessions in the durable Redis: who a visitor is, and what they carry.

A small implementation of our own: what libraries offer (starsessions was evaluated) is loaded by a middleware for
every request, stores the session's id in clear, and does not know a user's other sessions. Here a session is a hash
under the digest of its id, so that access to Redis does not allow impersonation; each user has an index of their
sessions.
"""

import hashlib
import secrets
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, cast

from fastapi import Response
from redis.asyncio import Redis

ANONYMOUS_SECONDS = 24 * 3600  # without a request; for a logged-in user it is Settings.session_seconds
LONGEST = 30 * 24 * 3600  # seconds after which a login expires despite activity


@dataclass(frozen=True)
class Session:
    """A visitor's session. `user_id` and `email` are None until they log in."""

    key: str
    csrf: str
    user_id: int | None = None
    email: str | None = None


class Sessions:
    """All sessions. Every method raises RedisError if Redis is unavailable."""

    def __init__(self, redis: Redis, seconds: int) -> None:
        self._redis = redis
        self._seconds = seconds

    async def find(self, id: str) -> Session | None:
        """The session with that id, whose life is extended."""
        key = _key(id)
        fields = await _answer(self._redis.hgetall(key))
        if not fields:
            return None
        user_id = int(fields[b"user_id"]) if b"user_id" in fields else None
        if user_id is not None and time.time() - float(fields[b"since"]) > LONGEST:
            await self._redis.delete(key)
            return None
        await self._redis.expire(key, self._life(user_id))
        return Session(key, fields[b"csrf"].decode(), user_id, fields.get(b"email", b"").decode() or None)

    async def begin(self) -> tuple[Session, str]:
        """A new anonymous session, and its id."""
        return await self._create(None, None, None)

    async def log_in(self, old: Session | None, user_id: int, email: str) -> tuple[Session, str]:
        """A new session with a new id, against session fixation; it takes over what the old one carries."""
        basket = await self.basket(old) if old else None
        session, id = await self._create(user_id, email, basket)
        if old:
            await self.end(old)
        return session, id

    async def end(self, session: Session) -> None:
        """End this session."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.delete(session.key)
            if session.user_id is not None:
                pipeline.zrem(_index(session.user_id), session.key)
            await pipeline.execute()

    async def end_all(self, user_id: int) -> None:
        """End all sessions of a user, on every device."""
        keys = await _answer(self._redis.zrange(_index(user_id), 0, -1))
        if keys:
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.delete(*keys)
                pipeline.zrem(_index(user_id), *keys)
                await pipeline.execute()

    async def lives(self, session: Session) -> bool:
        """Whether the session still exists."""
        return bool(await self._redis.exists(session.key))

    async def basket(self, session: Session) -> bytes | None:
        """The stored basket, if any."""
        return cast(bytes | None, await _answer(self._redis.hget(session.key, "basket")))

    async def put_basket(self, session: Session, basket: bytes) -> None:
        """Store the basket, unless the session has just ended."""
        await _answer(self._redis.eval(_PUT, 1, session.key, "basket", basket))

    async def _create(
        self, user_id: int | None, email: str | None, basket: bytes | None
    ) -> tuple[Session, str]:
        id = secrets.token_urlsafe(32)
        session = Session(_key(id), secrets.token_urlsafe(32), user_id, email)
        now = time.time()
        values: dict[Any, Any] = {"csrf": session.csrf, "since": now}
        values |= {} if user_id is None else {"user_id": user_id, "email": email}
        values |= {} if basket is None else {"basket": basket}
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hset(session.key, mapping=values)
            pipeline.expire(session.key, self._life(user_id))
            if user_id is not None:
                pipeline.zadd(_index(user_id), {session.key: now})
                pipeline.zremrangebyscore(_index(user_id), 0, now - LONGEST)
                pipeline.expire(_index(user_id), LONGEST)
            await pipeline.execute()
        return session, id

    def _life(self, user_id: int | None) -> int:
        return min(ANONYMOUS_SECONDS, self._seconds) if user_id is None else self._seconds


_PUT = "if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end"


def _key(id: str) -> str:
    return f"session:{hashlib.sha256(id.encode()).hexdigest()}"


def _index(user_id: int) -> str:
    return f"sessions-of:{user_id}"


async def _answer(question: Awaitable[Any] | Any) -> Any:
    return await question


# ---- the cookie -------------------------------------------------------------------------------------------------


def cookie(scheme: str) -> str:
    """The cookie's name. Browsers accept `__Host-` only from this very host, over TLS, for all paths."""
    return "__Host-session" if scheme == "https" else "session"


def set_cookie(response: Response, scheme: str, id: str) -> None:
    """Set the session cookie; the browser drops it when it closes."""
    response.set_cookie(cookie(scheme), id, path="/", secure=scheme == "https", httponly=True, samesite="lax")


def clear_cookie(response: Response, scheme: str) -> None:
    """Make the browser drop the cookie."""
    response.delete_cookie(cookie(scheme), path="/", secure=scheme == "https", httponly=True, samesite="lax")
