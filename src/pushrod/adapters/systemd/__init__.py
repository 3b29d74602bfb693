"""systemd as pushrod drives it: the units of a host, rendered, and a few calls to the manager."""

from pushrod.adapters.systemd.boot_unit import BootUnit
from pushrod.adapters.systemd.manager import (
    attach,
    call,
    ended,
    is_active,
    is_enabled,
    journal,
    journal_entries,
)
from pushrod.adapters.systemd.slices import INSTANCES, STORES, rebound, slices
from pushrod.adapters.systemd.units import (
    DIRECTORY,
    GUARD,
    PYTHON,
    RUNTIME,
    TARGET,
    WANTS,
    Layout,
    mount_unit,
    mounts,
    render,
    render_exporters,
    render_monitor,
    render_web,
    tmpfiles,
)

__all__ = [
    "DIRECTORY",
    "GUARD",
    "INSTANCES",
    "PYTHON",
    "RUNTIME",
    "STORES",
    "TARGET",
    "WANTS",
    "BootUnit",
    "Layout",
    "attach",
    "call",
    "ended",
    "is_active",
    "is_enabled",
    "journal",
    "journal_entries",
    "mount_unit",
    "mounts",
    "rebound",
    "render",
    "render_exporters",
    "render_monitor",
    "render_web",
    "slices",
    "tmpfiles",
]
