"""How many commands may wait for one app."""

import contextlib

import pytest

from pushrod.core.errors import BusyError
from pushrod.releases import queue
from pushrod.state.apps import App
from pushrod.system import locks


def test_the_number_of_waiting_commands_is_limited(app: App) -> None:
    with contextlib.ExitStack() as others:
        others.enter_context(locks.lock(app.lock, purpose="deploying", timeout=0))
        for n in range(queue.MOST_WAITING):
            place = app.root.runtime / f"waiting-{app.name}-{n}"
            others.enter_context(locks.lock(place, purpose="waiting", timeout=0))
        turn = queue.turn(app, "testing", queue.LOCK_TIMEOUT, print)
        with pytest.raises(BusyError, match="4 other commands wait for shop already"), turn:
            raise AssertionError("it waits")
