"""What a deployment will change, as values that can be shown before anything happens."""

from collections.abc import Mapping, Sequence
from typing import Literal

from pushrod.values import Instance, Release, Service, Value

Action = Literal["new", "changed", "removed", "same"]


class Change(Value, frozen=True):
    """One line of a plan: a service or store, what happens to it, and why."""

    what: Literal["service", "store"]
    name: str
    action: Action
    detail: str = ""


def compare(
    live: Release | None, services: Sequence[Service], stores: Sequence[Service], images: Mapping[str, str]
) -> list[Change]:
    """What changes from the live release to these services, stores and image identities."""
    changes = [_service(live, s, images.get(s.name, "")) for s in services]
    changes += [_store(live, s) for s in stores]
    if live is not None:
        changes += [_removed("service", s) for s in live.services if s.name not in _names(services)]
        changes += [_removed("store", s) for s in live.stores if s.name not in _names(stores)]
    return changes


def summary(changes: Sequence[Change], commands: Sequence[str]) -> str:
    """The plan in one line: what is new, changed or removed, and the release commands; empty where nothing is."""
    parts = []
    for action in ("new", "changed", "removed"):
        names = [c.name for c in changes if c.action == action]
        if names:
            parts.append(f"{action}: {', '.join(names)}")
    parts += [f"runs `{c}`" for c in commands]
    return "; ".join(parts)


def count(instances: Sequence[Instance]) -> str:
    """Instances by service, as people say it: `backend ×2, worker`."""
    services: dict[str, int] = {}
    for instance in instances:
        services[instance.service] = services.get(instance.service, 0) + 1
    return ", ".join(name if n == 1 else f"{name} ×{n}" for name, n in services.items())


def _service(live: Release | None, service: Service, image: str) -> Change:
    before = next((s for s in live.services if s.name == service.name), None) if live else None
    if live is None or before is None:
        return Change("service", service.name, "new", f"{service.replicas} × {service.role}")
    reasons = []
    if live.images[service.name].id != image:
        reasons.append("its dependencies are built anew")
    if before.replicas != service.replicas:
        reasons.append(f"{before.replicas} → {service.replicas} instances")
    if before.command != service.command:
        reasons.append("another command")
    detail = ", ".join(reasons) or "new code only"
    if service.release:
        detail += f"; runs `{' '.join(service.release)}` first"
    return Change("service", service.name, "changed" if reasons else "same", detail)


def _store(live: Release | None, store: Service) -> Change:
    known = live is not None and store.name in _names(live.stores)
    return Change("store", store.name, "same" if known else "new", store.image)


def _removed(what: Literal["service", "store"], service: Service) -> Change:
    detail = (
        "no longer used; it keeps running with its data" if what == "store" else "its instances are retired"
    )
    return Change(what, service.name, "removed", detail)


def _names(services: Sequence[Service]) -> set[str]:
    return {s.name for s in services}
