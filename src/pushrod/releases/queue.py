"""One command at a time works on an app. Others wait for the app's lock, and only a few may wait."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from pushrod.core.errors import BusyError
from pushrod.state.apps import App
from pushrod.system import locks

LOCK_TIMEOUT = 1800.0  # seconds a push waits for the one before it

MOST_WAITING = 4
"""Commands that may wait for one app at the same time: each uses memory and processes that all apps share."""


@contextlib.contextmanager
def turn(app: App, purpose: str, timeout: float, note: Callable[[str], None]) -> Iterator[None]:
    """Hold the app's lock; while waiting, call `note` with the reason.

    Raises BusyError if another command holds it for `timeout` seconds, or if too many commands already wait.
    """

    def waiting(holder: str) -> None:
        _wait_in(place, app)
        note(f"waiting: another command is {holder}")

    place = contextlib.ExitStack()
    with place, locks.lock(app.lock, purpose=purpose, timeout=timeout, on_wait=waiting):
        place.close()
        yield


def waiting(app: App) -> int:
    """How many commands wait for an app."""
    return sum(locks.locked(path) for path in _places(app))


def _places(app: App) -> list[Path]:
    return [app.root.runtime / f"waiting-{app.name}-{n}" for n in range(MOST_WAITING)]


def _wait_in(place: contextlib.ExitStack, app: App) -> None:
    """Take one of the few places in the app's queue. Raises BusyError if none is free."""
    for path in _places(app):
        with contextlib.suppress(BusyError):
            place.enter_context(locks.lock(path, purpose="waiting", timeout=0))
            return
    raise BusyError(
        f"{MOST_WAITING} other commands wait for {app.name} already",
        where=f"app {app.name}",
        hint="run it again when they have finished",
    )
