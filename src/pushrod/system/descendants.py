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


def _below(pid: int) -> Iterator[int]:
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = listed.read_text(encoding="ascii").split()
        except OSError:  # the thread has ended
            continue
        for child in map(int, children):
            yield child
            yield from _below(child)
