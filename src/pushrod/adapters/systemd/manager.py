"""Calls to systemd's manager and queries of its journal."""

import json
from collections.abc import Sequence

from pushrod.core.errors import HostError
from pushrod.system import processes

_TIMEOUT = 60.0  # seconds for one call of systemctl; it does not wait for an app to start


def call(*argv: str, timeout: float = _TIMEOUT) -> str:
    """Run systemctl and return its output. Raises HostError with its message if it fails."""
    done = processes.run(["systemctl", *argv], timeout=timeout)
    if done.status != 0:
        raise failed(argv, done, log=journal(argv[-1]) if argv[-1].startswith("pushrod") else ())
    return done.stdout.strip()


def failed(
    argv: Sequence[str],
    done: processes.Completed,
    *,
    unit: str = "",
    where: str = "",
    log: Sequence[str] = (),
) -> HostError:
    """The error for a call of systemctl that failed; by default its last argument is the unit."""
    option = "--user " if "--user" in argv else ""
    return HostError(
        f"systemctl {' '.join(argv)} failed: {done.stderr.strip() or f'status {done.status}'}",
        where=where,
        hint=f"`journalctl {option}-e -u {unit or argv[-1]}` shows more",
        log=tuple(log),
    )


def attach(unit: str, process: int) -> str:
    """Move one of our processes into the control group of a unit that is delegated to us; returns the manager's
    objection, empty on success (org.freedesktop.systemd1(5)).
    """
    manager = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
    call = ("AttachProcessesToUnit", "ssau", unit, "", "1", str(process))
    done = processes.run(["busctl", "--system", "--quiet", "call", *manager, *call], timeout=_TIMEOUT)
    return "" if done.status == 0 else done.stderr.strip() or f"busctl ended with status {done.status}"


def is_active(unit: str) -> bool:
    """Whether a unit is active now."""
    return processes.run(["systemctl", "is-active", "--quiet", unit], timeout=_TIMEOUT).status == 0


def ended(unit: str) -> str:
    """The time at which a unit's program last ended, by the kernel's clock."""
    argv = ["systemctl", "show", "--value", "--property=ExecMainExitTimestampMonotonic", unit]
    return processes.run(argv, timeout=_TIMEOUT).stdout.strip()


def journal_entries(identifier: str) -> list[tuple[int, str]]:
    """The journal's entries with an identifier, each with the user who wrote it, oldest first; only those we may
    read.
    """
    argv = ["journalctl", "--no-pager", "--output=json", "--output-fields=MESSAGE,_UID"]
    done = processes.run([*argv, f"--identifier={identifier}"], timeout=_TIMEOUT)
    entries = []
    for line in done.stdout.splitlines():
        entry = json.loads(line)
        if isinstance(text := entry.get("MESSAGE"), str):
            entries.append((int(entry.get("_UID", -1)), text))
    return entries


def is_enabled(unit: str) -> bool:
    """Whether a unit starts at boot."""
    return processes.run(["systemctl", "is-enabled", "--quiet", unit], timeout=_TIMEOUT).status == 0


def journal(unit: str, lines: int = 10) -> tuple[str, ...]:
    """The last lines that a unit has logged."""
    argv = ["journalctl", "--no-pager", "--output=cat", f"--lines={lines}", f"--unit={unit}"]
    return tuple(processes.run(argv, timeout=_TIMEOUT).stdout.splitlines())
