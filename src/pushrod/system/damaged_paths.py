"""Content of the wrong kind at a path, such as a directory where a file belongs: recognised, and set aside."""

import contextlib
import glob
import os
import shutil
import stat
from pathlib import Path

_ASIDE = ".damaged-"
_KEPT = 3  # of one name


def is_misplaced(path: Path, *, directory: bool = False) -> bool:
    """Whether a path has another kind of content than a file or, with `directory`, a directory. Follows links."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return directory and path.is_symlink()  # a dangling link
    except NotADirectoryError:
        return False  # a parent is misplaced
    return stat.S_ISDIR(mode) != directory


def make_way(path: Path, *, directory: bool = False) -> Path | None:
    """Set aside the content of a path if it is misplaced (`is_misplaced`); returns its new path, or None."""
    return set_aside(path) if is_misplaced(path, directory=directory) else None


def set_aside(path: Path) -> Path:
    """Rename unusable content to `NAME.damaged-N` in the same directory, and return the new path. The last few of one
    name are kept."""
    before = kept_aside(path)
    aside = path.with_name(f"{path.name}{_ASIDE}{max(before, default=0) + 1}")
    # With the slash the kernel refuses the rename if another process has replaced the directory by a file.
    source = f"{path}/" if path.is_dir() and not path.is_symlink() else str(path)
    os.rename(source, aside)  # noqa: PTH104  a Path would lose the slash
    for number in sorted(before)[: 1 - _KEPT]:
        with contextlib.suppress(OSError):  # of another account: it stays
            _remove(before[number])
    return aside


def kept_aside(path: Path) -> dict[int, Path]:
    """The set-aside copies of a path, by their numbers."""
    names = path.parent.glob(f"{glob.escape(path.name)}{_ASIDE}*")
    copies = ((p.name.rpartition("-")[2], p) for p in names)
    return {int(number): p for number, p in copies if number.isdecimal()}


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
