"""This machine's memory, processors, tasks and disk, from which the limits of apps are computed."""

from pathlib import Path

from pushrod.core.limits import Limits, Machine, resolve
from pushrod.state.apps import HostSettings, Root
from pushrod.state.records import read_json

_THREADS = Path("/proc/sys/kernel/threads-max")  # the kernel's limit on tasks (proc(5))
_FEW = 8192  # tasks, if the kernel does not report a limit


def measure(place: Path) -> Machine:
    """Measure this machine, and the file system that has a path."""
    import psutil

    tasks = int(_THREADS.read_text()) if _THREADS.exists() else _FEW
    there = next(p for p in (place, *place.parents) if p.exists())
    disk = psutil.disk_usage(str(there)).total
    return Machine(psutil.virtual_memory().total, psutil.cpu_count() or 1, tasks, disk)


def of(root: Root, app: str = "") -> Limits:
    """The limits of a root's apps, or of one app; an embedded root has the defaults, changed by its `limits.json`."""
    return limits(root.host_settings or HostSettings(limits=_own(root)), app, root.path)


def limits(settings: HostSettings, app: str = "", place: Path = Path("/")) -> Limits:
    """The limits that a host's settings give on this machine, whose apps are at `place`, for all apps or for one."""
    return resolve(measure(place), settings.limits, settings.app_limits.get(app, {}))


def _own(root: Root) -> dict[str, float]:
    path = root.path / "limits.json"
    restore = 'names as in `pushrod host limits`, `_` for `-`: {"tree_files": 200000}'
    return read_json(path, dict[str, float], restore=restore) if path.exists() else {}
