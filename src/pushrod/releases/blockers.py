"""Report what blocks a program while it runs."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

from pushrod.core.errors import PushrodError
from pushrod.system.signals import signals_held

_EVERY = 3.0  # seconds between two checks


@contextlib.contextmanager
def reported(current_blockers: Callable[[], Sequence[str]], report: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, call `current_blockers` every few seconds and report each blocking session once.

    A blocker's text begins with the session, followed by a comma and details.
    """
    ended = threading.Event()

    def watch() -> None:
        known: set[str] = set()
        while not ended.wait(_EVERY):
            with contextlib.suppress(PushrodError, OSError):
                for blocker in current_blockers():
                    session = blocker.partition(",")[0]  # the details change with time
                    if session not in known and not ended.is_set():
                        report(blocker)
                    known.add(session)

    thread = threading.Thread(target=watch, daemon=True)
    with signals_held():
        thread.start()
    try:
        yield
    finally:
        ended.set()
