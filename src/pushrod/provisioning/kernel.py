"""What the kernel counts for all apps together, made so large that each app's own memory ends first.

It counts some things by the number of an account, and root of a container has that of the host's, and some for the
whole machine. By default that is so few (128 watchers of files of one account, 65536 asynchronous reads in all) that
one container leaves none to other apps, nor to the host's systemd. Each of these things is memory of the control
group that makes it (measured: 0.7 kB a watcher, 0.2 kB a place in an epoll, 62 bytes a read), but for a neighbour, of
which there is room for many apps' share. Terminals are no such memory, and stay as few as they are.
"""

from pathlib import Path

from pushrod.core.errors import HostError
from pushrod.provisioning import work
from pushrod.provisioning.work import Change, Work
from pushrod.system import processes

SETTINGS = Path("/etc/sysctl.d/10-pushrod.conf")
"""An early one (sysctl.d(5)): what the owner says in a later one goes before it."""

LEAST = {
    "fs.aio-max-nr": 1 << 40,
    "fs.epoll.max_user_watches": 1 << 40,
    "fs.inotify.max_user_instances": (1 << 31) - 1,
    "fs.inotify.max_user_watches": (1 << 31) - 1,
    "net.ipv4.neigh.default.gc_thresh2": 1 << 15,
    "net.ipv4.neigh.default.gc_thresh3": 1 << 16,
}
"""The settings, each with the least that it is on a host."""

_PROGRAM = "/usr/lib/systemd/systemd-sysctl"
_HEAD = "# Written by `pushrod host init`. To change a setting, say it in a file with a later name.\n"
_TIMEOUT = 20.0  # seconds


def plan(places: Path = Path("/proc/sys")) -> list[Work]:
    """The file that is read at boot, and those settings that are lower now."""
    # A dash: what the kernel does not have, or a container may not set, is no failure of the others.
    text = _HEAD + "".join(f"-{name} = {value}\n" for name, value in LEAST.items())
    found = [work.file(SETTINGS, text.encode())]
    if names := lower(places):
        found.append(
            Work(Change("kernel settings", "changed", f"raised: {', '.join(names)}"), lambda: _set(names))
        )
    return found


def lower(places: Path = Path("/proc/sys")) -> list[str]:
    """The settings that this kernel has and that are too low."""
    return [name for name, least in LEAST.items() if 0 <= _value(places, name) < least]


def _value(places: Path, name: str) -> int:
    """A setting as it is; -1 where the kernel has none."""
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
            hint=f"{_PROGRAM} says more",
        )
