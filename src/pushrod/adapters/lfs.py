"""Files that Git LFS keeps outside Git: a commit contains a pointer instead of each (git-lfs, docs/spec.md).

Their contents are taken from this machine's stores of LFS objects: beside the app's repository, where a push to a
path leaves them, beside the work tree that is pushed from, or where `lfs_server` stored them. An object is identified
by its SHA-256.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pushrod.core.patterns import lazy
from pushrod.system import files

_LARGEST = 1024  # the largest pointer, in bytes
_POINTER = lazy(
    rb"\s*version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/v1\r?\n"
    rb"(?:ext-[^\n]+\n)*oid sha256:([0-9a-f]{64})\r?\nsize ([0-9]{1,15})\s*"
)


class Pointer(NamedTuple):
    """A file of a checkout that stands for another: its path, and the SHA-256 and size of the other."""

    path: str
    oid: str
    size: int


def pointers(directory: Path) -> list[Pointer]:
    """The pointers in a checkout, by their paths."""
    return sorted(_below(directory, directory))


def _below(directory: Path, top: Path) -> Iterator[Pointer]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _below(Path(entry.path), top)
            elif (
                entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_size <= _LARGEST
            ):
                match = _POINTER.fullmatch(Path(entry.path).read_bytes())
                if match:
                    yield Pointer(str(Path(entry.path).relative_to(top)), match[1].decode(), int(match[2]))


def place(store: Path, oid: str) -> Path:
    """The path of an object in a store, as the LFS client arranges one."""
    return store / oid[:2] / oid[2:4] / oid


def keep_only(store: Path, selected: Sequence[Pointer]) -> None:
    """Remove every object from a store except those of the given pointers."""
    kept = {pointer.oid for pointer in selected}
    for path in store.glob("*/*/*"):
        if path.name not in kept:
            path.unlink()


def fill(directory: Path, selected: Sequence[Pointer], kept: Sequence[Path]) -> list[Pointer]:
    """Replace pointers by their files, from the first store that has each; returns those that no store has."""
    return [pointer for pointer in selected if not any(_filled(directory, pointer, store) for store in kept)]


def _filled(directory: Path, pointer: Pointer, store: Path) -> bool:
    source = place(store, pointer.oid)
    target = directory / pointer.path
    if not source.is_file() or source.stat().st_size != pointer.size:
        return False
    mode = target.stat().st_mode & 0o777
    if files.digest(source) != pointer.oid:
        return False
    target.unlink()
    files.copy(source, target)
    target.chmod(mode)
    return True
