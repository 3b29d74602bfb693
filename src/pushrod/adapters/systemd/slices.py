"""Limits of an app's containers, and of all apps together: slices, configured by drop-ins."""

from collections.abc import Mapping

from pushrod.adapters.systemd.manager import call, is_active
from pushrod.adapters.systemd.units import WRITTEN
from pushrod.core.limits import Limits

INSTANCES, STORES = "pushrod-app-", "pushrod-store-"
"""Prefixes of the slices with an app's instances and its stores; separate, so that an instance at its limit leaves
its own database enough.
"""


def slices(limits: Limits, apps: Mapping[str, Limits]) -> dict[str, str]:
    """The limits of an app's containers, of all apps, and of each container's disk writes: files by their path below
    `DIRECTORY`.

    Docker asks systemd for a scope in a slice named after the app, and systemd creates that slice, without root. Its
    limits are a drop-in for every name with that prefix (systemd.unit(5)); `apps` have their own.
    """
    files = {"pushrod.slice": _slice(_together(limits), unit=True)}
    files["pushrod-layers.service.d/10-limit.conf"] = (
        f"{WRITTEN}\n[Service]\nEnvironment=LIMIT={limits.layer}\n"
    )
    files["pushrod-.slice.d/10-shutdown.conf"] = f"{WRITTEN}\n[Unit]\n{_LASTING}"
    for name, its in {"": limits, **apps}.items():
        part = name.replace("-", "_")  # as in `names.slice`
        for kind in (INSTANCES, STORES):
            files[f"{kind}{part}.slice.d/{'50-app' if name else '10-pushrod'}.conf"] = _slice(
                bounds(kind, its)
            )
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


# By default a shutdown stops a slice at once (systemd.slice(5)), with every container in it, including stores, at the
# same time as the app's unit. The unit first closes the edge, then stops instances, then stores, each within its
# grace period.
_LASTING = "DefaultDependencies=no\n"


def _slice(properties: Mapping[str, int], *, unit: bool = False) -> str:
    described = f"[Unit]\nDescription=pushrod: the containers of all apps\n{_LASTING}\n" if unit else ""
    lines = "".join(f"{name}={value}\n" for name, value in properties.items())
    return f"{WRITTEN}\n{described}[Slice]\n{lines}"
