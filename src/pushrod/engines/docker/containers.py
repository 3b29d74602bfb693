"""One container in a rendered compose file: what instances, stores and one-off runs have in common. Pure.

Keys of the app's own document pass through, reduced to the allow list. pushrod sets limits, capabilities, health
check and mounts.
"""

import posixpath
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pushrod.core.limits import Limits
from pushrod.core.values import Service
from pushrod.engines.docker import names
from pushrod.manifest import grants, keys, policy
from pushrod.state.apps import App

Document = Mapping[str, Any]
Raw = dict[str, Any]

PIDS = 1024
"""Processes and threads of one container, unless the manifest says otherwise."""

_REPLACED = frozenset((
    "attach", "build", "cgroup_parent", "configs", "container_name", "cpu_count", "depends_on", "deploy",
    "develop", "domainname", "env_file", "environment", "expose", "extends", "external_links",
    "healthcheck", "hostname", "image", "label_file", "labels", "links", "logging", "mac_address", "models",
    "network_mode", "networks", "ports", "post_start", "pre_stop", "profiles", "provider", "pull_policy",
    "restart", "scale", "secrets", "volumes", "volumes_from",
))  # fmt: skip
_PASSED = {*keys.of_services("docker", "used", "bounded", "word")} - _REPLACED


class Parts(NamedTuple):
    """What rendering needs to know about an image: its name on this host, whether it starts as root, the directories
    in which it keeps data (`VOLUME`), the port it exposes (0: none), and the times of its own health check. `filled`
    are directories in which an image that is built here has files of its own, as far as that matters.
    """

    name: str
    root: bool
    data: tuple[str, ...] = ()
    port: int = 0
    check: Mapping[str, float] = {}
    filled: frozenset[str] = frozenset()


class Room(NamedTuple):
    """What limits an app's containers: the host's limits, whether systemd limits all of them together, and whether
    Docker can limit what each writes outside its volumes.
    """

    limits: Limits
    slices: bool = False
    quota: bool = False


class Place(NamedTuple):
    """An app's paths and limits: `bind` gives the path on this host for a bind mount's source, creating it, `inner`
    the sources inside it, each with its path there and on this host, and `file` the file of a config or secret (its
    kind, its name, a reference to it and the service's image). `running` are the services of the running stores.
    """

    app: App
    bind: Callable[[str], str]
    room: Room
    inner: Callable[[str], Sequence[tuple[str, str]]] = lambda _: ()
    file: Callable[[str, str, Mapping[str, Any], str], str] = lambda _kind, name, _reference, _image: name
    running: Mapping[str, Any] = {}


def service_of(place: Place, document: Document, service: Service, image: Parts) -> Raw:
    """The part that instances, stores and one-off runs share."""
    raw = raw_of(document, service.name)
    kept = {k: v for k, v in raw.items() if k in _PASSED}
    volumes, tmpfs = mounted(document, service.name), listed(raw.get("tmpfs"))
    taken = {
        *(t.partition(":")[0] for t in tmpfs),
        *(v.get("target") for v in volumes if isinstance(v, dict)),
    }
    becomes_root = _hooked_as_root(service) and not as_root(document, service.name, image)
    if service.read_only and "/tmp" not in taken:  # noqa: S108
        tmpfs.append("/tmp")  # noqa: S108
    return {
        "image": image.name,
        "pull_policy": "never",
        **kept,
        **_limits(raw, place.room.limits),
        "cgroup_parent": names.slice(place.app, store=service.role == "store") if place.room.slices else None,
        "oom_score_adj": _oom_score(raw, service),
        "ulimits": {**(raw.get("ulimits") or {}), "core": 0},
        "healthcheck": _check(raw, service, image, place.room.limits) or None,
        "storage_opt": {"size": str(place.room.limits.layer)} if place.room.quota else None,
        "network_mode": "none" if isolated(document, service) else None,
        "read_only": True if service.read_only else None,
        "tmpfs": tmpfs or None,
        "security_opt": _security(raw, becomes_root=becomes_root),
        "cap_drop": ["ALL"],
        "cap_add": capabilities(document, service, image) or None,
        "logging": _logging(raw.get("logging") or {}),
        "volumes": [
            *(mount for v in volumes for mount in _mount(place, v, taken)),
            *_files(place, raw, image),
        ],
    }


def as_root(document: Document, name: str, image: Parts) -> bool:
    """Whether a service's containers start as root."""
    user = str(raw_of(document, name).get("user") or "")
    return _is_root(user) if user else image.root


def _hooked_as_root(service: Service) -> bool:
    """Whether a hook runs as root in a service's containers, even if they start as another account."""
    return any(_is_root(hook.user) for hook in (*service.post_start, *service.pre_stop))


def _is_root(user: str) -> bool:
    return user.split(":")[0] in ("0", "root")


