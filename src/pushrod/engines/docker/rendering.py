"""The plain files of a release: compose files that `docker compose` alone can start. Pure: values in, text out.

The app's own document passes through almost unchanged. pushrod replaces names, addresses, images, the environment's
values (which never go into Git), volumes, limits and rights.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import yaml

from pushrod.adapters import docker
from pushrod.core.values import Instance, Manifest, Release, Service
from pushrod.engines import health
from pushrod.engines.docker import addresses, anonymous_volumes, containers, names
from pushrod.engines.docker.containers import Document, Parts, Place, Raw
from pushrod.manifest import image_refs, policy
from pushrod.state.apps import App
from pushrod.stores import registry

_OUTSIDE = "outside"  # the network by which stores of an unknown kind reach what instances reach
_HEADER = """\
# Rendered by pushrod for release {number} of {app}, and sealed with it. Docker Compose alone brings it up:
#   docker compose --file {path} up --detach
"""


def release(place: Place, sealed: Release, document: Document, images: Mapping[str, Parts]) -> str:
    """The compose file of a release's instances, and of one-off runs from its images (profile `run`)."""
    app, number = place.app, sealed.number
    limits = policy.paced_for(place.room.limits, len(sealed.instances))
    place = place._replace(room=place.room._replace(limits=limits))
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
            **containers.service_of(place, document, service, images[service.name]),
            "restart": _restart(service, document),
            "env_file": [_environment(app, number, service.name)],
            "depends_on": _dependencies(sealed, document, service),
            "labels": _labels(place.app, document, service, sealed) | {docker.INSTANCE: placed.name}
            | _probe(placed, service, document),
            "networks": None if containers.isolated(document, service) else
                _networks(sealed, placed, index, aliases(document, service.name)),
            "extra_hosts": _hosts(document, sealed, service) or None,
        }  # fmt: skip
        kept = anonymous_volumes.of_instance(document, service, images[service.name])
        services[placed.name]["volumes"] = anonymous_volumes.named(
            services[placed.name]["volumes"], kept, placed.name
        )
        services[placed.name]["volumes"].append(_gate(app))
    for service in sealed.services:
        services[f"{service.name}.run"] = {
            **containers.service_of(place, document, service, images[service.name]),
            "profiles": ["run"],
            "restart": "no",
            "env_file": [_environment(app, number, f"{service.name}.release")],
            "labels": names.labels(app, service.name, sealed),
            "networks": None if containers.isolated(document, service) else [*networks],
            "extra_hosts": _hosts(document, sealed, service) or None,
        }
        # It works on the data of the first instance, as it does on a volume with a name.
        kept = anonymous_volumes.of_instance(document, service, images[service.name])
        services[f"{service.name}.run"]["volumes"] = anonymous_volumes.named(
            services[f"{service.name}.run"]["volumes"], kept, f"{service.name}-1"
        )
        services[f"{service.name}.run"].pop("healthcheck", None)
    whole = {
        "name": names.project(app, number),
        "services": {name: _without_none(value) for name, value in services.items()},
        "networks": networks,
        **_shared(place, document, services),
    }
    header = _HEADER.format(number=number, app=app.name, path=names.files(app, number) / names.COMPOSE)
    return header + dump(whole)


def stores(place: Place, manifest: Manifest, document: Document, images: Mapping[str, Parts]) -> str:
    """The compose file of an app's stores, on their own internal network."""
    app = place.app
    services: Raw = {}
    for store in manifest.stores:
        raw = containers.service_of(place, document, store, images[store.name])
        raw["healthcheck"] = raw["healthcheck"] or _healthcheck(store)
        if first := _first_command(place, store):
            raw["command"] = first
        given = [
            {"type": "volume", "source": anonymous_volumes.key(store.name, path), "target": path}
            for path in anonymous_volumes.of_store(document, store, images[store.name])
        ]
        services[store.name] = {
            "container_name": names.store(app, store.name),
            **raw,
            "restart": "unless-stopped",
            "env_file": [str(names.store_environment(app, store.name))],
            "labels": _labels(app, document, store, None),
            "networks": {"default": {"aliases": [store.name, *aliases(document, store.name)]}}
            | ({_OUTSIDE: {}} if reaches_out(store) else {}),
            "volumes": [*(v for v in raw["volumes"] if not anonymous_volumes.is_anonymous(v)), *given],
        }
    labels = {docker.APP: app.name}
    networks: Raw = {"default": {"name": app.name, "internal": True, "labels": labels}}
    if any(map(reaches_out, manifest.stores)):
        interface = {"com.docker.network.bridge.name": names.outside_interface(app)}
        networks[_OUTSIDE] = {"name": names.outside(app), "labels": labels, "driver_opts": interface}
    whole = {
        "name": app.name,
        "services": {name: _without_none(value) for name, value in services.items()},
        "networks": networks,
        **_shared(place, document, services),
    }
    header = (
        f"# Rendered by pushrod: the stores of {app.name}. Docker Compose alone brings them up:\n"
        f"#   docker compose --file {names.running_stores(app)} up --detach\n"
    )
    return header + dump(whole)


