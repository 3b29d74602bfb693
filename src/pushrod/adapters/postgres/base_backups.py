"""What a base backup says about itself."""

import re
import tarfile
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pushrod.core.errors import StoreError
from pushrod.core.patterns import lazy

SETTINGS = "postgresql.auto.conf"
"""The file of settings that comes after every other one (PostgreSQL's manual, 19.1.2)."""

_LABEL = "backup_label"
_START = lazy(r"^START WAL LOCATION: ([0-9A-F]{1,8})/([0-9A-F]{1,8})", re.MULTILINE)
_TIMELINE = lazy(r"^START TIMELINE: ([0-9]{1,10})", re.MULTILINE)


class Base(NamedTuple):
    """What a base backup says about itself: the position from which its log is needed, and that position's
    timeline."""

    begin: int
    timeline: int
    settings: str


def inspect(path: Path) -> Base:
    """Read a base backup's label. Raises StoreError for a file that is none."""
    try:
        with path.open("rb") as archive:
            texts = _texts(archive, {_LABEL, SETTINGS})
        label, settings = texts[_LABEL], texts[SETTINGS]
    except (tarfile.TarError, KeyError, OSError, OverflowError, ValueError) as e:
        raise StoreError("it is not a base backup, or is damaged", where=str(path)) from e
    start, timeline = _START.search(label), _TIMELINE.search(label)
    if not start or not timeline:
        raise StoreError("it is not a base backup", where=str(path))
    begin = (int(start[1], 16) << 32) + int(start[2], 16)
    return Base(begin, int(timeline[1]), settings)


def _texts(archive: BinaryIO, names: Collection[str]) -> dict[str, str]:
    """The texts of these files of a base backup, as far as they are there.

    An app's image may have made it: `tarfile` would unpack any compression, and keep each of its files, and an
    extended header of any size, in memory. PostgreSQL writes plain headers alone (its `tarCreateHeader`).
    """
    texts: dict[str, str] = {}
    while len(texts) < len(names):
        block = archive.read(tarfile.BLOCKSIZE)
        if block.count(0) == tarfile.BLOCKSIZE:
            break
        head = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        if head.size < 0:
            raise tarfile.ReadError("a negative size")
        content = archive.tell()
        if head.name in names:
            texts[head.name] = archive.read(min(head.size, 1 << 20)).decode()
        archive.seek(content + head.size + -head.size % tarfile.BLOCKSIZE)
    return texts
