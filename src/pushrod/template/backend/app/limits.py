"""Limits on clients: the size of a body, and the rate of requests."""

import time
from typing import Any

import structlog
from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import Redis
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import problems
from app.problems import Problem

log = structlog.get_logger()

BODY = 64 * 1024  # bytes; no route accepts files


class BodyLimit:
    """Refuses a body of more than BODY bytes with 413, whether or not its length is declared.

    FastAPI's own `max_body_size` does too, but answers with plain text instead of a problem.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            return await self.app(scope, receive, send)
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > BODY:
            return await problems.response(413, f"a body has at most {BODY} bytes")(scope, receive, send)
        seen = 0

        async def receiving() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > BODY:
                raise HTTPException(413, f"a body has at most {BODY} bytes")
            return message

        return await self.app(scope, receiving, send)


class Rates:
    """How often `who` may do something, counted in Redis across all instances; the edge limits addresses.

    `limits` keeps the counts as a sliding window, with two keys for each `who`. While Redis is unavailable nothing
    is counted and everything is allowed: what needs Redis fails then anyway.
    """

    def __init__(self, redis: Redis, **per_minute: int) -> None:
        shared: Any = {"connection_pool": redis.connection_pool}
        storage = RedisStorage("redis://", implementation="redispy", **shared)
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._items = {
            name: RateLimitItemPerMinute(count, namespace=name) for name, count in per_minute.items()
        }

    async def spend(self, name: str, who: str) -> None:
        """Count one use. Raises Problem 429, with the time to retry after, if it exceeds the limit."""
        item = self._items[name]
        try:
            if await self._limiter.hit(item, who):
                return
            reset = (await self._limiter.get_window_stats(item, who)).reset_time
        except RedisError as error:
            log.warning("not counted, because Redis is unavailable", error=str(error))
            return
        seconds = max(1, round(reset - time.time()))
        raise Problem(429, f"too many requests; try again in {seconds} s", {"Retry-After": str(seconds)})