def _first_command(place: Place, store: Service) -> list[str]:
    """Arguments that the store's kind gives it."""
    before = place.running.get(store.name)
    given = None if before is None else [str(word) for word in before.get("command") or []]
    return registry.of(store.store).first_command(store, store.memory or place.room.limits.memory, given)


def reaches_out(store: Service) -> bool:
    """Whether a store may be more than a store: a program with a volume, for example Prometheus or a model server,
    which fetches from the Internet and reaches instances by their services' names.
    """
    known = store.store is not None or image_refs.is_store(image_refs.parse(store.image))
    return store.keeps or not known


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
    """Each store with its address among a release's instances, and the names by which they know it."""
    _, upper = addresses.halves(sealed.network)
    return [
        (store, upper.address(index), [store.name, *aliases(document, store.name)])
        for index, store in enumerate(sealed.stores, start=len(sealed.instances))
    ]


def _hosts(document: Document, sealed: Release, service: Service) -> list[str]:
    """The stores' names for a container's /etc/hosts: Docker's own name server is part of dockerd and does not answer
    while dockerd restarts, which established connections survive.
    """
    if containers.isolated(document, service):
        return []
    given = [str(line) for line in containers.raw_of(document, service.name).get("extra_hosts") or []]
    taken = {line.replace("=", ":").partition(":")[0] for line in given}
    hosts = [(name, address) for _, address, known in _meeting(document, sealed) for name in known]
    return given + [f"{name}:{address}" for name, address in hosts if name not in taken]


def _healthcheck(store: Service) -> Raw | None:
    """A check for a store of a known kind that has none, so that Docker and the watchdog notice when it hangs."""
    if not (test := registry.of(store.store).check(store)):
        return None
    # While it reads its data after a power cut it does not answer, and must not be restarted for that.
    return {"test": test, "interval": "10s", "timeout": "5s", "retries": 3, "start_period": "300s"}


def volumes(app: App, document: Document, images: Mapping[str, Parts], manifest: Manifest) -> dict[str, Raw]:
    """Every volume the app needs, by its name on the host, with the manifest's own definition."""
    definitions: dict[str, Raw] = {}
    declared = document.get("volumes") or {}
    for service in (*manifest.stateless, *manifest.stores):
        for volume in containers.mounted(document, service.name):
            if isinstance(volume, dict) and volume.get("type") == "volume" and volume.get("source"):
                key = volume["source"]
                definitions[volume_name(app, document, key)] = dict(declared.get(key) or {})
    for store in manifest.stores:
        for path in anonymous_volumes.of_store(document, store, images[store.name]):
            definitions[volume_name(app, document, anonymous_volumes.key(store.name, path))] = {}
    for service in manifest.stateless:
        for path in anonymous_volumes.of_instance(document, service, images[service.name]):
            for n in range(1, max(service.replicas, 1) + 1):
                key = anonymous_volumes.instance_key(f"{service.name}-{n}", path)
                definitions[volume_name(app, document, key)] = {}
    return definitions


def volume_name(app: App, document: Document, key: str) -> str:
    """The name of a manifest's volume on the host: the one Compose itself would use."""
    declared = (document.get("volumes") or {}).get(key) or {}
    return str(declared.get("name") or f"{app.name}_{key}")


def services(text: str) -> Raw:
    """The services of a rendered file."""
    return dict(yaml.safe_load(text)["services"])


def loaded(text: str) -> Raw:
    """A rendered file, in which each `$` is doubled; empty if it is none."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return content if isinstance(content, dict) else {}


def header(text: str) -> str:
    """The comments of a rendered file."""
    return "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))


def dump(value: object) -> str:
    """A compose document as YAML. `$` is doubled, so that Compose does not expand it."""
    return written(_escaped(value))


def written(value: object) -> str:
    """The same for a document in which each `$` is doubled already."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    """Compose reads YAML 1.2, in which `1e3` and `0o17` are numbers; PyYAML writes 1.1 and would not quote them."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if re.match(r"[-+.]?[0-9.]", text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


# ---- one service --------------------------------------------------------------------------------------------


