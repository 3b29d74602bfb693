"""The steps of a promotion: each is timed, told to whoever watches, and recorded in the journal."""

import contextlib
import time
from collections.abc import Iterator

from pushrod.core.errors import PushrodError
from pushrod.core.progress import Progress
from pushrod.state.journal import Journal

FAILURES = (PushrodError, OSError, KeyboardInterrupt)
"""What a step may fail with, and what is undone because of it."""


class Step:
    """A step under way; `detail` can be made more exact while it runs."""

    def __init__(self, detail: str) -> None:
        self.detail = detail
        self.migrated = False


class Steps:
    """Runs steps one after the other."""

    def __init__(self, progress: Progress, journal: Journal) -> None:
        self._progress = progress
        self._journal = journal

    @contextlib.contextmanager
    def step(self, name: str, detail: str, release: int = 0) -> Iterator[Step]:
        """Run the block as a step; with `release`, put its time into the journal."""
        step = Step(detail)
        started = time.monotonic()
        self._progress.begin(name, detail)
        try:
            yield step
        except FAILURES:
            self._progress.fail(name, time.monotonic() - started)
            raise
        took = time.monotonic() - started
        if release:
            self._journal.append("step", release, step=name, took=round(took, 3), migrated=step.migrated)
        self._progress.end(name, step.detail, took)
