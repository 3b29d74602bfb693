"""All objects of an app as Kustomize bases: what is applied one after the other is a directory each. Pure."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from pushrod.adapters import docker
from pushrod.core.errors import ManifestError
from pushrod.core.values import Service
from pushrod.engines.docker import anonymous_volumes, containers, rendering
from pushrod.engines.exported import Exported, Variables
from pushrod.engines.kubernetes import edge, keys, mounts, objects, pods, policies, workloads
from pushrod.engines.kubernetes.objects import Cluster, Object

STEPS = ("stores", "jobs", "release", "switch")
"""The bases in the order in which they are applied: each when everything of the one before is ready."""

SECRETS = "secrets"
"""The base with the values, which is applied before all others, and is not for Git."""

_BASELINE = frozenset((
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
    "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
))  # fmt: skip
"""The capabilities that Pod Security's level `baseline` lets containers add."""

_HEADER = "# Rendered by `pushrod export kubernetes`: {app}, release {release}, commit {commit}.\n"
_KUSTOMIZATION = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}


class Bases(NamedTuple):
    """The objects of each base, and notes. `secrets` are the Secrets, with their values; `lacking` the keys of those
    whose values pushrod does not have.
    """

    steps: Mapping[str, list[Object]]
    secrets: list[Object]
    lacking: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]

    @property
    def needed(self) -> dict[str, tuple[str, ...]]:
        """The keys of every Secret that pods refer to."""
        known = {s["metadata"]["name"]: tuple(sorted(s.get("stringData") or {})) for s in self.secrets}
        return dict(sorted((known | dict(self.lacking)).items()))


def render(x: Exported, cluster: Cluster) -> Bases:
    """All objects of a release. Raises ManifestError for what a cluster cannot do."""
    notes = [*keys.notes(x.document, x.manifest), *_anonymous_volumes(x)]
    for name, given in (*x.environments.items(), *x.stores.items()):
        pods.variables(given, f"services.{name.partition(':')[0]}.environment")
    steps = {
        "stores": [_namespace(x, cluster), *policies.of_app(x, cluster), *_stores(x, cluster)],
        "jobs": [o for service, argv in _once(x) for o in _prepared(x, cluster, service, argv)],
        "release": list(_release(x, cluster)),
        "switch": [edge.switch(x, cluster)],
    }
    lacking: dict[str, tuple[str, ...]] = {}
    if x.site.tls:
        lacking[edge.certificate(x)] = ("tls.crt", "tls.key")
    return Bases(_each_once(steps), list(_secrets(x, cluster)), lacking, tuple(notes))


def _anonymous_volumes(x: Exported) -> Iterator[str]:
    """Notes on anonymous volumes, which pushrod and Compose keep for the next container."""
    for service in x.manifest.stateless:
        if paths := anonymous_volumes.of_instance(x.document, service, x.images[service.name]):
            yield (
                f"{service.name}: anonymous volumes ({', '.join(paths)}) are empty in each new pod: name those "
                "that keep data"
            )


def _each_once(steps: Mapping[str, list[Object]]) -> dict[str, list[Object]]:
    """Each object in the first base that needs it: claims are shared, and files too. Raises ManifestError for two
    objects with one name.
    """
    seen: dict[tuple[str, str], Object] = {}
    result: dict[str, list[Object]] = {}
    for step, given in steps.items():
        result[step] = []
        for item in given:
            key = (item["kind"], item["metadata"]["name"])
            if key not in seen:
                seen[key] = item
                result[step].append(item)
            elif seen[key] != item:
                raise ManifestError(
                    f"two objects would have the name {key[1]}: {key[0]}",
                    where="services",
                    hint="rename the service: its name is also that of the app, of the edge, or of another service",
                )
    return result


