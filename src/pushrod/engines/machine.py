"""This machine as the limits of its apps see it: memory, processors, tasks."""

from pathlib import Path

import psutil

from pushrod.apps import Root
from pushrod.manifest import limits
from pushrod.manifest.limits import Limits, Machine

_THREADS = Path("/proc/sys/kernel/threads-max")  # how many tasks the kernel makes (proc(5))
_FEW = 8192  # tasks, where the kernel does not say


def measure() -> Machine:
    """What there is of this machine."""
    tasks = int(_THREADS.read_text()) if _THREADS.exists() else _FEW
    return Machine(psutil.virtual_memory().total, psutil.cpu_count() or 1, tasks)


def of(root: Root, app: str = "") -> Limits:
    """The limits of a root's apps, with what the owner has changed for all of them, and for one."""
    settings = root.host_settings
    if settings is None:
        return limits.defaults(measure())
    return limits.resolve(measure(), settings.limits, settings.app_limits.get(app, {}))
