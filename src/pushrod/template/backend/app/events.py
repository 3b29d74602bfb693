"""Events for browsers, as server-sent events: each user has a stream in the durable Redis.

The stream is authoritative: any instance can send what follows the last event a browser has seen, even after a
deployment. Pub/sub only wakes the instances, so that they need not poll.
"""

import asyncio
import re
import signal
import threading
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import FrameType
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Header, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.problems import RESPONSES
from app.visitors import User, sessions

log = structlog.get_logger()

KEPT = 1000  # events of a user, approximately; a browser that missed more reloads the orders
LIFE = 7 * 24 * 3600  # seconds that a stream stays after its last event
ONCE = 3600  # seconds during which a repeated event is recognised
HEARTBEAT = 15.0  # seconds between two checks whether the session is over
RECONNECT = 1000  # milliseconds after which a browser reconnects

_PUBLISH = """if redis.call('SET', KEYS[2], 1, 'NX', 'EX', ARGV[4]) then
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'event', ARGV[1], 'data', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('PUBLISH', KEYS[1], '')
end"""
_ID = re.compile(r"[0-9]{1,18}-[0-9]{1,18}")


async def publish(redis: Redis, id: int, user_id: int, event: str, data: str) -> None:
    """Append an event to its user's stream, once for each `id`."""
    keys = (stream(user_id), f"event:{id}")
    await redis.eval(_PUBLISH, 2, *keys, event, data, KEPT, ONCE, LIFE)


def stream(user_id: int) -> str:
    """The stream's key, which is also the name of the channel."""
    return f"events:{user_id}"


class Hub:
    """Wakes this instance's listeners, with one connection for all of them."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._listeners: dict[bytes, set[asyncio.Event]] = defaultdict(set)
        self.stopping = False

    @asynccontextmanager
    async def listener(self, user_id: int) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever there may be something new for that user, and at the end."""
        name, event = stream(user_id).encode(), asyncio.Event()
        self._listeners[name].add(event)
        try:
            yield event
        finally:
            self._listeners[name].discard(event)
            if not self._listeners[name]:
                del self._listeners[name]

    async def run(self) -> None:
        """Run until cancelled. When Redis disconnects or returns, all listeners check for what they missed, or for
        the end."""
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.psubscribe("events:*")
                    self.wake_all()
                    while True:
                        message: Any = await channel.get_message(timeout=5.0)
                        for event in self._listeners.get(message["channel"], ()) if message else ():
                            event.set()
            except RedisError as error:
                log.warning("events wait for Redis", error=str(error))
                self.wake_all()
                await asyncio.sleep(1)

    def wake_all(self) -> None:
        """Wake every listener."""
        for events in self._listeners.values():
            for event in events:
                event.set()

    def stop(self) -> None:
        """End every open response: the browsers reconnect to the release that is live then."""
        self.stopping = True
        self.wake_all()


@asynccontextmanager
async def open_hub(redis: Redis) -> AsyncIterator[Hub]:
    """A running hub. It handles SIGTERM itself, because uvicorn waits for open responses before it ends the
    lifespan."""
    hub = Hub(redis)
    loop = asyncio.get_running_loop()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            _before(number, lambda: loop.call_soon_threadsafe(hub.stop))
    running = asyncio.create_task(hub.run())
    try:
        yield hub
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def _before(number: int, act: Any) -> None:
    """Run `act` on a signal, before its existing handler."""
    then = signal.getsignal(number)

    def handler(number: int, frame: FrameType | None) -> None:
        act()
        if callable(then):
            then(number, frame)

    signal.signal(number, handler)


router = APIRouter(prefix="/api/events", tags=["orders"], responses=RESPONSES)

LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", description="as the browser sends it")]


@router.get("", response_class=EventSourceResponse)
async def get_events(
    request: Request, user: User, last: LastEventId = None
) -> AsyncIterator[ServerSentEvent]:
    """The user's events from now on; with Last-Event-ID, all events after that one."""
    hub: Hub = request.app.state.hub
    redis: Redis = request.app.state.redis
    user_id = user.user_id or 0
    async with hub.listener(user_id) as news:
        if last is None or not _ID.fullmatch(last):
            newest: Any = await redis.xrevrange(stream(user_id), count=1)
            last = newest[0][0].decode() if newest else "0-0"
        # Without data it is no event, but it sets the id from which the browser resumes.
        yield ServerSentEvent(id=last, retry=RECONNECT, comment="from here on")
        try:
            while not hub.stopping:
                news.clear()
                messages: Any = await redis.xrange(stream(user_id), min=f"({last}", count=100)
                for id, fields in messages:
                    last = id.decode()
                    name, data = fields[b"event"].decode(), fields[b"data"].decode()
                    yield ServerSentEvent(id=last, event=name, raw_data=data)
                if messages:
                    continue
                with suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), HEARTBEAT)
                if not news.is_set() and not await sessions(request).lives(user):
                    return
        except RedisError:
            return  # the browser reconnects
