"""The steps of a promotion: each is timed, reported as progress, and recorded in the journal."""

import contextlib
import time
from collections.abc import Iterator

from pushrod.core.errors import PushrodError, Stopped
from pushrod.core.progress import Progress
from pushrod.state.journal import Journal

FAILURES = (PushrodError, OSError, KeyboardInterrupt, Stopped)
"""Exceptions that end a step, and after which the promotion is undone."""


class Step:
    """A running step; `detail` can be made more precise while it runs."""

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
        """Run the block as a step; with `release`, record its time in the journal."""
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
