"""What a manifest says of a store of an unknown kind, so that only a change of that recreates its container. Pure.

Compose recreates a container when its rendered definition changes. That differs from one version of pushrod to the
next, and with the host's limits, and such a store may have its data in its container. So the file of the stores
records a digest of what the manifest says of each, and a store whose digest is that of the running one stays as it
was rendered.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pushrod.core.values import Manifest
from pushrod.engines.docker import containers, rendering
from pushrod.engines.docker.containers import Document, Raw

_RECORD = "x-kept"
_WITHOUT_EFFECT = frozenset(("build", "depends_on", "profiles", "x-pushrod"))  # on the container of a store


def recorded(text: str, document: Document, manifest: Manifest, digest: Callable[[object], str]) -> str:
    """The rendered file of an app's stores with the record; `digest` is keyed, as the file is in Git."""
    kept = [s.name for s in manifest.stores if s.store is None]
    if not kept:
        return text
    services = rendering.services(text)
    record = {name: digest(_definition(document, name, services[name])) for name in kept}
    return text + rendering.dump({_RECORD: record})


def _definition(document: Document, name: str, service: Mapping[str, Any]) -> list[object]:
    """What the manifest says of a store, with its image and the contents of what it mounts, both by name."""
    raw = {k: v for k, v in containers.raw_of(document, name).items() if k not in _WITHOUT_EFFECT}
    sources = sorted(str(v["source"]) for v in service.get("volumes") or [] if containers.is_bind(v))
    return [raw, service["image"], sources, sorted(rendering.aliases(document, name))]


def unchanged(text: str, running: str) -> str:
    """The file of an app's stores, in which stores whose record is that of the running file have their definition
    from there.
    """
    new, old = rendering.loaded(text), rendering.loaded(running)
    record, known = new.get(_RECORD) or {}, old.get(_RECORD) or {}
    before = old.get("services") or {}
    same = [name for name, definition in record.items() if name in before and known.get(name) == definition]
    if all(new["services"][name] == before[name] for name in same):
        return text
    for name in same:
        new["services"][name] = before[name]
        for part, used in _used(before[name]).items():
            there = {key: (old.get(part) or {})[key] for key in used if key in (old.get(part) or {})}
            new[part] = {**there, **(new.get(part) or {})}
    return rendering.header(text) + rendering.written(new)


def _used(service: Raw) -> dict[str, list[str]]:
    """The networks and the volumes that a service names."""
    volumes = [v for v in service.get("volumes") or [] if isinstance(v, dict) and v.get("type") == "volume"]
    return {"networks": [*(service.get("networks") or {})], "volumes": [str(v["source"]) for v in volumes]}
