"""Files and directories: replaced atomically and durably, with the owner and mode that they are to have."""

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

from pushrod.core import lines
from pushrod.core.errors import HostError
from pushrod.system import trees
from pushrod.system.accounts import Account

_BLOCK, _FARTHEST = 1 << 16, 1 << 23  # bytes; how a log is read from its end, and how far back


def os_error(e: OSError, where: str) -> HostError:
    """Turn an operating system error into one that says what to do about it."""
    hints = {
        errno.ENOSPC: "free some space on that disk, then run the command again",
        errno.EDQUOT: "free some of the quota, then run the command again",
        errno.EACCES: "check the owner and mode of that path",
        errno.EPERM: "check the owner and mode of that path",
        errno.EROFS: "that file system is read-only: choose another place with --root",
        errno.EEXIST: "something else is in that place: move it away, or choose another one",
        errno.ENOTDIR: "a part of that path is no directory: choose another one",
    }
    what = (e.strerror or str(e)).lower()
    return HostError(what, where=where or str(e.filename or ""), hint=hints.get(e.errno or 0, ""))


def write(path: Path, data: str | bytes, *, mode: int = 0o644, owner: tuple[int, int] | None = None) -> None:
    """Replace `path` atomically and durably: temporary file, fsync, rename, fsync of the directory.

    `owner` (user and group) is who it belongs to from the first moment; by default whoever writes.
    """
    raw = data.encode() if isinstance(data, str) else data
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as f:
            if owner is not None:
                os.fchown(f.fileno(), *owner)
            os.fchmod(f.fileno(), mode)
            f.write(raw)
            f.flush()
            os.fsync(f.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_new(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a file that nobody reads yet, in a directory that is there; `sync` makes it durable, with others.

    Raises OSError where it is there already.
    """
    with path.open("x") as f:
        os.fchmod(f.fileno(), mode)
        f.write(text)


def link_same(path: Path, other: Path, text: str, *, mode: int = 0o644) -> bool:
    """Make `path` the same file as `other`, if that is what `write_new` would make of it; whether it is one now.

    Neither may be written to afterwards, only replaced. False too where the file system has no such links.
    """
    try:
        if other.read_bytes() != text.encode() or stat.S_IMODE(other.stat().st_mode) != mode:
            return False
        path.hardlink_to(other)
    except OSError:
        return False
    return True


def append(path: Path, line: str, *, mode: int = 0o644) -> None:
    """Append one line durably: a single write, then fsync, and of the directory where the file is new.

    A line that could not be written and synced whole is taken back: nobody was told that it is there.
    """
    new = not path.exists()
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, mode)
    try:
        size = os.fstat(fd).st_size
        raw = (line + "\n").encode()
        try:
            if os.write(fd, raw) != len(raw):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(fd)
        except OSError:
            os.ftruncate(fd, size)
            raise
    finally:
        os.close(fd)
    if new:
        sync_directory(path.parent)


def tail(path: Path, lines_wanted: int = 50) -> tuple[str, ...]:
    """The last lines of a log, oldest first; none when there is no such file.

    Reads at most its last _FARTHEST bytes; where they begin in the middle of a line that is marked.
    """
    try:
        with path.open("rb") as f:
            return tuple(tail_of(f, lines_wanted)[0])
    except FileNotFoundError:
        return ()


def tail_of(f: IO[bytes], lines_wanted: int) -> tuple[list[str], int]:
    """The last lines of an open log as `tail` reads them, and where it ended then; the last may lack its newline."""
    end = f.seek(0, os.SEEK_END)
    start, raw = end, b""
    while start > 0 and raw.count(b"\n") <= lines_wanted and end - start < _FARTHEST:
        step = min(max(_BLOCK, len(raw)), start)
        start -= step
        f.seek(start)
        raw = f.read(step) + raw
    found = lines.split(lines.after_cut(raw) if start > 0 else lines.decode(raw))
    return found[max(0, len(found) - lines_wanted) :], end


def point(link: Path, target: str) -> None:
    """Make `link` a symbolic link to `target` by an atomic rename, and sync its directory."""
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)
    sync_directory(link.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def sync(paths: Iterable[Path]) -> None:
    """Make files and directories durable, in this order: the first of many fsyncs does most of the others' work."""
    for path in paths:
        _sync(path, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    fd = os.open(path, flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_all() -> None:
    """Make everything that was written so far durable, on every file system: for a tree of many files at once."""
    os.sync()


def make_private(path: Path) -> Path:
    """Create a directory that only its owner may enter (0700), and return it."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def make_open(path: Path) -> Path:
    """Create a directory, and what is missing above it, that all may enter (0755) whatever the umask; return it."""
    for directory in (*reversed(path.parents), path):
        if not directory.exists():
            directory.mkdir(exist_ok=True)
            directory.chmod(0o755)
    return path


def make_closed(path: Path, group: int | None) -> bool:
    """Create a directory that no other account may pass (0700), but for a group's where it is given (0710).

    One that is there is closed too; False where that is somebody else's, or a link, which is left as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as e:
        if e.errno in (errno.ENOTDIR, errno.ELOOP, errno.EACCES):
            return False
        raise
    try:
        found, mode = os.fstat(fd), 0o700 if group is None else 0o710
        if found.st_uid != os.geteuid():
            return False
        if group is not None and group != found.st_gid:
            os.fchown(fd, -1, group)
        if stat.S_IMODE(found.st_mode) != mode:
            os.fchmod(fd, mode)
        return True
    finally:
        os.close(fd)


def temporary_name(prefix: str) -> Path:
    """A new directory of ours in /tmp whose name nobody could know before."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))


def own(path: Path, account: Account | None) -> None:
    """Give one file or directory to the account that will write to it; nothing when children run as we do."""
    if account is not None:
        os.chown(path, account.uid, account.gid)


def chown(path: Path, owner: tuple[int, int]) -> None:
    """Give a path to a user and a group, by their numbers."""
    os.chown(path, *owner)


def copy(source: Path, target: Path) -> None:
    """Copy a file or a directory to a place that is not there yet; it appears whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    if source.is_dir():
        shutil.copytree(source, temporary, symlinks=True)
    else:
        shutil.copy(source, temporary)
    temporary.replace(target)
    sync_directory(target.parent)


def link(source: Path, target: Path) -> None:
    """Give a file a second name, which appears with all that is above it."""
    make_open(target.parent)
    target.hardlink_to(source)


def publish(root: Path, relative: str, target: Path, leave_out: Callable[[str], bool]) -> None:
    """Copy a directory of a tree for all to read, times and all, but for names that `leave_out`; whole or not at all.

    Raises HostError where one of its files cannot be copied.
    """
    make_open(target.parent)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        trees.copy(root, relative, temporary, follow=True, leave_out=leave_out)
        temporary.replace(target)
    except OSError as e:
        raise os_error(e, str(root / relative / (e.filename or ""))) from e
    finally:
        remove_tree(temporary)
    sync_directory(target.parent)


def seal(path: Path) -> str:
    """Make a file durable and ours alone (0600); the SHA-256 of what is in it."""
    with path.open("rb") as f:
        os.fchmod(f.fileno(), 0o600)
        os.fsync(f.fileno())
        return hashlib.file_digest(f, "sha256").hexdigest()


def digest(path: Path) -> str:
    """The SHA-256 of what is in a file."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def remove_tree(path: Path) -> None:
    """Remove a directory and all below it; nothing when it is not there."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def free_space(path: Path) -> int:
    """Bytes that are free for us on the file system of an existing path."""
    return shutil.disk_usage(path).free
