"""Whether systemd starts an app at boot: a link among its units, which a path unit watches."""

import os
from pathlib import Path

from pushrod.adapters import systemd
from pushrod.engines.docker import names
from pushrod.state.apps import App
from pushrod.system import files, waits

_PATIENCE = 15.0  # seconds in which systemd reloads its units and starts the enabled ones


def enable(app: App) -> bool:
    """Have systemd start the app at boot; returns whether that is a change.

    If another file was in the link's place, systemd has stopped the unit or is about to, so this waits until the unit
    is active again. The caller holds the app's lock, so neither touches the app meanwhile.
    """
    link = _link(app)
    if link.is_symlink():
        return False
    damaged = os.path.lexists(link)
    if damaged:  # not a file of the app, in a directory that systemd reads
        files.remove(link)
    before = systemd.ended("pushrod-apps.service") if damaged else ""
    files.point(link, "../pushrod-app@.service")
    if damaged:
        waits.wait_until(lambda: systemd.ended("pushrod-apps.service") != before, _PATIENCE, 0.2)
        waits.wait_until(lambda: systemd.is_active(link.name), _PATIENCE, 0.2)
    return True


def disable(app: App) -> bool:
    """Stop systemd from starting the app at boot; returns whether that is a change."""
    there = os.path.lexists(_link(app))
    if there:
        files.remove(_link(app))
    return there


def _link(app: App) -> Path:
    return names.UNITS / f"pushrod-app@{app.name}.service"
