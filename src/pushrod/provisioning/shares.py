"""Limits of one key on a host: its calls share a unit of their own, and only so many run at once.

`pushrod-gate@KEY.service` runs no process. It is a control group with limits, delegated to the account: systemd
lets the account move its own processes into it (AttachProcessesToUnit, org.freedesktop.systemd1(5)), which needs
neither root nor a resident process. Processes that the gate starts are in it too: children start in their parent's
group.
"""

import contextlib
import fcntl
import os
import resource
from collections.abc import Iterator, Sequence
from pathlib import Path

from pushrod.adapters import systemd
from pushrod.core.errors import BusyError, HostError
from pushrod.provisioning.changes import Change, Work
from pushrod.state.apps import Root
from pushrod.system import files, waits

PARALLEL = 8
"""Calls of one key at once: a push, a `logs --follow`, a shell in an instance, and some room."""

_PATIENCE = 5.0  # seconds for the unit of a key that was just added

# A second limit, per process. The number of processes is not limited here: the kernel counts all of the account's
# together, and those of containers whose user happens to have its ID, so one key could use up everyone's.
_RLIMITS = (
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_CPU, 3600),  # seconds of processor time
    (resource.RLIMIT_NOFILE, 4096),
    (
        resource.RLIMIT_AS,
        16 << 30,
    ),  # bytes; Docker's programs reserve more than a gigabyte of address space that they never use
)


def unit(key: str) -> str:
    """The unit of a key's calls. Of the characters in a key's name, only `+` is not valid in a unit name."""
    return f"pushrod-gate@{key.replace('+', chr(92) + 'x2b')}.service"


def enter(key: str) -> None:
    """Move this process permanently into its key's limits. Raises HostError if the unit is not active."""
    for kind, most in _RLIMITS:
        hard = resource.getrlimit(kind)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (least, least))
    problem: list[str] = []

    def entered() -> bool:
        problem[:] = [systemd.attach(unit(key), os.getpid())]
        return not problem[0]

    if not waits.wait_until(entered, _PATIENCE, 0.2):
        raise HostError(
            f"the limits of this key are not active: {problem[0]}",
            where=unit(key),
            hint="on the host, as root: pushrod host init",
        )


@contextlib.contextmanager
def turn(root: Root, key: str) -> Iterator[int]:
    """Hold one of the PARALLEL slots of a key: a lock on the yielded file descriptor, released when the last
    process that has it ends. Raises BusyError if all are taken."""
    number = _take(files.make_private(root.runtime / "gate"), key)
    try:
        yield number
    finally:
        os.close(number)


def _take(directory: Path, key: str) -> int:
    for place in range(PARALLEL):
        path = directory / f"{key}.{place}"
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return number
        except BlockingIOError:
            os.close(number)
    raise BusyError(
        f"the key {key} has {PARALLEL} running calls, which is the limit",
        hint="wait for one to end (a push, `logs -f`, a shell by `exec`), then try again",
    )


# ---- the units of the keys ----------------------------------------------------------------------------------------


def allot(key: str) -> None:
    """Give a key its unit, permanently. Root activates it at once; otherwise the path unit does."""
    files.point(systemd.WANTS / unit(key), "../pushrod-gate@.service")
    if os.geteuid() == 0:
        systemd.call("daemon-reload")
        systemd.call("start", unit(key))


def withdraw(key: str) -> None:
    """Remove a key's unit, which ends those of its calls that still run."""
    (systemd.WANTS / unit(key)).unlink(missing_ok=True)
    if os.geteuid() == 0:
        systemd.call("daemon-reload")
        systemd.call("stop", unit(key), timeout=120)


def plan(keys: Sequence[str]) -> list[Work]:
    """A unit for each key that has none, on a host older than these units."""
    missing = [key for key in keys if not (systemd.WANTS / unit(key)).is_symlink()]
    if not missing:
        return []

    def carry_out() -> None:
        for key in missing:
            files.point(systemd.WANTS / unit(key), "../pushrod-gate@.service")

    return [Work(Change("limits of keys", "new", ", ".join(missing)), carry_out)]
