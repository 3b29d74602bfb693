"""Files of a tree whose content is untrusted: reached step by step and held by file descriptors.

A path that is checked and then used by name may have changed in between: anyone who can write above it can swap a
directory for a link. So every step is opened relative to the directory before it, with O_NOFOLLOW, and what is read
or copied is the opened file. Symbolic links are followed here, from the directory they are in, and never out of the
tree; `..` returns to the directory that was passed, even if it has been moved since. A path that leaves the tree is
refused with EXDEV, as openat2(2) does with RESOLVE_BENEATH. Python does not offer that call, and systems without it
would need this code anyway.
"""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

_LOOK = getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK) | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a named pipe would block.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = _READ | os.O_DIRECTORY
_LINKS = 40  # the kernel's own limit for one path (path_resolution(7))
_CHUNK = 1 << 20

Names = tuple[str, ...]
Top = Path | int
"""The top of a tree: a path that other users cannot change, or a descriptor."""


class Place(NamedTuple):
    """The target of a path of a tree: its names from the top with all links followed, and whether it exists."""

    names: Names
    there: bool

    @property
    def path(self) -> str:
        """The names as a relative path; `.` for the top."""
        return "/".join(self.names) or "."


def resolve(root: Top, relative: str) -> Place:
    """The target of a path of a tree; for a path that does not exist, where it would be.

    Raises OSError: EXDEV if it leaves the tree, ELOOP for a cycle of links.
    """
    with _walked(root, relative) as (steps, missing):
        return Place((*(name for name, _ in steps[1:]), *missing), not missing)


@contextlib.contextmanager
def opened(root: Top, relative: str) -> Iterator[int]:
    """A readable descriptor of the regular file or directory a path of a tree leads to.

    Raises OSError as `resolve` does, ENOENT if nothing is there and EINVAL for other kinds of file.
    """
    with _walked(root, relative) as (steps, missing):
        if missing:
            raise _error(errno.ENOENT, relative)
        # Opened again by name from the directory before it: O_PATH descriptors cannot be read.
        name, held = (".", steps[0][1]) if len(steps) == 1 else (steps[-1][0], steps[-2][1])
        descriptor = os.open(name, _READ, dir_fd=held)
    try:
        _plain(descriptor, relative)
        yield descriptor
    finally:
        os.close(descriptor)


def files(root: Path) -> Iterator[str]:
    """The path of every file below a directory, and of every link that is not itself below a linked directory."""
    for directory, directories, names in os.walk(root):
        at = Path(directory).relative_to(root)
        links = [name for name in directories if (Path(directory) / name).is_symlink()]
        yield from (str(at / name) for name in (*names, *links))


def read(root: Top, relative: str, limit: int = 1 << 24) -> bytes:
    """The content of a file of a tree. Raises OSError as `opened` does, and EFBIG above `limit` bytes."""
    with opened(root, relative) as descriptor:
        if os.fstat(descriptor).st_size > limit:
            raise _error(errno.EFBIG, relative)
        with os.fdopen(os.dup(descriptor), "rb") as f:
            return f.read(limit)


def copy(
    root: Top,
    relative: str,
    target: Path,
    *,
    shared: bool = False,
    follow: bool = False,
    leave_out: Callable[[str], bool] = lambda _: False,
) -> None:
    """Copy a file or directory of a tree to a path that does not exist yet, as new files that anyone may read.

    Nothing in the copy is a hard link, or has a mode bit beyond being executable; with `shared` anyone may write it
    too. Links stay links or, with `follow`, become the files they lead to, which must be below what is copied.
    Names that `leave_out` selects are skipped. Nobody else may have access to `target`'s directory meanwhile.
    Raises OSError as `opened` does.
    """
    with opened(root, relative) as source:
        if not stat.S_ISDIR(os.fstat(source).st_mode):
            with _descriptor(os.open(target.parent, _DIRECTORY)) as place:
                _copy_file(source, target.name, place, shared=shared)
            return
        target.mkdir(mode=0o700)
        with _descriptor(os.open(target, _DIRECTORY)) as place:
            _copy_directory(source, place, shared, follow, leave_out)


