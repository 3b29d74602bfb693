"""Where backups are kept. There is one kind of destination: a directory on this machine.

A backup consists of files, which are streamed, and a record, which is written last. A backup that is listed is
complete.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO, Protocol, TypeVar

import msgspec

from pushrod.core.errors import StoreError
from pushrod.core.patterns import lazy
from pushrod.core.values import Value
from pushrod.state.records import read_json
from pushrod.system import files
from pushrod.system.streams import Measured, Source

Record = TypeVar("Record", bound=Value)
"""What a backup's record says; `catalogue.Backup`."""

FileName = Annotated[str, msgspec.Meta(pattern=r"\A[^/.][^/]*\Z")]
"""The name of a file in a record, never a path: a record may have come back from a vault."""

RECORD = "backup.json"
_NAME = lazy(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ")
_WORK = ".new"
_LOOK = 16 << 20  # bytes between two checks of the free space

SPARE = 256 << 20
"""Bytes of its disk that a backup leaves to databases and logs."""


class Draft(Protocol):
    """A backup that is being written, not yet visible."""

    def write(self, file: str) -> contextlib.AbstractContextManager[Measured]:
        """Write a new file, which is complete and durable when the block ends. Raises StoreError if that fails."""

    def read(self, file: str) -> contextlib.AbstractContextManager[Source]:
        """Read back a file from its beginning."""

    def finish(self, name: str, record: bytes) -> None:
        """Complete the backup under this name, which makes it visible."""


class Destination(Protocol):
    """Keeps the backups of one app."""

    def names(self) -> list[str]:
        """The names of all backups, newest first."""

    def taken(self, name: str) -> bool:
        """Whether a name is in use, even by an incomplete backup."""

    def record(self, name: str, shape: type[Record]) -> Record:
        """A backup's record. Raises StateError if it is missing or damaged."""

    def where(self, name: str, file: str) -> str:
        """The location of a backup's file, for messages."""

    def read(self, name: str, file: str) -> contextlib.AbstractContextManager[Source]:
        """Read a backup's file from its beginning. Raises FileNotFoundError if it is missing."""

    def begin(self) -> contextlib.AbstractContextManager[Draft]:
        """Begin a backup. If the block ends without `finish`, nothing of it remains."""

    def remove(self, name: str) -> None:
        """Remove a backup. It disappears from `names` first, so an interruption leaves no partial backup."""


class Directory:
    """A directory that only its owner may enter, with a subdirectory for each backup. While a backup is written or
    removed, its subdirectory has another name."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """As `Destination.names`: the subdirectories with a record."""
        if not self.path.is_dir():
            return []
        names = [d.name for d in self.path.iterdir() if _NAME.fullmatch(d.name) and (d / RECORD).exists()]
        return sorted(names, reverse=True)

    def taken(self, name: str) -> bool:
        """As `Destination.taken`."""
        return (self.path / name).exists()

    def record(self, name: str, shape: type[Record]) -> Record:
        """As `Destination.record`."""
        hint = "remove that directory, and take another backup"
        return read_json(self.path / name / RECORD, shape, restore=hint)

    def where(self, name: str, file: str) -> str:
        """As `Destination.where`: its path."""
        return str(self.path / name / file)

    def read(self, name: str, file: str) -> BinaryIO:
        """As `Destination.read`."""
        return (self.path / name / file).open("rb")

    @contextlib.contextmanager
    def begin(self) -> Iterator[Draft]:
        """As `Destination.begin`; removes the remains of an interrupted one first."""
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


class Spared:
    """A sink that leaves some of its disk free, because a store's own image decides how much it sends."""

    def __init__(self, out: BinaryIO, place: Path, spare: int = SPARE) -> None:
        self._out = out
        self._place = place
        self._spare = spare
        self._unseen = 0

    def write(self, block: bytes) -> None:
        """Pass a block on. Raises OSError where the disk is about to be full."""
        self._unseen += len(block)
        if self._unseen > _LOOK:
            self._unseen = 0
            if files.free_space(self._place) < self._spare:
                raise OSError(
                    errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: its last {self._spare // 10**6} MB stay free"
                )
        self._out.write(block)


class _Draft:
    def __init__(self, work: Path) -> None:
        self._work = work

    @contextlib.contextmanager
    def write(self, file: str) -> Iterator[Measured]:
        try:
            with (self._work / file).open("xb") as out:
                os.fchmod(out.fileno(), 0o600)
                yield Measured(Spared(out, self._work))
                out.flush()
                os.fsync(out.fileno())
        except OSError as e:
            cause = files.os_error(e, str(self._work / file))
            raise StoreError(
                f"the backup cannot be written: {cause.what}", where=cause.where, hint=cause.hint
            ) from e

    def read(self, file: str) -> BinaryIO:
        return (self._work / file).open("rb")

    def finish(self, name: str, record: bytes) -> None:
        files.write(self._work / RECORD, record, mode=0o600)
        self._work.rename(self._work.with_name(name))
        files.sync_directory(self._work.parent)
