"""nginx's processes, identified by their titles and by their answers on the mark listener.

A process is identified by its title, not by its start time, which in psutil moves with the machine's clock.
"""

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pushrod.system import network

if TYPE_CHECKING:
    import psutil

_LEAVING = "is shutting down"
"""Part of the title of a worker that finishes its requests and accepts no more."""


class Mark(NamedTuple):
    """An answer on the mark listener: the generation a worker was started with, and its process ID."""

    generation: str
    pid: int


def ask(socket: Path) -> Mark | None:
    """A worker's answer on the mark listener; None if none answers."""
    answer = network.exchange(socket, b"GET / HTTP/1.0\r\n\r\n")
    match = re.fullmatch(rb"HTTP/1\.1 200 .*\r\n\r\n(\S+) (\d+)\n", answer, re.DOTALL)
    return Mark(match[1].decode(), int(match[2])) if match else None


def find_master(pid_file: Path, directory: Path) -> "psutil.Process | None":
    """The process of a pid file, if it is the nginx of a directory: a killed one leaves its file."""
    import psutil

    try:
        master = psutil.Process(int(pid_file.read_text()))
    except (OSError, ValueError, psutil.Error):
        return None
    title = title_of(master.pid)
    ours = title.startswith("nginx: master process ") and f" -p {directory}/ " in f"{title} "
    return master if ours else None


def workers_of(master: "psutil.Process", *, leaving: bool = False) -> tuple[int, ...]:
    """The process IDs of nginx's workers; with `leaving`, only those that accept nothing new."""
    import psutil

    workers = []
    with contextlib.suppress(psutil.Error):
        titles = {child.pid: title_of(child.pid) for child in master.children()}
        workers = [pid for pid, title in titles.items() if title and (_LEAVING in title or not leaving)]
    return tuple(sorted(workers))


def accepting(workers: tuple[int, ...]) -> bool:
    """Whether any of `workers` still accepts new connections."""
    return any(title and _LEAVING not in title for title in map(title_of, workers))


def title_of(pid: int) -> str:
    """The title of an nginx process; empty for another process, and for a zombie."""
    import psutil

    try:
        title = " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""
    return title if title.startswith("nginx: ") else ""
