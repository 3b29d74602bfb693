"""Whether systemd brings an app back when the machine starts: a link among its units, which a path unit watches."""

from pathlib import Path

from pushrod.engines.docker import names
from pushrod.state.apps import App
from pushrod.system import files


def enable(app: App) -> None:
    """Have systemd bring the app back."""
    if not _link(app).is_symlink():
        files.point(_link(app), "../pushrod-app@.service")


def disable(app: App) -> None:
    """Have systemd leave the app down."""
    if _link(app).is_symlink():
        _link(app).unlink()


def _link(app: App) -> Path:
    return names.UNITS / f"pushrod-app@{app.name}.service"
