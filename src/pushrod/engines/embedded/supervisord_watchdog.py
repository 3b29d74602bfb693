# ruff: noqa: PTH108, PTH110, PTH118, PTH120, PTH123
# Imports only small modules that load quickly: this process sleeps beside every supervisor.
"""Restarts the supervisor if it ended without having stopped its processes (kill -9, out of memory).

`python -I -S supervisord_watchdog.py START SOCKET LOCK` is itself a supervised process, stopped before all others.
Its standard input is a pipe whose other end only the supervisor has: end of file means that the supervisor is gone.
The kernel has then sent the other processes their death signal; this process runs the script START, and the new
supervisor starts them again. If this process is killed, the supervisor restarts it.

LOCK is held while starting, so that this process and a pushrod command do not both start the supervisor. Its actions
are written to supervisord.log.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_START_DEADLINE = 60.0  # seconds: it normally takes a third of one
_LONGEST_PAUSE = 60.0  # seconds between attempts if the supervisor refuses to start


def main(start: str, socket_path: str, lock: str) -> None:
    """Wait for the supervisor's end, then start it again until it answers or its files are gone."""
    while os.read(0, 4096):
        pass
    pause = 1.0
    while os.path.exists(start):
        with _locked(lock):
            if answers(socket_path) or _start(start, socket_path):
                return
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def answers(socket_path: str) -> bool:
    """Whether something accepts connections on the unix socket."""
    import socket

    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(1)
        try:
            s.connect(socket_path)
        except OSError:
            return False
        return True


def _start(start: str, socket_path: str) -> bool:
    """Start supervisord, which leaves a listening daemon; returns whether it succeeded."""
    import subprocess

    with contextlib.suppress(FileNotFoundError):
        os.unlink(socket_path)  # stale: nothing accepts on it, and the lock is ours
    with open(os.path.join(os.path.dirname(start), "supervisord.log"), "ab", buffering=0) as log:
        log.write(time.strftime("%Y-%m-%d %H:%M:%S keeper: the supervisor is gone, starting it\n").encode())
        try:
            subprocess.run(
                ["/bin/sh", start],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                timeout=_START_DEADLINE,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as e:
            log.write(f"keeper: {e}\n".encode())
    return answers(socket_path)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Hold the lock. After a deadline, continue without it, because a hanging start must not leave the host down."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + 2 * _START_DEADLINE
    try:
        while time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(0.05)
        yield
    finally:
        os.close(fd)


if __name__ == "__main__":
    main(*sys.argv[1:4])
