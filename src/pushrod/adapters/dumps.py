"""A copy of an app's database on a server, for backups: dump, check, rehearse, restore."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

from pushrod.core.errors import StoreError
from pushrod.system.streams import Sink, Source

ANSWER = 4 << 20
"""Bytes that a store's server may answer to a question: its image is an app's own, and a short row of text takes 60
bytes of memory."""

Rows = dict[str, int]
"""The number of rows of each table, by its name."""


class Command(NamedTuple):
    """A database's program, as run on the machine or in a container; `where` is for errors."""

    argv: list[str]
    environment: Mapping[str, str]
    where: str


def difference(recorded: Rows, restored: Rows) -> str:
    """The first tables that differ, with their rows."""
    tables = sorted(t for t in {*recorded, *restored} if recorded.get(t) != restored.get(t))
    return ", ".join(
        f"{t} {restored.get(t, 'missing')} instead of {recorded.get(t, 'none')}" for t in tables[:3]
    )


class Copy(ABC):
    """An app's database. `_longest` is the maximum length of a database name."""

    _longest: int

    def __init__(self, database: str) -> None:
        self._database = database

    @abstractmethod
    def version(self) -> str:
        """The server's version."""

    @abstractmethod
    def dump(self, sink: Sink) -> Rows:
        """Write the database; returns the number of rows of each table in the dump. Raises StoreError if it fails."""

    @abstractmethod
    def check(self, dump: Source) -> None:
        """Read a dump to its end. Raises StoreError if it is damaged or incomplete."""

    @abstractmethod
    def restore(self, dump: Source, rows: Rows) -> str:
        """Replace the database by a dump with these rows; returns the name of the database in which the previous data
        is kept. Raises StoreError, and changes nothing, if the restored rows are others.
        """

    def rehearse(self, dump: Source) -> Rows:
        """Restore a dump into a database of its own, count the rows of its tables, and drop it again."""
        scratch = self._beside("verifying")
        try:
            self._load(dump, scratch)
            return self._count(scratch)
        finally:
            self._drop(scratch)

    def _prove(self, database: str, rows: Rows) -> None:
        """Drop a restored database, and raise StoreError, unless it has these rows."""
        restored = self._count(database)
        if restored != rows:
            self._drop(database)
            raise StoreError(
                f"the restored rows differ from the recorded ones: {difference(rows, restored)}",
                where=f"database {self._database}",
                hint="the database is unchanged; `pushrod db backups` lists other backups",
            )

    def _beside(self, purpose: str) -> str:
        """The name of a temporary database."""
        return f"{self._database[: self._longest - 1 - len(purpose)]}_{purpose}"

    @abstractmethod
    def _load(self, dump: Source, database: str) -> None:
        """Restore a dump into a new database."""

    @abstractmethod
    def _count(self, database: str) -> Rows:
        """The number of rows of each table."""

    @abstractmethod
    def _drop(self, database: str) -> None:
        """Drop a database, if it exists."""
