"""The processes below a process, for questions that are asked many times a second.

The kernel lists the children of each thread in /proc/PID/task/TID/children (proc(5); Linux 4.2 with
CONFIG_PROC_CHILDREN, as Debian and Ubuntu have it), so only the family is read and not every process of the machine.
A child that starts or ends meanwhile may be left out: ask again.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil


def family(pid: int) -> "list[psutil.Process]":
    """A process and all below it that still run. Raises psutil.NoSuchProcess if it has ended."""
    import psutil

    top = psutil.Process(pid)
    if not Path(f"/proc/{pid}/task/{pid}/children").exists():
        return [top, *top.children(recursive=True)]
    below = []
    for child in _below(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            below.append(psutil.Process(child))
    return [top, *below]


def queued(pid: int) -> float:
    """For how long the thread of this family that waited longest was ready to run and had no processor, in seconds; 0
    if the kernel does not tell (proc(5): schedstat).
    """
    import psutil

    longest = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in family(pid):
            for record in Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
                with contextlib.suppress(OSError, ValueError, IndexError):  # the thread has ended
                    longest = max(longest, int(record.read_text(encoding="ascii").split()[1]))
    return longest / 1e9


def _below(pid: int) -> Iterator[int]:
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = listed.read_text(encoding="ascii").split()
        except OSError:  # the thread has ended
            continue
        for child in map(int, children):
            yield child
            yield from _below(child)
