"""Backups of a store's data as one stream: written, read back, and restored.

Each kind of store has its driver. Drivers do not know where the bytes go to or come from; that is the destination's
concern.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from pushrod.adapters import dumps, logs
from pushrod.adapters.dumps import Rows
from pushrod.system.streams import Sink, Source


class Archive(Protocol):
    """One store of an app, as backups take it. Every method may raise the error of its kind."""

    store: str
    suffix: str

    @property
    def logged(self) -> "Logged | None":
        """How it is recovered to a point in time; None if it cannot be."""

    def version(self) -> str:
        """The version of the store's server."""

    def save(self, sink: Sink) -> Rows:
        """Write the data; returns the rows of each table, if there are tables. After an error, the written data is
        invalid.
        """

    def check(self, source: Source) -> None:
        """Read a backup to its end. Raises StoreError if it is damaged or incomplete."""

    def rehearse(self, source: Source) -> Rows:
        """Restore it beside the live data and count its rows."""

    def restore(self, source: Source, rows: Rows) -> str:
        """Replace the live data, if what is restored has these rows; returns where the previous data is kept."""


class Dumps:
    """An app's database, through its `Copy`."""

    def __init__(self, store: str, suffix: str, copy: dumps.Copy, logged: "Logged | None" = None) -> None:
        self.store = store
        self.suffix = suffix
        self.logged = logged
        self.version = copy.version
        self.save = copy.dump
        self.check = copy.check
        self.rehearse = copy.rehearse
        self._copy = copy

    def restore(self, source: Source, rows: Rows) -> str:
        """Restore it beside the database, count its rows, then swap the two."""
        return f"database {self._copy.restore(source, rows)}"


class Logged(Protocol):
    """One store of an app that can be recovered to a point in time, from base backups and its log."""

    store: str
    log: logs.Log

    def recovered(
        self, base: Path, log: Iterable[tuple[str, Path]], until: str
    ) -> AbstractContextManager[Archive]:
        """The store as of the time `until` (ISO 8601; empty: the end of the log), recovered beside the running one,
        and removed again. `log` are the segments by their names.

        Raises `logs.TooShort` if no transaction follows that time, StoreError if the store cannot recover, or not to
        the end of the log.
        """

    def add(self, source: Source, rows: Rows, name: str) -> None:
        """Restore what `recovered` has saved as another database of the running store."""