def _namespace(x: Exported, cluster: Cluster) -> Object:
    """With the rules of Pod Security that all of its pods keep."""
    labels = {docker.APP: x.app}
    services = (*x.manifest.stateless, *x.manifest.stores)
    added = {c for s in services for c in containers.capabilities(x.document, s, x.images[s.name])}
    if added <= _BASELINE:
        labels["pod-security.kubernetes.io/enforce"] = "baseline"
    metadata = {"name": cluster.namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def _stores(x: Exported, cluster: Cluster) -> Iterator[Object]:
    for store in x.manifest.stores:
        yield from _opened(x, cluster, store, "")
        yield from _config_files(x, cluster, store)
        yield from workloads.store(x, cluster, store)


def _once(x: Exported) -> Iterator[tuple[Service, tuple[str, ...]]]:
    """The jobs in the manifest's order, then the release commands."""
    for service in x.manifest.stateless:
        if service.role == "job":
            yield service, ()
    for service in x.instances:
        if service.release:
            yield service, service.release


def _prepared(x: Exported, cluster: Cluster, service: Service, argv: tuple[str, ...]) -> Iterator[Object]:
    yield from _opened(x, cluster, service, f"{service.name}:release")
    yield from _config_files(x, cluster, service)
    yield from workloads.job(x, cluster, service, argv)


def _release(x: Exported, cluster: Cluster) -> Iterator[Object]:
    yield from policies.of_release(x, cluster)
    for service in x.instances:
        yield from _opened(x, cluster, service, "")
        yield from _config_files(x, cluster, service)
        yield from workloads.deployment(x, cluster, service)
        if x.ports(service):
            yield workloads.address(x, cluster, service)
    yield from edge.render(x, cluster)


# ---- variables and secrets --------------------------------------------------------------------------------------


def _variables(x: Exported, service: Service, key: str) -> Variables:
    return x.stores[service.name] if service.role == "store" else x.environments[key or service.name]


def _opened(x: Exported, cluster: Cluster, service: Service, key: str) -> Iterator[Object]:
    """The ConfigMap with the variables that tell nothing."""
    given = {n: v for n, v in sorted(_variables(x, service, key).items()) if x.is_open(n, v)}
    if given:
        name = pods.of_environment(x, service, key)
        yield objects.make("ConfigMap", "v1", name, cluster, _labels(x, service, key), data=given)


def _labels(x: Exported, service: Service, key: str) -> dict[str, str]:
    if service.role == "store":
        return objects.labels(x, "store", service.name, release=False)
    return objects.labels(x, "job" if key or service.role == "job" else "instance", service.name)


def _config_files(x: Exported, cluster: Cluster, service: Service) -> Iterator[Object]:
    """The ConfigMaps of its configs that are files of the commit."""
    raw = containers.raw_of(x.document, service.name)
    for item in raw.get("configs") or []:
        source = str(item["source"] if isinstance(item, dict) else item)
        if not mounts.is_secret(x, "configs", source):
            name = objects.of_release(x, "config", source)
            content = objects.files({"value": _content(x, "configs", source)}, f"configs.{source}")
            data = objects.without_none({"data": content.text, "binaryData": content.binary})
            every = {docker.APP: x.app, docker.RELEASE: x.release}
            yield objects.make("ConfigMap", "v1", name, cluster, every, **data)


def _content(x: Exported, kind: str, source: str) -> bytes:
    declared = (x.document.get(kind) or {}).get(source) or {}
    if "file" in declared:
        tree = x.tree(str(declared["file"])) or {}
        if "" not in tree:
            keys.refuse(f"{kind}.{source}.file", "it is no file of the commit")
        return tree[""]
    if "content" in declared:
        return str(declared["content"]).encode()
    return x.variables.get(str(declared.get("environment")), "").encode()


def _secrets(x: Exported, cluster: Cluster) -> Iterator[Object]:
    """Every Secret that pods refer to, with its values."""

    def secret(name: str, labels: Mapping[str, str], values: Mapping[str, str]) -> Object:
        return objects.make("Secret", "v1", name, cluster, labels, type="Opaque", stringData=dict(values))

    def closed(service: Service, key: str) -> Iterator[Object]:
        given = {n: v for n, v in sorted(_variables(x, service, key).items()) if not x.is_open(n, v)}
        if given:
            yield secret(pods.of_environment(x, service, key), _labels(x, service, key), given)

    for store in x.manifest.stores:
        yield from closed(store, "")
        if scripts := x.scripts.get(store.name):
            yield secret(f"{objects.name(x.app, store.name)}-scripts", _labels(x, store, ""), scripts)
    for service, _ in _once(x):
        yield from closed(service, f"{service.name}:release")
    for service in x.instances:
        yield from closed(service, "")
    for kind, source, _ in mounts.declared(x):
        if mounts.is_secret(x, kind, source):
            name = objects.of_release(x, kind.removesuffix("s"), source)
            every = {docker.APP: x.app, docker.RELEASE: x.release}
            content = objects.files({"value": _content(x, kind, source)}, f"{kind}.{source}")
            yield secret(name, every, content.text) | ({"data": content.binary} if content.binary else {})
    if x.passwords:
        every = {docker.APP: x.app, docker.RELEASE: x.release}
        yield secret(objects.of_release(x, "passwords"), every, x.passwords)


# ---- files ------------------------------------------------------------------------------------------------------


def files(x: Exported, bases: Bases, *, values: bool) -> dict[str, str]:
    """The files of the bases, by path: one for each object, in a stable order. `values` adds those of Secrets."""
    header = _HEADER.format(app=x.app, release=x.release, commit=x.commit)
    result: dict[str, str] = {}
    present = [step for step in STEPS if bases.steps[step]]
    result["kustomization.yaml"] = header + rendering.written({**_KUSTOMIZATION, "resources": present})
    for step in present:
        result |= _base(header, step, bases.steps[step])
    if values and bases.secrets:
        result |= _base(header, SECRETS, bases.secrets)
        result[f"{SECRETS}/.gitignore"] = "*\n"
    return result


def _base(header: str, directory: str, given: list[Object]) -> dict[str, str]:
    named = {f"{o['kind'].lower()}-{o['metadata']['name']}.yaml": o for o in given}
    index = {**_KUSTOMIZATION, "resources": list(named)}
    return {
        f"{directory}/kustomization.yaml": header + rendering.written(index),
        **{f"{directory}/{path}": header + _written(content) for path, content in named.items()},
    }


def _written(content: Object) -> str:
    """The text of an object, without YAML's references to parts that are the same."""
    return rendering.written(msgspec.json.decode(msgspec.json.encode(content)))
