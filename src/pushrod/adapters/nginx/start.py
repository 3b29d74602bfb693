"""Start nginx after a crash like after a clean end: the supervisor runs this instead of nginx itself.

A killed nginx leaves the file of its unix socket behind, and the next one cannot bind there ("Address in use", five
tries, exit). So a socket file without a listener is removed first; then this process becomes nginx. Standard library
only, and run with `-I -S`, because it delays every start.

 python -I -S nginx_start.py SOCKET PROGRAM ARGUMENT...
"""

import os
import socket
import sys
import time
from pathlib import Path

PATIENCE = 1.0
"""Seconds for a listener to disappear: a killed process seems gone slightly before its sockets close."""


def listened(path: Path) -> bool:
    """Whether something listens on the unix socket `path`; true if that cannot be determined."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(PATIENCE)
        try:
            s.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True


def remove_stale_socket(path: Path, patience: float = PATIENCE) -> None:
    """Remove the socket of a process that is gone, or goes within `patience` seconds; leave any other file alone."""
    deadline = time.monotonic() + patience
    while path.is_socket():
        if not listened(path):
            path.unlink(missing_ok=True)
        elif time.monotonic() > deadline:
            return
        time.sleep(0.01)


def main(arguments: list[str]) -> None:
    """Remove a stale socket, then become the program."""
    path, *argv = arguments
    remove_stale_socket(Path(path))
    os.execv(argv[0], argv)  # noqa: S606 - without a shell


if __name__ == "__main__":
    main(sys.argv[1:])
