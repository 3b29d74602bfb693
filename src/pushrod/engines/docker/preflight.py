"""What a deployment will do on this host, and whether there is room for it, determined before it begins."""

import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import yaml

from pushrod.adapters import docker
from pushrod.core import plan
from pushrod.core.errors import StoreError
from pushrod.core.plan import Change, Need
from pushrod.core.values import Diagnostic, Manifest, Service
from pushrod.engines.docker import containers, definitions, environment, images, names, rendering
from pushrod.engines.docker.stores import Stores
from pushrod.state.apps import App
from pushrod.state.secrets import Secrets
from pushrod.system import files

_INSTANCE = 128 << 20  # bytes of memory for an instance without any measurement
_IMAGE = 600 << 20  # bytes of disk for an image that was never here
_SPARE_MEMORY = 64 << 20
_SPARE_DISK = 300 << 20  # bytes that stay free for databases and logs
Document = Mapping[str, Any]


def image_changes(app: App, commit: str, manifest: Manifest) -> list[Change]:
    """What happens to each image: built, pulled, or reused."""
    changes = []
    for service in (*manifest.stateless, *manifest.stores):
        name = images.identify(app, commit, service)
        if images.is_here(app, commit, service):
            changes.append(Change("image", service.name, "same", f"{name} exists already"))
        else:
            how = "built" if service.build else "pulled"
            changes.append(Change("image", service.name, "new", f"{how}: {name}"))
    return changes


def store_changes(
    app: App, commit: str, manifest: Manifest, place: containers.Place, document: Document
) -> list[Change]:
    """The stores that will be recreated on their data, each with a short pause of the app.

    Stores that are built, or whose image is not here yet, are only known afterwards: nothing is reported for them.
    """
    before = _running(app)
    here = {s.name: images.existing(app, s) for s in manifest.stores if s.image}
    if not before or not all(here.values()) or any(s.build for s in manifest.stores):
        return []
    parts = {s.name: images.of_pulled(app, s) for s in manifest.stores}
    text = rendering.stores(place, manifest, document, parts)
    text = definitions.recorded(text, document, manifest, Secrets(app).digest)
    text = definitions.unchanged(text, _running_text(app))
    after = rendering.services(Stores(app).upgraded(text, sys.maxsize, commit))
    return [
        Change("store", name, "changed", _changed(manifest.service(name)))
        for name in after
        if name in before and (before[name] != after[name] or _other_environment(app, manifest.service(name)))
    ]


def waiting(
    app: App, manifest: Manifest, restarting: Collection[str], containers: Sequence[docker.Container]
) -> list[Change]:
    """The stores with settings that they take only when they start next, except those that restart now.
    `containers` are the app's."""
    settings: Mapping[str, Sequence[str]] = {}
    with suppress(StoreError):  # a store that does not answer is the deployment's to start
        settings = Stores(app).waiting(manifest, containers)
    return [
        plan.waiting(name, settings[name]) for name in settings if settings[name] and name not in restarting
    ]


def _running(app: App) -> dict[str, Any]:
    """The services of the running stores; none if their file is missing or damaged: the next start writes it
    again.
    """
    with suppress(ValueError, yaml.YAMLError, KeyError, TypeError):
        return rendering.services(_running_text(app))
    return {}


def _running_text(app: App) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return names.running_stores(app).read_text()
    return ""


def _changed(store: Service) -> str:
    lost = "; what it keeps outside its volumes is lost" if store.keeps else ""
    return f"its definition changed: it restarts on its data{lost}"


def _other_environment(app: App, store: Service) -> bool:
    path = names.store_environment(app, store.name)
    return path.is_file() and path.read_text() != environment.render(Stores(app).environment(store))


def needs(
    app: App, commit: str, manifest: Manifest, document: Document, running: Sequence[docker.Container]
) -> list[Need]:
    """Memory for the new instances beside the old ones, and disk for missing images, compared with what is free.
    `running` are the app's containers."""
    memory = sum(s.replicas * _memory(s, document, running) for s in manifest.stateless if s.role != "job")
    memory += sum(_memory(s, document, []) for s in manifest.stores if not _runs(s, running))
    disk = sum(_disk(app, commit, s) for s in (*manifest.stateless, *manifest.stores))
    free = psutil.virtual_memory().available
    return [
        Need(
            "memory",
            memory + _SPARE_MEMORY,
            free,
            "new instances run beside the old until those have drained",
        ),
        Need("disk", disk + _SPARE_DISK if disk else 0, files.free_space(_place()), f"images, at {_place()}"),
    ]


def space() -> Diagnostic:
    """Whether there is room for one more image in the engine's storage, for `pushrod doctor`."""
    free = files.free_space(_place())
    low = free < _IMAGE + _SPARE_DISK
    detail = f"{free // 1_000_000} MB free at {_place()}, where images and the stores' data are"
    fix = (
        "free some: `docker system df` shows what uses it, `pushrod prune` removes what no kept release needs"
    )
    return Diagnostic("disk", "warning", detail, fix) if low else Diagnostic("disk", "ok", detail)


def _place() -> Path:
    """Where the engine stores images, and the volumes with the stores' data."""
    return Path(docker.info()["DockerRootDir"])


def _memory(service: Service, document: Document, running: Sequence[docker.Container]) -> int:
    """The memory of one instance: the manifest's reservation, else what a running one uses, else a guess."""
    raw = (document.get("services") or {}).get(service.name) or {}
    reservations = (((raw.get("deploy") or {}).get("resources")) or {}).get("reservations") or {}
    if reserved := str(reservations.get("memory") or raw.get("mem_reservation") or ""):
        return int(reserved)  # Compose writes sizes in bytes
    mine = [c for c in running if c.labels.get(docker.SERVICE) == service.name and c.running]
    used = max((_resident(c.pid) for c in mine), default=0)
    guess = used or _INSTANCE
    return min(guess, service.memory) if service.memory else guess


def _resident(pid: int) -> int:
    """Resident bytes of a process and all below it; shared pages count more than once."""
    try:
        parent = psutil.Process(pid)
        return sum(p.memory_info().rss for p in (parent, *parent.children(recursive=True)))
    except psutil.Error:
        return 0


def _runs(store: Service, running: Sequence[docker.Container]) -> bool:
    return any(c.labels.get(docker.SERVICE) == store.name and docker.RELEASE not in c.labels for c in running)


def _disk(app: App, commit: str, service: Service) -> int:
    """The disk space for a missing image: the size of the previous one, including layers they share."""
    if images.is_here(app, commit, service):
        return 0
    own = names.image(app, service.name, "")
    before = [docker.image(tag) for tag in docker.tags(names.images(app)) if tag.startswith(own)]
    return max((image["Size"] for image in before if image), default=_IMAGE)