def _gate(app: App) -> Raw:
    return {
        "type": "bind",
        "source": str(names.GATES / app.name),
        "target": str(names.GATES),
        "read_only": True,
        "bind": {"create_host_path": False},
    }


def _restart(service: Service, document: Document) -> str:
    """Compose's `restart` if given; else an entry is always restarted, a worker after a failure."""
    raw = containers.raw_of(document, service.name)
    given = str(raw.get("restart") or "")
    condition = str((((raw.get("deploy") or {}).get("restart_policy")) or {}).get("condition") or "")
    given = given or {"any": "always", "none": "no"}.get(condition, condition)
    if not given:
        return "unless-stopped" if service.role == "entry" else "on-failure"
    return "unless-stopped" if given == "always" else given


def _labels(app: App, document: Document, service: Service, sealed: Release | None) -> Raw:
    given = containers.raw_of(document, service.name).get("labels") or {}
    own = {name: value for name, value in given.items() if not name.startswith("pushrod.")}
    return {**own, **names.labels(app, service.name, sealed)}


def _probe(placed: Instance, service: Service, document: Document) -> Raw:
    """The probe of an instance, unless its own health check decides."""
    test = (containers.raw_of(document, service.name).get("healthcheck") or {}).get("test") or ["NONE"]
    asked = health.probe(placed, service.health)
    if asked is None or containers.isolated(document, service) or (test != ["NONE"] and not asked.path):
        return {}
    return asked.labels()


def _dependencies(sealed: Release, document: Document, service: Service) -> Raw:
    """The instances that Compose starts first: only this release's, because the stores are up by then."""
    raw = containers.raw_of(document, service.name).get("depends_on") or {}
    conditions = raw if isinstance(raw, dict) else {name: {} for name in raw}
    dependencies: Raw = {}
    for name, condition in conditions.items():
        for placed in sealed.instances:
            if placed.service == name:
                dependencies[placed.name] = {"condition": "service_started", **(condition or {})}
                dependencies[placed.name]["required"] = True
    return dependencies


def aliases(document: Document, name: str) -> list[str]:
    """Further names of a service: aliases from the manifest's networks, and names by which others link to it."""
    further: list[str] = []
    networks = containers.raw_of(document, name).get("networks")
    for network in (networks or {}).values() if isinstance(networks, dict) else ():
        further += (network or {}).get("aliases") or []
    hostname = containers.raw_of(document, name).get("hostname")
    container = containers.raw_of(document, name).get("container_name")
    further += [str(n) for n in (hostname, container) if n]
    for other in (document.get("services") or {}).values():
        for link in other.get("links") or []:
            target, _, alias = str(link).partition(":")
            if target == name and alias:
                further.append(alias)
    return [alias for alias in dict.fromkeys(further) if alias != name]


def _networks(sealed: Release, placed: Instance, index: int, aliases: Sequence[str]) -> Raw:
    names_here = [placed.service, *aliases]
    networks: Raw = {"default": {"ipv4_address": placed.address, "aliases": names_here}}
    if sealed.stores:
        _, upper = addresses.halves(sealed.network)
        networks["stores"] = {"ipv4_address": upper.address(index)}
        if any(map(reaches_out, sealed.stores)):
            networks["stores"]["aliases"] = names_here
    return networks


def _network(name: str, subnet: addresses.Subnet, app: App, sealed: Release) -> Raw:
    config = {"subnet": subnet.subnet, "gateway": subnet.gateway, "ip_range": subnet.dynamic}
    labels = {docker.APP: app.name, docker.RELEASE: str(sealed.number)}
    return {"name": name, "driver": "bridge", "ipam": {"config": [config]}, "labels": labels}


def _shared(place: Place, document: Document, services: Mapping[str, Raw]) -> Raw:
    """The volumes that these services use."""
    shared: Raw = {}
    mounted = [v for s in services.values() for v in s.get("volumes", []) if isinstance(v, dict)]
    keys = {v["source"] for v in mounted if v.get("type") == "volume" and v.get("source")}
    if keys:
        shared["volumes"] = {
            key: {"name": volume_name(place.app, document, key), "external": True} for key in sorted(keys)
        }
    return shared


def _environment(app: App, number: int, name: str) -> str:
    return str(names.environments(app, number) / f"{name}.env")


def _without_none(service: Raw) -> Raw:
    # An empty `entrypoint` or `command` overrides the image's, so it is kept.
    empty = {k for k, v in service.items() if v in ({}, []) and k not in ("command", "entrypoint")}
    return {k: v for k, v in service.items() if v is not None and k not in empty}


def _escaped(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _escaped(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(v) for v in value]
    return value.replace("$", "$$") if isinstance(value, str) else value
