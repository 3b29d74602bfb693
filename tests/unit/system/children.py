"""What tests ask of processes they have started, and of files that these have written."""

import os
import stat
import sys
from pathlib import Path

import psutil
import pytest

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run a child as somebody else")


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has collected yet has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(directory: Path) -> list[str]:
    return sorted(p.name for p in directory.iterdir())


def python(source: str, *arguments: str | Path) -> list[str]:
    return [sys.executable, "-c", source, *map(str, arguments)]