def size(root: Top, relative: str) -> int:
    """Bytes of the file, or of all files in the directory, that a path of a tree leads to.

    Raises OSError as `opened` does.
    """
    with opened(root, relative) as descriptor:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            return os.fstat(descriptor).st_size
        waiting, total = [()], 0  # type: tuple[list[Names], int]
        while waiting:
            names = waiting.pop()
            with directory(descriptor, names) as at:
                for name in _listed(at):
                    status = os.stat(name, dir_fd=at, follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        waiting.append((*names, name))
                    else:
                        total += status.st_size
        return total


def digest(root: Top, relative: str) -> str:
    """A digest of what a path of a tree leads to: equal for equal names, links, contents and executable bits.

    Raises OSError as `opened` does.
    """
    total = hashlib.sha256()

    def add(*parts: bytes) -> None:
        for part in parts:
            total.update(b"%d:%b" % (len(part), part))

    def add_file(name: str, file: int) -> None:
        with os.fdopen(os.dup(file), "rb") as f:
            contents = hashlib.file_digest(f, "sha256").digest()
        add(name.encode(errors="surrogateescape"), b"x" if os.fstat(file).st_mode & 0o100 else b"-", contents)

    with opened(root, relative) as top:
        if not stat.S_ISDIR(os.fstat(top).st_mode):
            add_file("", top)
            return total.hexdigest()
        waiting: list[Names] = [()]
        while waiting:
            names = waiting.pop()
            with directory(top, names) as at:
                for name in sorted(_listed(at)):
                    whole = "/".join((*names, name))
                    if (link := _link(name, at)) is not None:
                        add(*(word.encode(errors="surrogateescape") for word in (whole, "->", link)))
                    elif is_directory(name, at):
                        waiting.append((*names, name))
                    else:
                        with _descriptor(os.open(name, _READ, dir_fd=at)) as file:
                            add_file(whole, file)
    return total.hexdigest()


def make_directory(top: int, names: Names, *, mode: int) -> None:
    """Make a directory and its missing parents below an open one; does nothing if it exists.

    Raises OSError if a link or another kind of file is in the way.
    """
    held = os.dup(top)
    try:
        for name in names:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=held)
                with _descriptor(os.open(name, _DIRECTORY, dir_fd=held)) as made:
                    os.fchmod(made, mode)
            held, passed = os.open(name, _LOOK | os.O_DIRECTORY, dir_fd=held), held
            os.close(passed)
    finally:
        os.close(held)


