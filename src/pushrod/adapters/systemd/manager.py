"""The questions asked of systemd's manager and its journal, and the few orders given."""

import json

from pushrod.core.errors import HostError
from pushrod.system import processes

_TIMEOUT = 60.0  # seconds for one call of systemctl; starting an app is not waited for


def call(*argv: str, timeout: float = _TIMEOUT) -> str:
    """Run systemctl and return what it printed; HostError with its own words if it fails."""
    done = processes.run(["systemctl", *argv], timeout=timeout)
    if done.status != 0:
        raise HostError(
            f"systemctl {' '.join(argv)} failed: {done.stderr.strip() or f'status {done.status}'}",
            hint=f"`journalctl -e -u {argv[-1]}` says more",
            log=journal(argv[-1]) if argv[-1].startswith("pushrod") else (),
        )
    return done.stdout.strip()


def attach(unit: str, process: int) -> str:
    """Move a process of ours into the control group of a unit that is delegated to us; what the manager says against
    it, nothing where it is done (org.freedesktop.systemd1(5))."""
    manager = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
    call = ("AttachProcessesToUnit", "ssau", unit, "", "1", str(process))
    done = processes.run(["busctl", "--system", "--quiet", "call", *manager, *call], timeout=_TIMEOUT)
    return "" if done.status == 0 else done.stderr.strip() or f"busctl ended with status {done.status}"


def is_active(unit: str) -> bool:
    """Whether a unit is active now."""
    return processes.run(["systemctl", "is-active", "--quiet", unit], timeout=_TIMEOUT).status == 0


def ended(unit: str) -> str:
    """When the program of a unit last ended, by the clock of the kernel."""
    argv = ["systemctl", "show", "--value", "--property=ExecMainExitTimestampMonotonic", unit]
    return processes.run(argv, timeout=_TIMEOUT).stdout.strip()


def told(identifier: str) -> list[tuple[int, str]]:
    """What the system's journal was told under a name, with the user who told it, oldest first; what we may read."""
    argv = ["journalctl", "--no-pager", "--output=json", "--output-fields=MESSAGE,_UID"]
    done = processes.run([*argv, f"--identifier={identifier}"], timeout=_TIMEOUT)
    found = []
    for line in done.stdout.splitlines():
        entry = json.loads(line)
        if isinstance(text := entry.get("MESSAGE"), str):
            found.append((int(entry.get("_UID", -1)), text))
    return found


def is_enabled(unit: str) -> bool:
    """Whether a unit comes back at boot."""
    return processes.run(["systemctl", "is-enabled", "--quiet", unit], timeout=_TIMEOUT).status == 0


def journal(unit: str, lines: int = 10) -> tuple[str, ...]:
    """The last lines that a unit has logged."""
    argv = ["journalctl", "--no-pager", "--output=cat", f"--lines={lines}", f"--unit={unit}"]
    return tuple(processes.run(argv, timeout=_TIMEOUT).stdout.splitlines())
