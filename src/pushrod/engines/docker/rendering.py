"""The plain files of a release: compose files that `docker compose` alone can bring up. Pure: values in, text out.

The app's own document goes through almost as it is; what pushrod answers for takes the place of what it replaces:
names, addresses, images, the environment's values (which never go into Git), volumes, limits and rights.
"""

import posixpath
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import yaml

from pushrod.adapters import docker
from pushrod.core.limits import Limits
from pushrod.core.values import Instance, Manifest, Release, Service
from pushrod.engines import health
from pushrod.engines.docker import addresses, names
from pushrod.manifest import grants, keys, policy
from pushrod.state.apps import App
from pushrod.stores import registry

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
_OUTSIDE = "outside"  # the network by which stores of no known kind reach what instances reach
_HEADER = """\
# Rendered by pushrod for release {number} of {app}, and sealed with it. Docker Compose alone brings it up:
#   docker compose --file {path} up --detach
"""


class Parts(NamedTuple):
    """What rendering needs to know of an image: its name here, whether it begins as root, the directories that it
    keeps data in (`VOLUME`), the port that it says it listens on (0: none), and its own health check's times."""

    name: str
    root: bool
    data: tuple[str, ...] = ()
    port: int = 0
    check: Mapping[str, float] = {}


class Room(NamedTuple):
    """What bounds an app's containers: the host's limits, whether systemd keeps those of all of them together, and
    whether Docker can keep what each writes outside of its volumes."""

    limits: Limits
    slices: bool = False
    quota: bool = False


class Place(NamedTuple):
    """Where an app's files are, and what it may take: `bind` gives the path on this host for a bind mount's source,
    which is there, `inner` the further sources that lie in it, each with its path there, and `file` the file of a
    config or secret (its kind, its name, a reference to it and the service's image)."""

    app: App
    bind: Callable[[str], str]
    room: Room
    inner: Callable[[str], Sequence[tuple[str, str]]] = lambda _: ()
    file: Callable[[str, str, Mapping[str, Any], str], str] = lambda _kind, name, _reference, _image: name


def release(place: Place, sealed: Release, document: Document, images: Mapping[str, Parts]) -> str:
    """The compose file of a release's instances, and of what runs once from its images (profile `run`)."""
    app, number = place.app, sealed.number
    lower, upper = addresses.halves(sealed.network)
    networks: Raw = {"default": _network(names.project(app, number), lower, app, sealed)}
    if sealed.stores:
        networks["stores"] = {
            **_network(names.stores_network(app, number), upper, app, sealed),
            "internal": True,
        }
    services: Raw = {}
    for index, placed in enumerate(sealed.instances):
        service = sealed.service(placed.service)
        services[placed.name] = {
            "container_name": names.instance(app, number, placed.name),
            **_service(place, document, service, images[service.name]),
            "restart": _restart(service, document),
            "env_file": [_environment(app, number, service.name)],
            "depends_on": _dependencies(sealed, document, service),
            "labels": _labels(place.app, document, service, sealed) | {docker.INSTANCE: placed.name}
            | _probe(placed, service, document),
            "networks": None if isolated(document, service) else
                _networks(sealed, placed, index, _aliases(document, service.name)),
            "extra_hosts": _hosts(document, sealed, service) or None,
        }  # fmt: skip
        services[placed.name]["volumes"].append(_gate(app))
    for service in sealed.services:
        services[f"{service.name}.run"] = {
            **_service(place, document, service, images[service.name]),
            "profiles": ["run"],
            "restart": "no",
            "env_file": [_environment(app, number, f"{service.name}.release")],
            "labels": names.labels(app, service.name, sealed),
            "networks": None if isolated(document, service) else [*networks],
            "extra_hosts": _hosts(document, sealed, service) or None,
        }
        services[f"{service.name}.run"].pop("healthcheck", None)
    whole = {
        "name": names.project(app, number),
        "services": {name: _present(value) for name, value in services.items()},
        "networks": networks,
        **_shared(place, document, services),
    }
    header = _HEADER.format(number=number, app=app.name, path=names.files(app, number) / names.COMPOSE)
    return header + dump(whole)


