"""Volumes of the app's own for directories that have one without a name: in the manifest (`volumes: [/data]`), or by
`VOLUME` in an image. Pure.

Compose gives a new container the anonymous volumes of the container that it replaces, so data in them survive
each `docker compose up`. Here the containers of two releases exist at once, so such a volume has a name, from the
instance and the path, and is used from release to release like one that the manifest names.
"""

import hashlib
import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pushrod.core.values import Service
from pushrod.engines.docker import containers
from pushrod.engines.docker.containers import Document, Parts
from pushrod.manifest import named_volumes

# Characters of a volume's key: with the app's name it is the name of a directory, of at most 255 bytes.
_LONGEST = 200


def key(store: str, path: str) -> str:
    """The key of a store's volume."""
    name = f"{store}-{_slug(path)}"
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 9]}-{_digest(path)}"


def instance_key(instance: str, path: str) -> str:
    """The key of an instance's volume. The digest distinguishes it from all others, whatever services and paths the
    manifest has."""
    return f"{instance}-{_slug(path)}"[: _LONGEST - 9] + f"-{_digest(f'{instance}:{path}')}"


def _slug(path: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_.]+", "-", path).strip("-")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def of_store(document: Document, store: Service, image: Parts) -> list[str]:
    """The directories of a store that have an anonymous volume."""
    mounts = [v for v in containers.mounted(document, store.name) if isinstance(v, dict)]
    paths = [*image.data, *(str(v["target"]) for v in mounts if is_anonymous(v))]
    taken = _taken(document, store.name, [v for v in mounts if not is_anonymous(v)])
    return [
        p for p in dict.fromkeys(path.rstrip("/") for path in paths) if posixpath.normpath(p) not in taken
    ]


def of_instance(document: Document, service: Service, image: Parts) -> list[str]:
    """The directories of a service whose anonymous volumes outlive its instances.

    Not those of dependencies and caches. And not those in which an image that is built here has files: these are part
    of the release, and a kept volume would hide each newer version of them.
    """
    return [p for p in candidates(document, service, image.data) if p not in image.filled]


def candidates(document: Document, service: Service, declared: Sequence[str]) -> list[str]:
    """The same, whatever is in the image; `declared` are the volumes that the image declares."""
    if service.role not in ("entry", "worker"):  # a job ends with its work
        return []
    mounts = [v for v in containers.mounted(document, service.name) if isinstance(v, dict)]
    written = [v for v in mounts if is_anonymous(v) and not v.get("read_only")]
    taken = _taken(document, service.name, [v for v in mounts if v not in written])
    paths = dict.fromkeys(
        posixpath.normpath(path) for path in (*(str(v["target"]) for v in written), *declared)
    )
    return [p for p in paths if p not in taken and named_volumes.may_hold_data(p)]


def _taken(document: Document, name: str, mounts: Sequence[Mapping[str, Any]]) -> set[str]:
    """The targets of these mounts of a service, and of its file systems in memory."""
    tmpfs = containers.listed(containers.raw_of(document, name).get("tmpfs"))
    targets = [str(v.get("target")) for v in mounts]
    return {posixpath.normpath(path) for path in (*targets, *(t.partition(":")[0] for t in tmpfs))}


def named(mounts: Sequence[Any], paths: Sequence[str], instance: str) -> list[Any]:
    """An instance's mounts, with named volumes at these paths, unless something else is mounted there."""
    at = {posixpath.normpath(str(v["target"])): v for v in mounts if isinstance(v, dict)}
    free = {
        p: at.get(p) or {"type": "volume", "target": p}
        for p in paths
        if is_anonymous(at.get(p)) or p not in at
    }
    others = [v for v in mounts if not any(v is given for given in free.values())]
    return [*others, *({**given, "source": instance_key(instance, p)} for p, given in free.items())]


def is_anonymous(volume: Any) -> bool:
    """Whether a mount of a service is an anonymous volume."""
    return isinstance(volume, dict) and volume.get("type") == "volume" and not volume.get("source")
