"""Files and directories: replaced atomically and durably, with the right owner and mode."""

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from pushrod.core.errors import HostError
from pushrod.system import damaged_paths, trees
from pushrod.system.accounts import Account


def os_error(e: OSError, where: str) -> HostError:
    """A HostError for an operating system error, with a hint on what to do about it."""
    hints = {
        errno.ENOSPC: "free some space on that disk, then run the command again",
        errno.EDQUOT: "free some of the quota, then run the command again",
        errno.EACCES: "check the owner and mode of that path",
        errno.EPERM: "check the owner and mode of that path",
        errno.EROFS: "that file system is read-only: choose another place with --root",
        errno.EEXIST: "something else is at that path: move it away, or choose another path",
        errno.ENAMETOOLONG: "shorten that name where the compose file, the Dockerfile or a command has it",
        errno.ENOTDIR: "a part of that path is not a directory: choose another path",
    }
    what = (e.strerror or str(e)).lower()
    return HostError(what, where=where or str(e.filename or ""), hint=hints.get(e.errno or 0, ""))


def write(path: Path, data: str | bytes, *, mode: int = 0o644, owner: tuple[int, int] | None = None) -> None:
    """Replace `path` atomically and durably: temporary file, fsync, rename, fsync of the directory.

    `owner` (user and group) owns the file from the first moment; by default the writing user. A directory at the path
    is set aside.
    """
    raw = data.encode() if isinstance(data, str) else data
    damaged_paths.make_way(path.parent, directory=True)
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
        damaged_paths.make_way(path)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def overwrite(path: Path, text: str) -> None:
    """Write into the blocks that a file has already, for a full disk; a reader may see half of it. Raises OSError,
    and changes nothing, if they are too few.
    """
    raw = text.encode()
    with path.open("r+b", buffering=0) as f:
        if len(raw) > os.fstat(f.fileno()).st_blocks * 512:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        f.write(raw)
        f.truncate()


def write_new(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a new file that nothing reads yet, in an existing directory; call `sync` later to make it durable.

    Raises OSError if the file exists.
    """
    with path.open("x") as f:
        os.fchmod(f.fileno(), mode)
        f.write(text)


def link_same(path: Path, other: Path, text: str, *, mode: int = 0o644) -> bool:
    """Make `path` a hard link to `other` if that has the content and mode `write_new` would give it; returns
    whether it did.

    Neither may be modified in place afterwards, only replaced. Returns False if the file system has no hard links.
    """
    try:
        if other.read_bytes() != text.encode() or stat.S_IMODE(other.stat().st_mode) != mode:
            return False
        path.hardlink_to(other)
    except OSError:
        return False
    return True


def append(path: Path, line: str, *, mode: int = 0o644) -> None:
    """Append one line durably: one write, fsync, and for a new file fsync of its directory.

    A line that was not written and synced completely is removed again: the caller gets an error, so it must not
    exist.
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


def point(link: Path, target: str) -> None:
    """Make `link` a symbolic link to `target` by an atomic rename, and sync its directory.

    A directory at that path is set aside, because nothing can be renamed over one.
    """
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    _make_way_for_link(link)
    temporary.replace(link)
    sync_directory(link.parent)


def remove_link(link: Path) -> None:
    """Remove a symbolic link, if there is one; a directory at its path is set aside."""
    _make_way_for_link(link)
    link.unlink(missing_ok=True)


def _make_way_for_link(link: Path) -> None:
    if link.is_dir() and not link.is_symlink():
        damaged_paths.set_aside(link)


def sync_directory(path: Path) -> None:
    """fsync a directory, which makes the names in it durable."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def sync(paths: Iterable[Path]) -> None:
    """Make files and directories durable, in this order: the first of many fsyncs does most of the work of the
    others."""
    for path in paths:
        _sync(path, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    fd = os.open(path, flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_all() -> None:
    """Make everything written so far durable, on every file system: for a tree with many files."""
    os.sync()


def make_private(path: Path) -> Path:
    """Create a directory that only its owner may enter (0700), and return it."""
    damaged_paths.make_way(path, directory=True)
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def make_open(path: Path) -> Path:
    """Create a directory and its missing parents with mode 0755, whatever the umask; return it."""
    damaged_paths.make_way(path, directory=True)
    for directory in (*reversed(path.parents), path):
        if not directory.exists():
            directory.mkdir(exist_ok=True)
            directory.chmod(0o755)
    return path


def make_closed(path: Path, group: int | None) -> bool:
    """Create a directory that only its owner (0700) or, with `group`, also that group (0710) may enter.

    An existing directory is closed too. Returns False, changing nothing, if it belongs to another account or is a
    link.
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
        status, mode = os.fstat(fd), 0o700 if group is None else 0o710
        if status.st_uid != os.geteuid():
            return False
        if group is not None and group != status.st_gid:
            os.fchown(fd, -1, group)
        if stat.S_IMODE(status.st_mode) != mode:
            os.fchmod(fd, mode)
        return True
    finally:
        os.close(fd)


def temporary_name(prefix: str) -> Path:
    """A new directory of ours in /tmp with an unpredictable name."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))


def own(path: Path, account: Account | None) -> None:
    """Give one file or directory to the account that will write to it; does nothing if children run as the current
    user."""
    if account is not None:
        os.chown(path, account.uid, account.gid)


def chown(path: Path, owner: tuple[int, int]) -> None:
    """Give a path to a user and a group, by number."""
    os.chown(path, *owner)


def copy(source: Path, target: Path) -> None:
    """Copy a file or directory to a path that does not exist yet; the copy appears complete or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    if source.is_dir():
        shutil.copytree(source, temporary, symlinks=True)
    else:
        shutil.copy(source, temporary)
    temporary.replace(target)
    sync_directory(target.parent)


def link(source: Path, target: Path) -> None:
    """Hard-link a file as `target`, creating missing parents that anyone may enter."""
    make_open(target.parent)
    target.hardlink_to(source)


def publish(root: Path, relative: str, target: Path, leave_out: Callable[[str], bool]) -> None:
    """Copy a directory of a tree so that anyone may read it, times included, without the names `leave_out` selects;
    the copy appears complete or not at all.

    Raises HostError if a file cannot be copied.
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


def digest(path: Path) -> str:
    """The SHA-256 of a file's content."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def remove_tree(path: Path) -> None:
    """Remove a directory and everything below it; does nothing if it does not exist."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def holds(path: Path, text: str) -> bool:
    """Whether a path is a file with exactly this text."""
    with contextlib.suppress(OSError):
        return path.read_bytes() == text.encode()
    return False


def remove(path: Path) -> None:
    """Remove a file, a link or a whole directory; does nothing if it does not exist."""
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)


def free_space(path: Path) -> int:
    """Bytes available to this process on the file system of an existing path."""
    return shutil.disk_usage(path).free
