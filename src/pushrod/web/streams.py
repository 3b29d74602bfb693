"""What a page receives while it is open, as server-sent events: steps of a command, output of a run, log lines."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec

from pushrod.core.printable import plain
from pushrod.core.values import Line
from pushrod.state import transcript
from pushrod.state.apps import App
from pushrod.web import loglines
from pushrod.web.runs import Run

LONGEST = 3600.0
"""Seconds after which a stream ends; the browser opens it again."""

_LOOK = 0.3  # seconds between two looks at a file
_ALIVE = 5.0  # seconds between two signs of life; the session is checked as often


class Limit:
    """How many streams a member may have open."""

    def __init__(self, most: int = 8) -> None:
        self.most = most
        self._open: dict[str, int] = {}

    def full(self, name: str) -> bool:
        """Whether a member has no place left."""
        return self._open.get(name, 0) >= self.most

    @contextlib.contextmanager
    def one(self, name: str) -> Iterator[None]:
        """Hold one of a member's places."""
        self._open[name] = self._open.get(name, 0) + 1
        try:
            yield
        finally:
            self._open[name] -= 1


def event(name: str, value: Any, mark: str = "") -> str:
    """One event. Its value is JSON on one line, so no text can end it or begin another."""
    lead = f"id: {mark}\n" if mark else ""
    return f"{lead}event: {name}\ndata: {msgspec.json.encode(value).decode()}\n\n"


async def command(app: App, mark: str) -> AsyncIterator[str]:
    """What the app's commands show from a mark on; a new command begins with `restart`."""
    began, offset = position(app) if not mark else _parsed(mark)
    while True:
        current, size = position(app)
        if current != began:
            began, offset = current, 0
            yield event("restart", None, f"{began}-0")
        if size > offset:
            events, offset = transcript.read(app, offset)
            for one in events:
                shown = {"kind": one.kind, "step": plain(one.step), "text": plain(one.text), "took": one.took}
                yield event("shown", shown, f"{began}-{offset}")
        yield ""
        await asyncio.sleep(_LOOK)


def position(app: App) -> tuple[int, int]:
    """Which command of an app is shown, and how much of it."""
    return transcript.position(app)


def _parsed(mark: str) -> tuple[int, int]:
    began, _, offset = mark.partition("-")
    valid = began.isdecimal() and offset.isdecimal() and len(mark) < 48
    return (int(began), int(offset)) if valid else (0, 0)


async def output(run: Run, mark: str) -> AsyncIterator[str]:
    """The lines of a run from a count on; `end` when it has ended."""
    shown = int(mark) if mark.isdecimal() and len(mark) < 10 else 0
    while True:
        ended = run.status is not None
        for line in run.since(shown):
            shown += 1
            yield event("line", {"src": "", "text": plain(line), "level": ""}, str(shown))
        if ended:
            yield event("end", run.result)
            return
        yield ""
        await asyncio.sleep(_LOOK)


async def log(lines: AsyncIterator[str], which: loglines.Filter) -> AsyncIterator[str]:
    """Log lines as `pushrod logs --follow --json` prints them, those that match."""
    async for text in lines:
        for one in loglines.selected(loglines.parse(text), which):
            yield _line(one)
    yield event("end", "ended")


def _line(one: loglines.Shown | Line) -> str:
    level = one.level if isinstance(one, loglines.Shown) else ""
    return event("line", {"src": plain(one.process), "text": plain(one.text), "level": level})


async def alive(
    events: AsyncIterator[str], valid: Callable[[], bool], stays: Callable[[], bool] = lambda: True
) -> AsyncIterator[str]:
    """The events, with signs of life in between; ends when the session does, after LONGEST seconds, or when it no
    longer `stays`: then the browser opens it again.
    """
    started = spoke = time.monotonic()
    queue: asyncio.Queue[str | None] = asyncio.Queue(1000)

    async def pump() -> None:
        try:
            async for one in events:
                if one:
                    await queue.put(one)
        finally:
            await queue.put(None)

    task = asyncio.create_task(pump())
    try:
        yield "retry: 2000\n\n"
        while time.monotonic() - started < LONGEST and stays():
            if time.monotonic() - spoke > _ALIVE:
                spoke = time.monotonic()
                if not valid():
                    yield event("end", "logged out")
                    return
                yield ": \n\n"
            try:
                one = await asyncio.wait_for(queue.get(), _ALIVE / 3)
            except TimeoutError:
                continue
            if one is None:
                return
            yield one
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
