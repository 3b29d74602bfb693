"""Limits of an app's containers, and of all apps together: slices, configured by drop-ins."""

from collections.abc import Mapping
from pathlib import Path

from pushrod.adapters.systemd.manager import call, is_active
from pushrod.adapters.systemd.units import WRITTEN
from pushrod.adapters.templates import fill, read
from pushrod.core.limits import Limits

INSTANCES, STORES = "pushrod-app-", "pushrod-store-"
"""Prefixes of the slices with an app's instances and its stores; separate, so that an instance at its limit leaves
its own database enough.
"""

_FILES = Path(__file__).with_name("files") / "slices"


def slices(limits: Limits, apps: Mapping[str, Limits]) -> dict[str, str]:
    """The limits of an app's containers, of all apps, and of each container's disk writes: files by their path below
    `DIRECTORY`.

    Docker asks systemd for a scope in a slice named after the app, and systemd creates that slice, without root. Its
    limits are a drop-in for every name with that prefix (systemd.unit(5)); `apps` have their own.
    """
    files = {
        "pushrod.slice": _filled("pushrod.slice", properties=_lines(_together(limits))),
        "pushrod-layers.service.d/10-limit.conf": _filled("10-limit.conf", layer=str(limits.layer)),
        "pushrod-.slice.d/10-shutdown.conf": _filled("10-shutdown.conf"),
    }
    for name, its in {"": limits, **apps}.items():
        part = name.replace("-", "_")  # as in `names.slice`
        for kind in (INSTANCES, STORES):
            drop_in = f"{kind}{part}.slice.d/{'50-app' if name else '10-pushrod'}.conf"
            files[drop_in] = _filled("limits.conf", properties=_lines(bounds(kind, its)))
    return files


def bounds(kind: str, limits: Limits) -> dict[str, int]:
    """The properties (systemd.resource-control(5)) of a slice of instances or of stores."""
    if kind == INSTANCES:
        return {
            "MemoryMax": limits.app_memory,
            "TasksMax": limits.app_tasks,
            "CPUWeight": 100,
            "IOWeight": 100,
        }
    return {
        "MemoryMax": limits.store_memory,
        "TasksMax": limits.store_tasks,
        "CPUWeight": 200,
        "IOWeight": 200,
    }


def rebound(limits: Limits, apps: Mapping[str, Limits]) -> None:
    """Apply the files' values to existing slices: systemd reads them only when it creates a slice.

    `apps` are all apps of the host.
    """
    properties_of = {"pushrod.slice": _together(limits)}
    for name, its in apps.items():
        properties_of |= {
            f"{kind}{name.replace('-', '_')}.slice": bounds(kind, its) for kind in (INSTANCES, STORES)
        }
    for unit, properties in properties_of.items():
        if is_active(unit):
            call(
                "set-property", "--runtime", unit, *(f"{name}={value}" for name, value in properties.items())
            )


def _together(limits: Limits) -> dict[str, int]:
    return {"MemoryMax": limits.all_memory, "CPUWeight": 100, "IOWeight": 100}


def _lines(properties: Mapping[str, int]) -> str:
    return "\n".join(f"{name}={value}" for name, value in properties.items())


def _filled(name: str, **values: str) -> str:
    return f"{WRITTEN}\n{fill(read(_FILES / name), **values)}"
