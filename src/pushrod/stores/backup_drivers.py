"""What is backed up of a store: its data as one file, written, read back, and put in their place."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pushrod.adapters import redis
from pushrod.adapters.postgres import Copy

Rows = dict[str, int]


class Archive(Protocol):
    """One store of an app, as backups take it. Everything here may raise the error of its kind."""

    store: str
    suffix: str

    def version(self) -> str:
        """The version of the store's server."""

    def save(self, file: Path) -> Rows:
        """Write the data into a new file; the rows of each table, where there are tables."""

    def check(self, file: Path) -> None:
        """Read a file to its end; StoreError where it is damaged, or cut off."""

    def rehearse(self, file: Path) -> Rows | None:
        """Restore a file somewhere beside, and count its rows; None where that cannot be done."""

    def restore(self, file: Path) -> str | None:
        """Put the data of a file in place; where the data before are kept. None where it has to be done by hand."""


class PostgresArchive:
    """The app's database in a PostgreSQL."""

    suffix = "dump"

    def __init__(self, store: str, copy: Copy) -> None:
        self.store = store
        self._copy = copy

    def version(self) -> str:
        """The server's version."""
        return self._copy.version()

    def save(self, file: Path) -> Rows:
        """A dump in pg_dump's custom format, of one snapshot."""
        return self._copy.dump(file)

    def check(self, file: Path) -> None:
        """Have pg_restore read all of it."""
        self._copy.check(file)

    def rehearse(self, file: Path) -> Rows | None:
        """Restore it into a database of its own."""
        return self._copy.rehearse(file)

    def restore(self, file: Path) -> str | None:
        """Restore it beside the database, then swap the names."""
        return f"database {self._copy.restore(file)}"


class RedisArchive:
    """All of a Redis or Valkey; `snapshot` writes its RDB file."""

    suffix = "rdb"

    def __init__(self, store: str, version: Callable[[], str], snapshot: Callable[[Path], None]) -> None:
        self.store = store
        self.version = version
        self._snapshot = snapshot

    def save(self, file: Path) -> Rows:
        """A snapshot as the server itself writes it."""
        self._snapshot(file)
        return {}

    def check(self, file: Path) -> None:
        """See that it begins and ends as such a file does."""
        redis.check_snapshot(file)

    def rehearse(self, file: Path) -> Rows | None:
        """Not done: only a server of the same version could."""
        return None

    def restore(self, file: Path) -> str | None:
        """Not done: how a Redis keeps its data is the manifest's business."""
        return None
