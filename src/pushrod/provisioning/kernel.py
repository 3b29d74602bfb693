"""Kernel limits shared by all apps, raised so far that each app's own memory limit is reached first.

The kernel counts some resources per user ID, and root in a container has the host's root ID; others it counts for
the whole machine. The defaults are so low (128 inotify instances per user, 65536 asynchronous reads in all) that
one container can leave none for other apps or for the host's systemd. Each such resource uses memory of the control
group that creates it (measured: 0.7 kB for a watcher, 0.2 kB for an epoll entry, 62 bytes for a read), except for
neighbour entries, for which the limit leaves room for many apps. Terminals do not use such memory, so their limit
stays.
"""

from pathlib import Path

from pushrod.core.errors import HostError
from pushrod.provisioning import changes
from pushrod.provisioning.changes import Change, Work
from pushrod.system import processes

SETTINGS = Path("/etc/sysctl.d/10-pushrod.conf")
"""An early file (sysctl.d(5)): the owner's settings in a later one override it."""

LEAST = {
    "fs.aio-max-nr": 1 << 40,
    "fs.epoll.max_user_watches": 1 << 40,
    "fs.inotify.max_user_instances": (1 << 31) - 1,
    "fs.inotify.max_user_watches": (1 << 31) - 1,
    "net.ipv4.neigh.default.gc_thresh2": 1 << 15,
    "net.ipv4.neigh.default.gc_thresh3": 1 << 16,
}
"""The settings with their minimum on a host."""

_PROGRAM = "/usr/lib/systemd/systemd-sysctl"
_HEAD = "# Written by `pushrod host init`. To change a setting, set it in a file with a later name.\n"
_TIMEOUT = 20.0  # seconds


def plan(places: Path = Path("/proc/sys")) -> list[Work]:
    """The file that is read at boot, and the settings that are currently too low."""
    # The dash ignores failures: the kernel may lack a setting, or a container may not change it.
    text = _HEAD + "".join(f"-{name} = {value}\n" for name, value in LEAST.items())
    works = [changes.file(SETTINGS, text.encode())]
    if names := lower(places):
        works.append(
            Work(Change("kernel settings", "changed", f"raised: {', '.join(names)}"), lambda: _set(names))
        )
    return works


def lower(places: Path = Path("/proc/sys")) -> list[str]:
    """The settings that this kernel has and that are too low."""
    return [name for name, least in LEAST.items() if 0 <= _value(places, name) < least]


def _value(places: Path, name: str) -> int:
    """The current value of a setting; -1 if the kernel does not have it."""
    try:
        return int((places / name.replace(".", "/")).read_text())
    except (OSError, ValueError):
        return -1


def _set(names: list[str]) -> None:
    done = processes.run([_PROGRAM, *(f"--prefix={name}" for name in names)], timeout=_TIMEOUT)
    if done.status != 0:
        raise HostError(
            f"the kernel's settings could not be raised: {done.stderr.strip() or f'status {done.status}'}",
            where=str(SETTINGS),
            hint=f"run {_PROGRAM} to see more",
        )
