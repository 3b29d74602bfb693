"""What a deployment will change, as values that can be shown before it starts."""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from pushrod.core.errors import HostError
from pushrod.core.traits import BY_NAME
from pushrod.core.values import Instance, Release, Service, Value

Action = Literal["new", "changed", "removed", "same"]


class Change(Value, frozen=True):
    """One line of a plan: a service, store or image, what happens to it, and why."""

    what: Literal["service", "store", "image"]
    name: str
    action: Action
    detail: str = ""


class Need(Value, frozen=True):
    """What a deployment needs of a machine resource and how much of it is free, in bytes; `why` says what needs
    it."""

    what: Literal["memory", "disk"]
    required: int = msgspec.field(name="wanted")
    free: int
    why: str

    @property
    def met(self) -> bool:
        """Whether there is enough."""
        return self.required <= self.free


class Plan(Value, frozen=True):
    """What deploying a commit would do. `lacking` are variables in `.env.example` for which nothing provides a
    value; `because` says which service is the entry, and why."""

    because: str
    app: str
    commit: str
    changes: list[Change]
    needs: list[Need]
    notes: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()


def refuse_unmet(needs: Sequence[Need]) -> None:
    """Raise HostError for the first need that exceeds what is free."""
    for need in needs:
        if not need.met:
            raise HostError(
                f"it does not fit: {need.required >> 20} MiB of {need.what} are needed, "
                f"{need.free >> 20} MiB are free",
                where=need.why,
                hint="free some (`pushrod prune`, fewer replicas), or give the machine more; nothing was started",
            )


def compare(
    live: Release | None, services: Sequence[Service], stores: Sequence[Service], images: Mapping[str, str]
) -> list[Change]:
    """The changes from the live release to these services, stores and image identities."""
    changes = [_service(live, s, images.get(s.name, "")) for s in services]
    changes += [_store(live, s) for s in stores]
    if live is not None:
        changes += [_removed("service", s) for s in live.services if s.name not in _names(services)]
        changes += [_removed("store", s) for s in live.stores if s.name not in _names(stores)]
    return changes


def summary(changes: Sequence[Change], commands: Sequence[str]) -> str:
    """The plan in one line: what is new, changed or removed, and the release commands; empty if nothing changes."""
    parts = []
    for action in ("new", "changed", "removed"):
        names = [c.name for c in changes if c.action == action]
        if names:
            parts.append(f"{action}: {', '.join(names)}")
    parts += [f"runs `{c}`" for c in commands]
    return "; ".join(parts)


def count(instances: Sequence[Instance]) -> str:
    """Instances grouped by service for display: `backend ×2, worker`."""
    services: dict[str, int] = {}
    for instance in instances:
        services[instance.service] = services.get(instance.service, 0) + 1
    return ", ".join(name if n == 1 else f"{name} ×{n}" for name, n in services.items())


def _service(live: Release | None, service: Service, image: str) -> Change:
    before = next((s for s in live.services if s.name == service.name), None) if live else None
    if live is None or before is None:
        return Change("service", service.name, "new", _new_detail(service))
    reasons = []
    if image not in (live.images[service.name].id, live.images[service.name].location):
        embedded = not BY_NAME[
            live.engine
        ].containers  # there an image holds the dependencies without the code
        reasons.append("its dependencies are reinstalled" if embedded else "its image is rebuilt")
    if before.replicas != service.replicas:
        reasons.append(f"{before.replicas} → {service.replicas} instances")
    if before.command != service.command:
        reasons.append("another command")
    detail = ", ".join(reasons) or "new code only"
    if service.release:
        detail += f"; runs `{' '.join(service.release)}` first"
    return Change("service", service.name, "changed" if reasons else "same", detail)


def _new_detail(service: Service) -> str:
    if service.role == "job":
        return "runs once before the instances"
    return f"{service.replicas} × {service.role}"


def _store(live: Release | None, store: Service) -> Change:
    before = next((s for s in live.stores if s.name == store.name), None) if live else None
    if live is None or before is None:
        return Change("store", store.name, "new", store.image)
    if BY_NAME[live.engine].containers and before.image != store.image:
        return Change("store", store.name, "changed", f"{before.image} → {store.image}, in place")
    if before.settings != store.settings:
        differing = {*before.settings.items()} ^ {*store.settings.items()}
        names = ", ".join(sorted({name for name, _ in differing}))
        return Change("store", store.name, "changed", f"other settings, without a restart: {names}")
    return Change("store", store.name, "same", store.image)


def waiting(store: str, settings: Sequence[str]) -> Change:
    """A store with settings that its server takes only when it starts: a deployment does not restart it for them."""
    what = ", ".join(settings)
    return Change(
        "store", store, "same", f"{what} take effect when it starts next: `pushrod down`, `pushrod restart`"
    )


def _removed(what: Literal["service", "store"], service: Service) -> Change:
    detail = (
        "no longer used; it keeps running with its data" if what == "store" else "its instances are retired"
    )
    return Change(what, service.name, "removed", detail)


def _names(services: Sequence[Service]) -> set[str]:
    return {s.name for s in services}
