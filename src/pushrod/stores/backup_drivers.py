"""Backups of a store's data as one stream: written, read back, and restored.

Each kind of store has its driver. Drivers do not know where the bytes go to or come from; that is the destination's
concern.
"""

from typing import Protocol

from pushrod.adapters import dumps
from pushrod.adapters.dumps import Rows
from pushrod.system.streams import Sink, Source


class Archive(Protocol):
    """One store of an app, as backups take it. Every method may raise the error of its kind."""

    store: str
    suffix: str

    def version(self) -> str:
        """The version of the store's server."""

    def save(self, sink: Sink) -> Rows:
        """Write the data; returns the rows of each table, if there are tables. After an error, the written data is
        invalid.
        """

    def check(self, source: Source) -> None:
        """Read a backup to its end. Raises StoreError if it is damaged or incomplete."""

    def rehearse(self, source: Source) -> Rows | None:
        """Restore it beside the live data and count its rows; None if that is not possible."""

    def restore(self, source: Source) -> str | None:
        """Replace the live data; returns where the previous data is kept. None if that must be done by hand."""


class Dumps:
    """An app's database, through its `Copy`."""

    def __init__(self, store: str, suffix: str, copy: dumps.Copy) -> None:
        self.store = store
        self.suffix = suffix
        self.version = copy.version
        self.save = copy.dump
        self.check = copy.check
        self.rehearse = copy.rehearse
        self._copy = copy

    def restore(self, source: Source) -> str:
        """Restore it beside the database, then swap the two."""
        return f"database {self._copy.restore(source)}"