def capabilities(document: Document, service: Service, image: Parts) -> list[str]:
    """The capabilities of a service's containers."""
    raw = raw_of(document, service.name)
    asked = [grants.capability(str(c)) for c in raw.get("cap_add") or []]
    dropped = [grants.capability(str(c)) for c in raw.get("cap_drop") or []]
    root = as_root(document, service.name, image) or _hooked_as_root(service)
    given = grants.ROOT_CAPABILITIES if root and "ALL" not in dropped else ()
    return sorted({*asked, *(c for c in given if c not in dropped)})


def isolated(document: Document, service: Service) -> bool:
    """Whether a service has no network at all."""
    return bool(raw_of(document, service.name).get("network_mode") == "none")


def mounted(document: Document, name: str) -> list[Any]:
    """What a service mounts, by its own `volumes` and by those of the services in its `volumes_from`."""
    raw = raw_of(document, name)
    volumes = list(raw.get("volumes") or [])
    for word in raw.get("volumes_from") or []:
        other, _, mode = str(word).partition(":")
        for volume in raw_of(document, other).get("volumes") or []:
            volumes.append({**volume, "read_only": True} if mode == "ro" else volume)
    return volumes


def raw_of(document: Document, name: str) -> Raw:
    raw: Raw = (document.get("services") or {}).get(name) or {}
    return raw


def _limits(raw: Raw, limits: Limits) -> Raw:
    """The limits of a container. Compose expects each in one place: in `deploy.resources` if that exists."""
    resources = ((raw.get("deploy") or {}).get("resources")) or {}
    most = raw.get("mem_limit") or limits.memory
    pids = raw.get("pids_limit") or min(PIDS, limits.pids)
    if not resources:
        return {"mem_limit": most, "pids_limit": pids}
    bounds = {"memory": str(most), "pids": int(pids)} | ({"cpus": raw["cpus"]} if raw.get("cpus") else {})
    return {"deploy": {"resources": {**resources, "limits": {**bounds, **(resources.get("limits") or {})}}}}


def _check(raw: Raw, service: Service, image: Parts, limits: Limits) -> Raw:
    """The health check: the manifest's settings, completed from the image's own, within the host's bounds."""
    given: Raw = raw.get("healthcheck") or {}
    return given if service.store and not given else {**policy.paced(image.check, limits), **given}


def _oom_score(raw: Raw, service: Service) -> int | None:
    """If the kernel runs out of memory, it ends instances before stores."""
    given = int(raw.get("oom_score_adj") or 0)
    return given or None if service.role == "store" else max(given, policy.EXPENDABLE)


def _logging(given: Raw) -> Raw:
    if given.get("driver") == "none":
        return {"driver": "none"}
    bounds = {"max-size": f"{policy.LOG_SIZE >> 20}m", "max-file": str(policy.LOG_FILES)}
    return {
        "driver": given.get("driver") or "json-file",
        "options": {**bounds, **(given.get("options") or {})},
    }


def _security(raw: Raw, *, becomes_root: bool) -> list[str]:
    """Without `no-new-privileges` only if a hook must become root in a container that starts as another account."""
    given = [str(option) for option in raw.get("security_opt") or []]
    decided = any(option.startswith("no-new-privileges") for option in given)
    return given if decided or becomes_root else ["no-new-privileges", *given]


def is_bind(volume: Any) -> bool:
    """Whether a volume of a service is a bind mount."""
    return isinstance(volume, dict) and volume.get("type") == "bind"


def _mount(place: Place, volume: Any, taken: Collection[Any]) -> Iterator[Any]:
    """A mount of a service, and the sources inside it, except where something else is mounted."""
    if not is_bind(volume):
        yield volume
        return
    source = str(volume["source"])
    options = {**(volume.get("bind") or {}), "create_host_path": False}
    yield {**volume, "source": place.bind(source), "bind": options}
    for below, path in place.inner(source):
        target = posixpath.join(str(volume.get("target")), below)
        if target not in taken:
            yield {**volume, "source": path, "target": target, "bind": options}


def _files(place: Place, raw: Raw, image: Parts) -> Iterator[Raw]:
    """The configs and secrets of a service, as the mounts that Compose would make of them."""
    for kind, directory in (("configs", "/"), ("secrets", "/run/secrets")):
        for item in raw.get(kind) or []:
            reference = item if isinstance(item, dict) else {"source": item}
            name = str(reference["source"])
            yield {
                "type": "bind",
                "source": place.file(kind, name, reference, image.name),
                "target": posixpath.join(directory, str(reference.get("target") or name)),
                "read_only": True,
                "bind": {"create_host_path": False},
            }


def listed(value: Any) -> list[str]:
    """A list of words, of which a single one may stand alone."""
    return [str(value)] if isinstance(value, str) else [str(v) for v in value or []]
