"""Saying what a program waits for while it runs."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

from pushrod.core.errors import PushrodError
from pushrod.system.signals import signals_held

_EVERY = 3.0  # seconds between two looks


@contextlib.contextmanager
def told(look: Callable[[], Sequence[str]], say: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, look every few seconds what holds it up, and say each thing that is found once."""
    ended = threading.Event()

    def watch() -> None:
        known: set[str] = set()
        while not ended.wait(_EVERY):
            with contextlib.suppress(PushrodError, OSError):
                for found in look():
                    who = found.partition(",")[0]  # what changes with time comes after
                    if who not in known and not ended.is_set():
                        say(found)
                    known.add(who)

    thread = threading.Thread(target=watch, daemon=True)
    with signals_held():
        thread.start()
    try:
        yield
    finally:
        ended.set()
