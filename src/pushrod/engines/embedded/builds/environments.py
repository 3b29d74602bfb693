"""Directories that are built once for each digest of their inputs, shared by the releases of a root, and pruned.

One is built in its final place, because neither a Python environment nor a class archive of a JVM can be moved. It is
complete once its marker file exists, which is written last.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path

from pushrod.core.errors import BusyError
from pushrod.system import files, locks

MARKER = ".pushrod-complete"
_USERS = ".pushrod-used-by"
_LONGEST = 2400.0  # seconds that a command waits for another one that builds the same
_UNUSED_FOR = 86400.0  # seconds; a younger one may belong to a release that is being prepared
# Git sets these for its hooks; a `git` that a build runs would mistake our repository for its own.
OF_HOOKS = frozenset(
    {
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_PREFIX",
        "GIT_QUARANTINE_PATH",
        "GIT_OBJECT_DIRECTORY",
    }
    | {"GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_EXEC_PATH"}
)


class Digest:
    """The identity of an environment: a digest of words and files, in order."""

    def __init__(self, *words: str | bytes) -> None:
        self._digest = hashlib.sha256()
        self.add(*words)

    def add(self, *words: str | bytes) -> None:
        """Add words; where one ends counts."""
        for word in words:
            raw = word.encode() if isinstance(word, str) else word
            self._digest.update(len(raw).to_bytes(8, "big") + raw)

    def text(self) -> str:
        """The digest so far."""
        return self._digest.hexdigest()[:24]


def complete(place: Path) -> bool:
    """Whether an environment can be used."""
    return (place / MARKER).exists()


def make(
    place: Path, purpose: str, build: Callable[[], None], on_line: Callable[[str], None], content: str = ""
) -> Path:
    """Build an environment at `place` unless it is complete; waits if another command is building it.

    `purpose` is what `build` does, as a waiting command reports it; `content` is written to the marker.
    """
    marker = place / MARKER
    if complete(place):
        os.utime(marker)
        return place
    files.make_open(place.parent)
    with locks.lock(_lock_file(place), purpose=purpose, timeout=_LONGEST, on_wait=on_line):
        if not complete(place):
            _remove_interrupted(place.parent)
            files.remove_tree(place)
            try:
                build()
                files.sync_all()
                files.write(marker, content)
            finally:
                if not complete(place):
                    files.remove_tree(place)
    return place


def use(place: Path, checkout: Path) -> None:
    """Keep an environment, once it is complete, for as long as the checkout of a release is there."""
    users = place / _USERS
    names = [*_users(place), os.path.relpath(checkout, place)]
    files.write(users, "".join(f"{name}\n" for name in dict.fromkeys(names)))


def _users(place: Path) -> list[str]:
    """The checkouts, relative to an environment, that use it and are still there."""
    with contextlib.suppress(OSError):
        return [name for name in (place / _USERS).read_text().splitlines() if (place / name).is_dir()]
    return []


def remove_unused(environments: Path, used: Collection[str]) -> list[str]:
    """Remove the environments whose identity is not in `used` and that no checkout uses; returns the removed ones."""
    removed = []
    for place in sorted(environments.iterdir()) if environments.is_dir() else ():
        marker = place / MARKER
        if place.name in used or not marker.exists() or time.time() - marker.stat().st_mtime < _UNUSED_FOR:
            continue
        if _users(place):
            continue
        if _remove(place):
            removed.append(place.name)
    return removed


def _lock_file(place: Path) -> Path:
    return place.with_name(f"{place.name}.lock")


def _remove_interrupted(environments: Path) -> None:
    """Remove what an interrupted build left; a running build holds its lock."""
    for place in list(environments.iterdir()):
        if place.is_dir() and not complete(place):
            _remove(place)


def _remove(place: Path) -> bool:
    """Remove an environment unless somebody is building it. The marker goes first, so that no partial one is ever
    used.
    """
    try:
        with locks.lock(_lock_file(place), purpose="removing it", timeout=0):
            (place / MARKER).unlink(missing_ok=True)
            files.remove_tree(place)
    except BusyError:
        return False
    return True
