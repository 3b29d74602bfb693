"""What bounds an app's containers, and all apps together: slices, and what each has by drop-ins."""

from collections.abc import Mapping

from pushrod.adapters.systemd.manager import call, is_active
from pushrod.adapters.systemd.units import WRITTEN
from pushrod.core.limits import Limits

INSTANCES, STORES = "pushrod-app-", "pushrod-store-"
"""What the names of the slices begin with that hold an app's instances and its stores; apart, so that an instance
that takes all it can get leaves its own database what that needs."""


def slices(limits: Limits, apps: Mapping[str, Limits]) -> dict[str, str]:
    """What bounds an app's containers, all apps, and what each writes: files by their path below `DIRECTORY`.

    Docker asks systemd for a scope in a slice of the app's name, and systemd makes that slice: it takes no root. Its
    limits are a drop-in for whatever begins with that prefix (systemd.unit(5)); `apps` have their own.
    """
    found = {"pushrod.slice": _slice(_together(limits), unit=True)}
    found["pushrod-layers.service.d/10-limit.conf"] = (
        f"{WRITTEN}\n[Service]\nEnvironment=LIMIT={limits.layer}\n"
    )
    found["pushrod-.slice.d/10-shutdown.conf"] = f"{WRITTEN}\n[Unit]\n{_LASTING}"
    for name, its in {"": limits, **apps}.items():
        part = name.replace("-", "_")  # as in `names.slice`
        for kind in (INSTANCES, STORES):
            found[f"{kind}{part}.slice.d/{'50-app' if name else '10-pushrod'}.conf"] = _slice(
                bounds(kind, its)
            )
    return found


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
    """Give slices that are there what the files say, which systemd reads only when it makes one.

    `apps` are all apps of the host.
    """
    wanted = {"pushrod.slice": _together(limits)}
    for name, its in apps.items():
        wanted |= {f"{kind}{name.replace('-', '_')}.slice": bounds(kind, its) for kind in (INSTANCES, STORES)}
    for unit, properties in wanted.items():
        if is_active(unit):
            call(
                "set-property", "--runtime", unit, *(f"{name}={value}" for name, value in properties.items())
            )


def _together(limits: Limits) -> dict[str, int]:
    return {"MemoryMax": limits.all_memory, "CPUWeight": 100, "IOWeight": 100}


# By default a shutdown stops a slice at once (systemd.slice(5)), with every container in it, stores too, and beside
# the app's unit. That one first closes the edge, then stops instances, then stores, each within its grace.
_LASTING = "DefaultDependencies=no\n"


def _slice(properties: Mapping[str, int], *, unit: bool = False) -> str:
    described = f"[Unit]\nDescription=pushrod: the containers of all apps\n{_LASTING}\n" if unit else ""
    lines = "".join(f"{name}={value}\n" for name, value in properties.items())
    return f"{WRITTEN}\n{described}[Slice]\n{lines}"
