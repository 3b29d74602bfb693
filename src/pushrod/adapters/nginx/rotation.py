"""Rotate the edge's large logs: once, or repeatedly while the edge runs.

Beside a busy edge a day's logs can fill a disk, so this does not wait for the next pushrod command. Standard library
only, run with `-I -S` from a copy beside the edge's files, as nginx's account.

 python -I -S nginx_rotation.py EDGE [SECONDS]
"""

import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

MAX_BYTES = 10_000_000
KEEP = 3
LOGS = ("access.log", "error.log")


def rotate(edge: Path, max_bytes: int = MAX_BYTES, keep: int = KEEP) -> tuple[str, ...]:
    """Rotate each log above `max_bytes`, keeping the last `keep` as .1 (newest), .2 …; returns the rotated ones.

    nginx keeps writing to the renamed file until it gets a signal; then it creates a new one.
    """
    grown = [edge / "logs" / name for name in LOGS if _size(edge / "logs" / name) > max_bytes]
    for log in grown:
        for number in range(keep, 0, -1):
            older = log.with_name(f"{log.name}.{number - 1}") if number > 1 else log
            if older.exists():
                older.replace(log.with_name(f"{log.name}.{number}"))
    if grown and (pid := master(edge)):
        os.kill(pid, signal.SIGUSR1)
    return tuple(log.name for log in grown)


def master(edge: Path) -> int:
    """The process ID of this edge's nginx; 0 if it does not run: a killed one leaves its pid file."""
    try:
        pid = int((edge / "run" / "nginx.pid").read_text())
        title = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode()
    except (OSError, ValueError):
        return 0
    # The same check as `workers.find_master`: this program stands alone, without psutil.
    return pid if title.startswith("nginx: master process ") and f" -p {edge}/ " in f"{title} " else 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Hold the edge's lock if it is free; returns whether it was. A switch reads the error log while it runs."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(fd)


def main(arguments: list[str]) -> None:
    """Rotate once, or repeatedly."""
    edge, seconds = Path(arguments[0]), float(arguments[1]) if len(arguments) > 1 else 0.0
    while True:
        with _alone(edge / "lock") as alone:
            if alone:
                rotate(edge)
        if not seconds:
            return
        time.sleep(seconds)


if __name__ == "__main__":
    main(sys.argv[1:])
