"""An app's gate: a directory on tmpfs whose files say what may be asked of the app. After a reboot there is none.

Standard library only, and copied below ROOT beside `bring_up`, as that is.
"""

import sys
from pathlib import Path

try:
    from pushrod.system import host_paths
except ImportError:  # a copy below ROOT: what it needs lies beside it
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import host_paths  # type: ignore[import-not-found, no-redef, unused-ignore]

GATES = host_paths.RUNTIME
"""See `names.GATES`: an app's directory here lets its instances start."""

UP = "up-"
"""See `names.UP`: with a release's number, a file in the directory that lets the edge send requests to it."""

STOPPED = "stopped"
"""See `names.STOPPED`: this file there has the watch leave the app alone."""


def open_gate(app: str) -> None:
    """Let the app's instances start: its stores have proved healthy."""
    if (GATES / app).is_file():
        (GATES / app).unlink()
    (GATES / app).mkdir(mode=0o755, exist_ok=True)
    (GATES / app / STOPPED).unlink(missing_ok=True)


def open_edge(app: str, number: int) -> None:
    """Let the edge send requests to the instances of a release: they have proved healthy."""
    (GATES / app / f"{UP}{number}").touch(mode=0o644)


def close_edge(app: str, number: int | None = None) -> None:
    """Have the edge say that the app is starting, until a release, or any, has proved healthy again."""
    for mark in (GATES / app).glob(f"{UP}*" if number is None else f"{UP}{number}"):
        mark.unlink(missing_ok=True)


def is_open(app: str, number: int) -> bool:
    """Whether the edge may send requests to the instances of a release."""
    return (GATES / app / f"{UP}{number}").exists()


def is_stopped(app: str) -> bool:
    """Whether the app's unit was stopped, and nothing has brought the app up since."""
    return (GATES / app / STOPPED).exists()
