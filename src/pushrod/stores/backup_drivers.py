"""What is backed up of a store: its data as one stream, written, read back, and put in their place.

Each kind has its driver. None of them knows where the bytes go to or come from: that is the destination's business.
"""

from typing import Protocol

from pushrod.adapters import dumps
from pushrod.adapters.dumps import Rows
from pushrod.system.streams import Sink, Source


class Archive(Protocol):
    """One store of an app, as backups take it. Everything here may raise the error of its kind."""

    store: str
    suffix: str

    def version(self) -> str:
        """The version of the store's server."""

    def save(self, sink: Sink) -> Rows:
        """Write the data; the rows of each table, where there are tables. After an error what was written is void."""

    def check(self, source: Source) -> None:
        """Read what was written to its end; StoreError where it is damaged, or cut off."""

    def rehearse(self, source: Source) -> Rows | None:
        """Restore it somewhere beside, and count its rows; None where that cannot be done."""

    def restore(self, source: Source) -> str | None:
        """Put the data in place; where the data before are kept. None where it has to be done by hand."""


class Dumps:
    """A database of an app, by its copy."""

    def __init__(self, store: str, suffix: str, copy: dumps.Copy) -> None:
        self.store = store
        self.suffix = suffix
        self.version = copy.version
        self.save = copy.dump
        self.check = copy.check
        self.rehearse = copy.rehearse
        self._copy = copy

    def restore(self, source: Source) -> str:
        """Restore it beside the database, then exchange the two."""
        return f"database {self._copy.restore(source)}"
