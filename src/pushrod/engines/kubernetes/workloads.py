"""The objects that run an app's services, and the names by which these are reached. Pure."""

from collections.abc import Iterator

from pushrod.core.errors import ManifestError
from pushrod.core.values import Service
from pushrod.engines.docker import containers
from pushrod.engines.docker.rendering import aliases
from pushrod.engines.exported import Exported
from pushrod.engines.kubernetes import objects, pods
from pushrod.engines.kubernetes.mounts import Mounts
from pushrod.engines.kubernetes.objects import Cluster, Object

SCRIPTS = "/docker-entrypoint-initdb.d"
"""Where the official images of databases look for what to run when they create their data."""


def deployment(x: Exported, cluster: Cluster, service: Service) -> Iterator[Object]:
    """A service of the release: beside that of any other release, with a budget for its pods if there are several."""
    mounts = Mounts(x, cluster, service)
    labels = objects.labels(x, "instance", service.name)
    yield from mounts.objects
    spec = {
        "replicas": service.replicas,
        "minReadySeconds": None if x.port(service) else 3,
        "revisionHistoryLimit": 1,
        "selector": {"matchLabels": labels},
        "strategy": {"type": "Recreate"}
        if service.stop_first
        else {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": pods.template(x, cluster, service, mounts, labels),
    }
    name = objects.of_release(x, service.name)
    yield objects.make("Deployment", "apps/v1", name, cluster, labels, spec=objects.without_none(spec))
    if service.replicas > 1:
        yield budget(cluster, name, labels)


def budget(cluster: Cluster, name: str, labels: dict[str, str]) -> Object:
    """At most one of these pods is away for the sake of a node's maintenance."""
    version = "policy/v1" if cluster.has(21) else "policy/v1beta1"
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
    return objects.make("PodDisruptionBudget", version, name, cluster, labels, spec=spec)


def job(x: Exported, cluster: Cluster, service: Service, argv: tuple[str, ...]) -> Iterator[Object]:
    """What runs once before the release's instances, as the role that migrates: again if it failed for a lock."""
    mounts = Mounts(x, cluster, service)
    labels = objects.labels(x, "job", service.name)
    yield from mounts.objects
    given = argv or containers.raw_of(x.document, service.name).get("command") or ()
    key = f"{service.name}:release"
    template = pods.template(x, cluster, service, mounts, labels, argv=tuple(given), environment=key)
    name = objects.of_release(x, service.name, "once")
    spec = {"backoffLimit": 5, "template": template}
    yield objects.make("Job", "batch/v1", name, cluster, labels, spec=spec)


def address(x: Exported, cluster: Cluster, service: Service) -> Object:
    """The address of a service's instances, at the ports on which they listen."""
    labels = objects.labels(x, "instance", service.name)
    name = objects.of_release(x, service.name)
    ports = [
        {"name": f"{protocol.lower()}-{port}", "port": port, "protocol": protocol, "targetPort": port}
        for port, protocol in x.ports(service)
    ]
    return objects.make("Service", "v1", name, cluster, labels, spec={"selector": labels, "ports": ports})


def store(x: Exported, cluster: Cluster, service: Service) -> Iterator[Object]:
    """A store: one pod with its claims, under its service's name and its other names."""
    if not objects.is_label(service.name):
        raise ManifestError(
            f"`{service.name}` cannot be a name in a cluster",
            where=f"services.{service.name}",
            hint="small letters, digits and dashes; the app's addresses follow",
        )
    mounts = Mounts(x, cluster, service)
    labels = objects.labels(x, "store", service.name, release=False)
    yield from mounts.objects
    if scripts := x.scripts.get(service.name):
        volume = f"{objects.name(x.app, service.name)}-scripts"
        mounts.volumes.append({"name": "scripts", "secret": {"secretName": volume, "defaultMode": 0o444}})
        for script in sorted(scripts):
            mounts.mount("scripts", f"{SCRIPTS}/{script}", subPath=script, readOnly=True)
    template = pods.template(x, cluster, service, mounts, labels)
    spec = {
        "replicas": 1,
        "serviceName": service.name,
        "selector": {"matchLabels": labels},
        "template": template,
        "volumeClaimTemplates": mounts.claims,
    }
    name = objects.name(x.app, service.name)
    yield objects.make("StatefulSet", "apps/v1", name, cluster, labels, spec=objects.without_none(spec))
    port = x.images[service.name].port
    for known in dict.fromkeys((service.name, *map(str.lower, aliases(x.document, service.name)))):
        if objects.is_label(known):
            content = (
                {"ports": [{"name": "main", "port": port, "targetPort": port}]}
                if port
                else {"clusterIP": "None"}
            )
            yield objects.make("Service", "v1", known, cluster, labels, spec={"selector": labels, **content})