@contextlib.contextmanager
def top(path: Path) -> Iterator[int]:
    """A descriptor of a directory whose path nobody else can change. Raises OSError."""
    with _descriptor(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as descriptor:
        yield descriptor


@contextlib.contextmanager
def directory(top: int, names: Names) -> Iterator[int]:
    """A descriptor of a directory below an open one, reached without links, for look-ups. Raises OSError."""
    held = os.dup(top)
    try:
        for name in names:
            held, passed = os.open(name, _LOOK | os.O_DIRECTORY, dir_fd=held), held
            os.close(passed)
        yield held
    finally:
        os.close(held)


def is_directory(name: str, top: int) -> bool:
    """Whether a name in an open directory is a directory, not a link to one. Raises FileNotFoundError if it is
    missing."""
    return stat.S_ISDIR(os.stat(name, dir_fd=top, follow_symlinks=False).st_mode)


# ---- the steps ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _walked(root: Top, relative: str) -> Iterator[tuple[list[tuple[str, int]], Names]]:
    """Each directory on the way and what the path leads to, all held open, and the names that do not exist."""
    if relative.startswith("/") or "\0" in relative:
        raise _error(errno.EXDEV, relative)
    flags = _LOOK | os.O_DIRECTORY
    steps = [("", os.open(root, flags) if isinstance(root, Path) else os.open(".", flags, dir_fd=root))]
    try:
        yield steps, _walk(steps, relative)
    finally:
        for _, held in steps:
            os.close(held)


def _walk(steps: list[tuple[str, int]], relative: str) -> Names:
    waiting = _words(relative)
    links = 0
    while waiting:
        name, held = waiting.pop(), steps[-1][1]
        if name == "..":
            if len(steps) == 1:
                raise _error(errno.EXDEV, relative)
            os.close(steps.pop()[1])
            continue
        if (target := _link(name, held)) is not None:
            links += 1
            if target.startswith("/"):
                raise _error(errno.EXDEV, relative)
            if links > _LINKS:
                raise _error(errno.ELOOP, relative)
            waiting += _words(target)
            continue
        try:
            steps.append((name, os.open(name, _LOOK, dir_fd=held)))
        except FileNotFoundError:
            return _missing(steps, [name, *reversed(waiting)], relative)
        if waiting and not stat.S_ISDIR(os.fstat(steps[-1][1]).st_mode):
            raise _error(errno.ENOTDIR, relative)
    return ()


def _missing(steps: list[tuple[str, int]], names: list[str], relative: str) -> Names:
    """The names of a path from the first that does not exist on; `..` removes the one before it."""
    missing: list[str] = []
    for name in names:
        if name != "..":
            missing.append(name)
        elif missing:
            missing.pop()
        elif len(steps) > 1:
            os.close(steps.pop()[1])
        else:
            raise _error(errno.EXDEV, relative)
    return tuple(missing)


def _words(path: str) -> list[str]:
    """The names of a path in reverse order."""
    return [word for word in reversed(path.split("/")) if word not in ("", ".")]


def _link(name: str, held: int) -> str | None:
    """The target of a symbolic link; None for anything else."""
    try:
        return os.readlink(name, dir_fd=held)
    except OSError as e:
        if e.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def _error(number: int, where: str) -> OSError:
    return OSError(number, os.strerror(number), where)


@contextlib.contextmanager
def _descriptor(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


# ---- copying ------------------------------------------------------------------------------------------------


def _plain(descriptor: int, where: str) -> None:
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise _error(errno.EINVAL, where)


def _copy_directory(
    source: int, target: int, shared: bool, follow: bool, leave_out: Callable[[str], bool]
) -> None:
    """Copy a whole directory into an empty one. The number of descriptors does not grow with depth: each level is
    opened again from the top."""
    waiting: list[Names] = [()]
    while waiting:
        names = waiting.pop()
        with directory(source, names) as there, directory(target, names) as here:
            for name in filter(lambda name: not leave_out(name), _listed(there)):
                if (link := _link(name, there)) is not None and not follow:
                    os.symlink(link, name, dir_fd=here)
                elif link is not None:
                    with opened(source, "/".join((*names, name))) as opened_file:
                        _copy_file(opened_file, name, here, shared=shared)
                elif is_directory(name, there):
                    os.mkdir(name, 0o700, dir_fd=here)
                    waiting.append((*names, name))
                else:
                    with _descriptor(os.open(name, _READ, dir_fd=there)) as opened_file:
                        _copy_file(opened_file, name, here, shared=shared)
            with _descriptor(os.open(".", _DIRECTORY, dir_fd=here)) as made:
                os.fchmod(made, 0o777 if shared else 0o755)
                _times(os.fstat(there), made)


def _listed(held: int) -> list[str]:
    with _descriptor(os.open(".", _DIRECTORY, dir_fd=held)) as readable:
        return [entry.name for entry in os.scandir(readable)]


def _times(status: os.stat_result, made: int) -> None:
    os.utime(made, ns=(status.st_atime_ns, status.st_mtime_ns))


def _copy_file(source: int, name: str, place: int, *, shared: bool) -> None:
    status = os.fstat(source)
    if not stat.S_ISREG(status.st_mode):
        raise _error(errno.EINVAL, name)
    mode = (0o666 if shared else 0o644) | (0o111 if status.st_mode & 0o100 else 0)
    out = os.open(
        name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=place
    )
    with _descriptor(out):
        while chunk := os.read(source, _CHUNK):
            while chunk:
                chunk = chunk[os.write(out, chunk) :]
        os.fchmod(out, mode)
        _times(status, out)