def stores(place: Place, manifest: Manifest, document: Document, images: Mapping[str, Parts]) -> str:
    """The compose file of an app's stores, on an internal network of their own."""
    app = place.app
    services: Raw = {}
    for store in manifest.stores:
        raw = _service(place, document, store, images[store.name])
        raw["healthcheck"] = raw["healthcheck"] or _healthcheck(store)
        given = [
            {"type": "volume", "source": own_volume(store.name, path), "target": path}
            for path in _unnamed(document, store, images[store.name])
        ]
        services[store.name] = {
            "container_name": names.store(app, store.name),
            **raw,
            "restart": "unless-stopped",
            "env_file": [str(names.store_environment(app, store.name))],
            "labels": _labels(app, document, store, None),
            "networks": {"default": {"aliases": [store.name, *_aliases(document, store.name)]}}
            | ({_OUTSIDE: {}} if store.keeps else {}),
            "volumes": [*(v for v in raw["volumes"] if not _is_anonymous(v)), *given],
        }
    labels = {docker.APP: app.name}
    networks: Raw = {"default": {"name": app.name, "internal": True, "labels": labels}}
    if any(store.keeps for store in manifest.stores):
        networks[_OUTSIDE] = {"name": names.outside(app), "labels": labels}
    whole = {
        "name": app.name,
        "services": {name: _present(value) for name, value in services.items()},
        "networks": networks,
        **_shared(place, document, services),
    }
    header = (
        f"# Rendered by pushrod: the stores of {app.name}. Docker Compose alone brings them up:\n"
        f"#   docker compose --file {names.running_stores(app)} up --detach\n"
    )
    return header + dump(whole)


def attachments(app: App, sealed: Release, document: Document) -> str:
    """Which store joins the release's network of stores, at which address, under which names. JSON."""
    rows = [
        {
            "container": names.store(app, store.name),
            "network": names.stores_network(app, sealed.number),
            "address": address,
            "aliases": known,
        }
        for store, address, known in _meeting(document, sealed)
    ]
    return msgspec.json.format(msgspec.json.encode(rows)).decode() + "\n"


def _meeting(document: Document, sealed: Release) -> list[tuple[Service, str, list[str]]]:
    """Each store with its address among a release's instances, and the names that they know it by."""
    _, upper = addresses.halves(sealed.network)
    return [
        (store, upper.address(index), [store.name, *_aliases(document, store.name)])
        for index, store in enumerate(sealed.stores, start=len(sealed.instances))
    ]


def _hosts(document: Document, sealed: Release, service: Service) -> list[str]:
    """The stores' names for a container's /etc/hosts: Docker's own name server is a part of dockerd, and so does not
    answer while that is restarted, which the connections themselves do not notice."""
    if isolated(document, service):
        return []
    given = [str(line) for line in _raw(document, service.name).get("extra_hosts") or []]
    taken = {line.replace("=", ":").partition(":")[0] for line in given}
    found = [(name, address) for _, address, known in _meeting(document, sealed) for name in known]
    return given + [f"{name}:{address}" for name, address in found if name not in taken]


def _healthcheck(store: Service) -> Raw | None:
    """A check for a store of a kind we know that has none: so that Docker, and the watch, see when it hangs."""
    if not (test := registry.of(store.store).check(store)):
        return None
    # While it reads its data after a power cut it does not answer, and must not be restarted for that.
    return {"test": test, "interval": "10s", "timeout": "5s", "retries": 3, "start_period": "300s"}


def own_volume(store: str, path: str) -> str:
    """The key of the volume for data that an image keeps and the manifest gives no volume."""
    return f"{store}-{re.sub(r'[^a-zA-Z0-9_.]+', '-', path).strip('-')}"


def _unnamed(document: Document, store: Service, image: Parts) -> list[str]:
    """Where a store keeps data for which the manifest names no volume: what its image says, or an anonymous one."""
    mounts = [v for v in mounted(document, store.name) if isinstance(v, dict)]
    named = {str(v.get("target")).rstrip("/") for v in mounts if not _is_anonymous(v)}
    paths = [*image.data, *(str(v["target"]) for v in mounts if _is_anonymous(v))]
    return [p for p in dict.fromkeys(path.rstrip("/") for path in paths) if p not in named]


def _is_anonymous(volume: Any) -> bool:
    return isinstance(volume, dict) and volume.get("type") == "volume" and not volume.get("source")


def volumes(app: App, document: Document, images: Mapping[str, Parts], manifest: Manifest) -> dict[str, Raw]:
    """Every volume the app needs by its name on the host, with the manifest's own definition of it."""
    found: dict[str, Raw] = {}
    declared = document.get("volumes") or {}
    for service in (*manifest.stateless, *manifest.stores):
        for volume in mounted(document, service.name):
            if isinstance(volume, dict) and volume.get("type") == "volume" and volume.get("source"):
                key = volume["source"]
                found[volume_name(app, document, key)] = dict(declared.get(key) or {})
    for store in manifest.stores:
        for path in _unnamed(document, store, images[store.name]):
            found[volume_name(app, document, own_volume(store.name, path))] = {}
    return found


