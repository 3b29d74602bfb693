"""An app's gate: a directory on tmpfs whose files state what the app is ready for. After a reboot it is gone.

Standard library only; copied below ROOT beside `bring_up`.
"""

import sys
from pathlib import Path

try:
    from pushrod.system import host_paths
except ImportError:  # the copy below ROOT has its modules in its own directory
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import host_paths  # type: ignore[import-not-found, no-redef, unused-ignore]

GATES = host_paths.RUNTIME
"""See `names.GATES`: an app's directory here lets its instances start."""

UP = "up-"
"""See `names.UP`: with a release's number, a file that lets the edge send requests to the release."""

STOPPED = "stopped"
"""See `names.STOPPED`: with this file the watchdog leaves the app alone."""


def open_gate(app: str) -> None:
    """Let the app's instances start: its stores have proved healthy."""
    if (GATES / app).is_file():
        (GATES / app).unlink()
    (GATES / app).mkdir(mode=0o755, exist_ok=True)
    (GATES / app / STOPPED).unlink(missing_ok=True)


def open_edge(app: str, number: int) -> None:
    """Let the edge send requests to a release's instances: they have proved healthy."""
    (GATES / app / f"{UP}{number}").touch(mode=0o644)


def close_edge(app: str, number: int | None = None) -> None:
    """Make the edge answer that the app is starting, until a release proves healthy again."""
    if (GATES / app).is_dir():  # something else in its place opens nothing
        for mark in (GATES / app).glob(f"{UP}*" if number is None else f"{UP}{number}"):
            mark.unlink(missing_ok=True)


def is_open(app: str, number: int) -> bool:
    """Whether the edge may send requests to a release's instances."""
    return (GATES / app / f"{UP}{number}").exists()


def is_stopped(app: str) -> bool:
    """Whether the app's unit was stopped and the app not started since."""
    return (GATES / app / STOPPED).exists()
