"""An app's data: one directory for each path that containers mount and Git does not track, all beside each other.

`media/photos` is data/media%2Fphotos. No container mounts `data` itself, so none can replace one of them by a link.
An older pushrod kept them as a tree, data/media/photos; such a tree is converted, with a link left for the releases
that were sealed with it.
"""

import contextlib
import errno
import hashlib
import os
from collections.abc import Collection
from pathlib import Path

from pushrod.core.errors import HostError, StateError
from pushrod.system import files, trees
from pushrod.system.trees import Names

_LONGEST = 200  # bytes of a name; file systems allow 255, and temporary names need some


def name(names: Names) -> str:
    """The parts of a path as one directory name, different for each path."""
    whole = "%2F".join(part.replace("%", "%25") for part in names) or "%2F"
    if len(os.fsencode(whole)) <= _LONGEST:
        return whole
    digest = hashlib.sha256(os.fsencode(whole)).hexdigest()
    return f"{os.fsencode(whole)[: _LONGEST - 80].decode(errors='ignore')}%-{digest}"


def make(data: Path, names: Names, within: Collection[Names] = ()) -> None:
    """Create the directory of a path, writable for any account of a container, with the subdirectories `within`. An
    existing directory is kept.

    Raises HostError if data of an older pushrod cannot be converted, StateError if something else has its name.
    """
    files.make_private(data)
    own = name(names)
    with trees.top(data) as top:
        adopt(top, names)
        new = () if _is_there(own, top) else within
        try:
            for inner in ((), *new):
                trees.make_directory(top, (own, *inner), mode=0o777)
        except OSError as e:
            if e.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            where = data / own
            raise StateError(
                "is not a directory", where=str(where), hint=f"as root: mv {where} /root/"
            ) from e


def adopt(top: int, names: Names) -> bool:
    """Convert the data that an older pushrod kept at a path below an open directory; returns whether there was any.

    Containers may write above it, so moved files are checked where no container can reach them.
    """
    if not left(top, names):
        return False
    own, path = name(names), "/".join(names)
    with (
        contextlib.suppress(FileNotFoundError, NotADirectoryError),
        trees.directory(top, names[:-1]) as above,
    ):
        try:
            os.rename(names[-1], own, src_dir_fd=above, dst_dir_fd=top)
        except PermissionError as e:
            raise HostError(
                "the data of an older pushrod belongs to an account of a container, and only root can move it",
                where=f"data/{path}",
                hint="as root: pushrod host init",
            ) from e
        if not trees.is_directory(own, top):  # something else has replaced it meanwhile
            os.unlink(own, dir_fd=top)
            return False
        with contextlib.suppress(FileExistsError):
            os.symlink("../" * (len(names) - 1) + own, names[-1], dir_fd=above)
        return True
    return False


def left(top: int, names: Names) -> bool:
    """Whether unconverted data of an older pushrod exists under a path."""
    # paths of one part are in the same place in both layouts
    if len(names) < 2 or _is_there(name(names), top):
        return False
    with (
        contextlib.suppress(FileNotFoundError, NotADirectoryError),
        trees.directory(top, names[:-1]) as above,
    ):
        return trees.is_directory(names[-1], above)
    return False


def _is_there(name: str, top: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        os.stat(name, dir_fd=top, follow_symlinks=False)
        return True
    return False