def volume_name(app: App, document: Document, key: str) -> str:
    """What a volume of the manifest is called on the host: as Compose itself would call it."""
    declared = (document.get("volumes") or {}).get(key) or {}
    return str(declared.get("name") or f"{app.name}_{key}")


def services(text: str) -> Raw:
    """The services of a rendered file."""
    return dict(yaml.safe_load(text)["services"])


def dump(value: object) -> str:
    """A compose document as YAML. `$` is doubled: what goes in is what Compose is to see, not to expand."""
    return yaml.dump(_escaped(value), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    """Compose reads YAML 1.2, where `1e3` and `0o17` are numbers; PyYAML, which writes 1.1, would not quote them."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if re.match(r"[-+.]?[0-9.]", text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


# ---- one service --------------------------------------------------------------------------------------------


def _service(place: Place, document: Document, service: Service, image: Parts) -> Raw:
    """What an instance, a store and a run have in common."""
    raw = _raw(document, service.name)
    kept = {k: v for k, v in raw.items() if k in _PASSED}
    volumes, tmpfs = mounted(document, service.name), _listed(raw.get("tmpfs"))
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
    """Whether a service's containers begin as root."""
    user = str(_raw(document, name).get("user") or "")
    return _is_root(user) if user else image.root


def _hooked_as_root(service: Service) -> bool:
    """Whether a command is run as root in a service's containers, which may have begun as another account."""
    return any(_is_root(hook.user) for hook in (*service.post_start, *service.pre_stop))


def _is_root(user: str) -> bool:
    return user.split(":")[0] in ("0", "root")


def capabilities(document: Document, service: Service, image: Parts) -> list[str]:
    """Those that a service's containers have."""
    raw = _raw(document, service.name)
    asked = [grants.capability(str(c)) for c in raw.get("cap_add") or []]
    dropped = [grants.capability(str(c)) for c in raw.get("cap_drop") or []]
    root = as_root(document, service.name, image) or _hooked_as_root(service)
    given = grants.ROOT_CAPABILITIES if root and "ALL" not in dropped else ()
    return sorted({*asked, *(c for c in given if c not in dropped)})


def isolated(document: Document, service: Service) -> bool:
    """Whether a service is to have no network at all."""
    return bool(_raw(document, service.name).get("network_mode") == "none")


def mounted(document: Document, name: str) -> list[Any]:
    """What a service mounts, by its own `volumes` and by those of the services in its `volumes_from`."""
    raw = _raw(document, name)
    found = list(raw.get("volumes") or [])
    for word in raw.get("volumes_from") or []:
        other, _, mode = str(word).partition(":")
        for volume in _raw(document, other).get("volumes") or []:
            found.append({**volume, "read_only": True} if mode == "ro" else volume)
    return found


def _raw(document: Document, name: str) -> Raw:
    found: Raw = (document.get("services") or {}).get(name) or {}
    return found


def _limits(raw: Raw, limits: Limits) -> Raw:
    """The bounds of a container. Compose wants each in one place: in `deploy.resources`, where that is there."""
    resources = ((raw.get("deploy") or {}).get("resources")) or {}
    most = raw.get("mem_limit") or limits.memory
    pids = raw.get("pids_limit") or min(PIDS, limits.pids)
    if not resources:
        return {"mem_limit": most, "pids_limit": pids}
    bounds = {"memory": str(most), "pids": int(pids)} | ({"cpus": raw["cpus"]} if raw.get("cpus") else {})
    return {"deploy": {"resources": {**resources, "limits": {**bounds, **(resources.get("limits") or {})}}}}


def _check(raw: Raw, service: Service, image: Parts, limits: Limits) -> Raw:
    """The health check: what the manifest does not say of it is the image's own, which is bounded likewise."""
    given: Raw = raw.get("healthcheck") or {}
    return given if service.store and not given else {**policy.paced(image.check, limits), **given}


def _oom_score(raw: Raw, service: Service) -> int | None:
    """The kernel, short of memory, ends instances before stores."""
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
    """Where a command becomes root in a container that did not begin as it, it could not with `no-new-privileges`."""
    given = [str(option) for option in raw.get("security_opt") or []]
    said = any(option.startswith("no-new-privileges") for option in given)
    return given if said or becomes_root else ["no-new-privileges", *given]


def is_bind(volume: Any) -> bool:
    """Whether a volume of a service is a bind mount."""
    return isinstance(volume, dict) and volume.get("type") == "bind"


def _mount(place: Place, volume: Any, taken: Collection[Any]) -> Iterator[Any]:
    """A mount of a service, and the sources that lie in its own; not where something else is mounted."""
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
    """The configs and secrets of a service, as the mounts that Compose would make of files."""
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


def _gate(app: App) -> Raw:
    return {
        "type": "bind",
        "source": str(names.GATES / app.name),
        "target": str(names.GATES),
        "read_only": True,
        "bind": {"create_host_path": False},
    }


def _restart(service: Service, document: Document) -> str:
    """Compose's `restart`, where it is given; else an entry is always brought back, a worker after a failure."""
    raw = _raw(document, service.name)
    given = str(raw.get("restart") or "")
    condition = str((((raw.get("deploy") or {}).get("restart_policy")) or {}).get("condition") or "")
    given = given or {"any": "always", "none": "no"}.get(condition, condition)
    if not given:
        return "unless-stopped" if service.role == "entry" else "on-failure"
    return "unless-stopped" if given == "always" else given


def _labels(app: App, document: Document, service: Service, sealed: Release | None) -> Raw:
    given = _raw(document, service.name).get("labels") or {}
    own = {name: value for name, value in given.items() if not name.startswith("pushrod.")}
    return {**own, **names.labels(app, service.name, sealed)}


def _probe(placed: Instance, service: Service, document: Document) -> Raw:
    """How an instance is asked whether it is well, where its own health check does not say it."""
    test = (_raw(document, service.name).get("healthcheck") or {}).get("test") or ["NONE"]
    asked = health.probe(placed, service.health)
    if asked is None or isolated(document, service) or (test != ["NONE"] and not asked.path):
        return {}
    return asked.labels()


def _dependencies(sealed: Release, document: Document, service: Service) -> Raw:
    """The instances that Compose starts before: of this release only, because the stores are up by then."""
    raw = _raw(document, service.name).get("depends_on") or {}
    wanted = raw if isinstance(raw, dict) else {name: {} for name in raw}
    found: Raw = {}
    for name, condition in wanted.items():
        for placed in sealed.instances:
            if placed.service == name:
                found[placed.name] = {"condition": "service_started", **(condition or {})}
                found[placed.name]["required"] = True
    return found


def _aliases(document: Document, name: str) -> list[str]:
    """Further names of a service: those the manifest gives it on a network, and those others link to it by."""
    found: list[str] = []
    networks = _raw(document, name).get("networks")
    for network in (networks or {}).values() if isinstance(networks, dict) else ():
        found += (network or {}).get("aliases") or []
    hostname = _raw(document, name).get("hostname")
    container = _raw(document, name).get("container_name")
    found += [str(n) for n in (hostname, container) if n]
    for other in (document.get("services") or {}).values():
        for link in other.get("links") or []:
            target, _, alias = str(link).partition(":")
            if target == name and alias:
                found.append(alias)
    return [alias for alias in dict.fromkeys(found) if alias != name]


def _networks(sealed: Release, placed: Instance, index: int, aliases: Sequence[str]) -> Raw:
    names_here = [placed.service, *aliases]
    found: Raw = {"default": {"ipv4_address": placed.address, "aliases": names_here}}
    if sealed.stores:
        _, upper = addresses.halves(sealed.network)
        found["stores"] = {"ipv4_address": upper.address(index)}
    return found


def _network(name: str, subnet: addresses.Subnet, app: App, sealed: Release) -> Raw:
    config = {"subnet": subnet.subnet, "gateway": subnet.gateway, "ip_range": subnet.dynamic}
    labels = {docker.APP: app.name, docker.RELEASE: str(sealed.number)}
    return {"name": name, "driver": "bridge", "ipam": {"config": [config]}, "labels": labels}


def _shared(place: Place, document: Document, services: Mapping[str, Raw]) -> Raw:
    """The volumes that these services use."""
    found: Raw = {}
    mounted = [v for s in services.values() for v in s.get("volumes", []) if isinstance(v, dict)]
    keys = {v["source"] for v in mounted if v.get("type") == "volume" and v.get("source")}
    if keys:
        found["volumes"] = {
            key: {"name": volume_name(place.app, document, key), "external": True} for key in sorted(keys)
        }
    return found


def _environment(app: App, number: int, name: str) -> str:
    return str(names.environments(app, number) / f"{name}.env")


def _listed(value: Any) -> list[str]:
    return [str(value)] if isinstance(value, str) else [str(v) for v in value or []]


def _present(service: Raw) -> Raw:
    # An empty `entrypoint` or `command` takes the image's away, so it is something.
    empty = {k for k, v in service.items() if v in ({}, []) and k not in ("command", "entrypoint")}
    return {k: v for k, v in service.items() if v is not None and k not in empty}


def _escaped(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _escaped(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(v) for v in value]
    return value.replace("$", "$$") if isinstance(value, str) else value
