"""Start nginx after a crash as after a clean end: what the supervisor runs in the place of nginx itself.

An nginx that is killed leaves the file of its unix socket behind, and the next one cannot bind there ("Address
in use", five tries, exit). So a socket file that nobody listens on is removed first; then this process
becomes nginx. Standard library only and run with `-I -S`, because it stands in the way of every start.

    python -I -S nginx_start.py SOCKET PROGRAM ARGUMENT...
"""

import os
import socket
import sys
import time
from pathlib import Path

PATIENCE = 1.0
"""Seconds that a listener has to go: a killed process is seen as gone a moment before its sockets close."""


def listened(path: Path) -> bool:
    """Whether something listens on the unix socket `path`; so we take it where we cannot find out."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(PATIENCE)
        try:
            s.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True


def clear(path: Path, patience: float = PATIENCE) -> None:
    """Remove the socket of a process that is gone, or goes within `patience` seconds; leave all else alone."""
    deadline = time.monotonic() + patience
    while path.is_socket():
        if not listened(path):
            path.unlink(missing_ok=True)
        elif time.monotonic() > deadline:
            return
        time.sleep(0.01)


def main(arguments: list[str]) -> None:
    """Clear the way, then become the program."""
    path, *argv = arguments
    clear(Path(path))
    os.execv(argv[0], argv)  # noqa: S606 - no shell is wanted here


if __name__ == "__main__":
    main(sys.argv[1:])
