"""Kernel locks on files: released when the process that holds them ends, however it ends."""

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from pushrod.core.errors import BusyError
from pushrod.system import damaged_paths


@contextlib.contextmanager
def lock(
    path: Path, *, purpose: str, timeout: float, on_wait: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold a kernel lock on `path`; the kernel releases it when the process ends, however it ends.

    `purpose` is written into the file so that a waiting command can name it. `on_wait` is called once with the
    holder's purpose before waiting. Raises BusyError after `timeout` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock_file(path) as f:
        _acquire(f, path, timeout, on_wait)
        f.seek(0)
        f.truncate()
        with contextlib.suppress(OSError):  # a full disk must not block the command that would free it
            os.write(f.fileno(), f"{purpose} (process {os.getpid()})".encode())
        try:
            yield
        finally:
            f.truncate(0)


def shared(path: Path) -> IO[str]:
    """Hold a lock on `path` together with others, until the file is closed; waits while somebody holds it alone."""
    f = _lock_file(path)
    fcntl.flock(f, fcntl.LOCK_SH)
    return f


def _lock_file(path: Path) -> IO[str]:
    """Open a lock file, creating it with mode 0600: everybody who can open it, even for reading, can hold the lock.

    A directory at its path is set aside.
    """
    with contextlib.suppress(NotADirectoryError, FileNotFoundError):  # another command has already done it
        damaged_paths.make_way(path)
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    status = os.fstat(fd)
    if status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) != 0o600:
        os.fchmod(fd, 0o600)
    return os.fdopen(fd, "a+")


def _acquire(f: IO[str], path: Path, timeout: float, on_wait: Callable[[str], None] | None) -> None:
    deadline = time.monotonic() + timeout
    reported = False
    while True:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            f.seek(0)
            holder = f.read().strip() or "another pushrod command"
            if on_wait and not reported:
                on_wait(holder)
                reported = True
            if time.monotonic() >= deadline:
                raise BusyError(
                    f"still busy after {timeout:g} s: {holder}",
                    where=str(path),
                    hint="wait for it to end, then run the command again",
                ) from None
            time.sleep(0.05)


def locked(path: Path) -> bool:
    """Whether any process holds a lock on `path`."""
    if not path.exists():
        return False
    with _lock_file(path) as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
