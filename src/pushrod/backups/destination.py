"""Where backups are kept. There is one kind of place: a directory of this machine.

A backup is files, which are streamed, and a record, which is written last. It is there once it is whole.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from pushrod.core.errors import StoreError
from pushrod.system import files
from pushrod.system.streams import Measured, Source

RECORD = "backup.json"
_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ")
_WORK = ".new"


class Draft(Protocol):
    """A backup that is being written: nobody else sees it."""

    def write(self, file: str) -> contextlib.AbstractContextManager[Measured]:
        """A new file, whole and safe once the block has ended. StoreError where it cannot be written."""

    def read(self, file: str) -> contextlib.AbstractContextManager[Source]:
        """What was written into a file, from its beginning."""

    def finish(self, name: str, record: bytes) -> None:
        """Make it a backup of this name: from now on it is there."""


class Destination(Protocol):
    """A place for the backups of one app."""

    def names(self) -> list[str]:
        """Those that are there, newest first."""

    def taken(self, name: str) -> bool:
        """Whether a new one cannot have this name."""

    def record(self, name: str) -> Path:
        """The record of one, which may be damaged."""

    def where(self, name: str, file: str) -> str:
        """A file of one, as people are told of it."""

    def read(self, name: str, file: str) -> contextlib.AbstractContextManager[Source]:
        """A file of one, from its beginning. FileNotFoundError where it is gone."""

    def begin(self) -> contextlib.AbstractContextManager[Draft]:
        """A new one. Where the block ends without `finish`, nothing is left of it."""

    def remove(self, name: str) -> None:
        """Remove one. If that is interrupted, it is not there any more."""


class Directory:
    """A directory that only its owner may enter, with a directory for each backup: under another name while it is
    written and while it is removed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """As `Destination.names`: what has a record."""
        if not self.path.is_dir():
            return []
        found = [d.name for d in self.path.iterdir() if _NAME.fullmatch(d.name) and (d / RECORD).exists()]
        return sorted(found, reverse=True)

    def taken(self, name: str) -> bool:
        """As `Destination.taken`: also by what has no record."""
        return (self.path / name).exists()

    def record(self, name: str) -> Path:
        """As `Destination.record`."""
        return self.path / name / RECORD

    def where(self, name: str, file: str) -> str:
        """Its path."""
        return str(self.path / name / file)

    def read(self, name: str, file: str) -> BinaryIO:
        """As `Destination.read`."""
        return (self.path / name / file).open("rb")

    @contextlib.contextmanager
    def begin(self) -> Iterator[Draft]:
        """As `Destination.begin`; what an earlier one has left is removed first."""
        files.make_private(self.path)
        for leftover in self.path.glob(".*"):
            files.remove_tree(leftover)
        work = files.make_private(self.path / _WORK)
        try:
            yield _Draft(work)
        finally:
            files.remove_tree(work)

    def remove(self, name: str) -> None:
        """As `Destination.remove`."""
        gone = self.path / f".{name}"
        (self.path / name).rename(gone)
        files.remove_tree(gone)


class _Draft:
    def __init__(self, work: Path) -> None:
        self._work = work

    @contextlib.contextmanager
    def write(self, file: str) -> Iterator[Measured]:
        try:
            with (self._work / file).open("xb") as out:
                os.fchmod(out.fileno(), 0o600)
                yield Measured(out)
                out.flush()
                os.fsync(out.fileno())
        except OSError as e:
            found = files.os_error(e, str(self._work / file))
            raise StoreError(
                f"the backup cannot be written: {found.what}", where=found.where, hint=found.hint
            ) from e

    def read(self, file: str) -> BinaryIO:
        return (self._work / file).open("rb")

    def finish(self, name: str, record: bytes) -> None:
        files.write(self._work / RECORD, record, mode=0o600)
        self._work.rename(self._work.with_name(name))
        files.sync_directory(self._work.parent)
