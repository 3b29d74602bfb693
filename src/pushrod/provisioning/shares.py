"""What one key may take of a host: each key's calls share a unit of their own, and only so many run at once.

`pushrod-gate@KEY.service` runs nothing. It is a control group with limits, delegated to the account: systemd lets
the account move its own processes there (AttachProcessesToUnit, org.freedesktop.systemd1(5)), which needs no root and
nothing that stays resident. What the gate starts is there too: children are born in their parent's group.
"""

import contextlib
import fcntl
import os
import resource
from collections.abc import Iterator, Sequence
from pathlib import Path

from pushrod.adapters import systemd
from pushrod.core.errors import BusyError, HostError
from pushrod.provisioning.work import Change, Work
from pushrod.state.apps import Root
from pushrod.system import files, waits

PARALLEL = 8
"""Calls of one key at once: a push, somebody who follows logs, a shell in an instance, and room for more."""

_PATIENCE = 5.0  # seconds for the unit of a key that was added just now

# A second line, for each process by itself. Not the number of processes: the kernel counts all of the account's, and
# those of containers whose user happens to have its number, so that one key could use up what all others have.
_RLIMITS = (
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_CPU, 3600),  # seconds of processor time
    (resource.RLIMIT_NOFILE, 4096),
    (
        resource.RLIMIT_AS,
        16 << 30,
    ),  # bytes; Docker's programs reserve more than a gigabyte that they never use
)


def unit(key: str) -> str:
    """The unit that the calls of a key are in. Of what a key's name may hold only `+` has no place in a unit's."""
    return f"pushrod-gate@{key.replace('+', chr(92) + 'x2b')}.service"


def enter(key: str) -> None:
    """Move this process into its key's limits, for good. HostError where the unit is not active."""
    for kind, most in _RLIMITS:
        hard = resource.getrlimit(kind)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (least, least))
    said: list[str] = []

    def entered() -> bool:
        said[:] = [systemd.attach(unit(key), os.getpid())]
        return not said[0]

    if not waits.wait_until(entered, _PATIENCE, 0.2):
        raise HostError(
            f"the limits of this key are not there: {said[0]}",
            where=unit(key),
            hint="on the host, as root: pushrod host init",
        )


@contextlib.contextmanager
def turn(root: Root, key: str) -> Iterator[int]:
    """Have one of the turns of a key, PARALLEL in all: a lock on the open file that is yielded, gone with the last
    process that has it. Raises BusyError where all are taken."""
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
        f"{PARALLEL} calls of the key {key} run already, which is the most at once",
        hint="wait for one to end (a push, `logs -f`, a shell by `exec`), then ask again",
    )


# ---- the units of the keys ----------------------------------------------------------------------------------------


def allot(key: str) -> None:
    """Give a key its unit, for after a reboot too. Where root asks it is active at once, else by the path unit."""
    files.point(systemd.WANTED / unit(key), "../pushrod-gate@.service")
    if os.geteuid() == 0:
        systemd.call("daemon-reload")
        systemd.call("start", unit(key))


def withdraw(key: str) -> None:
    """Take a key's unit away, and with it whatever of its calls still runs."""
    (systemd.WANTED / unit(key)).unlink(missing_ok=True)
    if os.geteuid() == 0:
        systemd.call("daemon-reload")
        systemd.call("stop", unit(key), timeout=120)


def plan(keys: Sequence[str]) -> list[Work]:
    """A unit for each key that has none: of a host that was made before there were any."""
    missing = [key for key in keys if not (systemd.WANTED / unit(key)).is_symlink()]
    if not missing:
        return []

    def carry_out() -> None:
        for key in missing:
            files.point(systemd.WANTED / unit(key), "../pushrod-gate@.service")

    return [Work(Change("limits of keys", "new", ", ".join(missing)), carry_out)]
