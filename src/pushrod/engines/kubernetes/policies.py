"""Who may reach what: a release its own services and the app's stores, the edge its release, all the edge. Pure."""

from collections.abc import Iterator
from typing import Any

from pushrod.adapters import docker
from pushrod.engines.docker import containers
from pushrod.engines.docker.rendering import reaches_out
from pushrod.engines.exported import Exported
from pushrod.engines.kubernetes import objects
from pushrod.engines.kubernetes.objects import ROLE, Cluster, Object


def of_app(x: Exported, cluster: Cluster) -> Iterator[Object]:
    """What holds for all releases: nothing is reached unless another policy says so; stores by the app's own pods."""
    labels = {docker.APP: x.app}
    closed = {"podSelector": {"matchLabels": labels}, "policyTypes": ["Ingress"]}
    yield _policy(cluster, objects.name(x.app, "closed"), labels, closed)
    for store in x.manifest.stores:
        own = objects.labels(x, "store", store.name, release=False)
        users = [{"podSelector": _of_roles(labels, "instance", "job")}]
        if reaches_out(store):  # it may be a member of a cluster
            users.append({"podSelector": _of_roles(labels, "store")})
            spec = {
                "podSelector": {"matchLabels": own},
                "policyTypes": ["Ingress"],
                "ingress": [{"from": users}],
            }
        else:
            spec = {
                "podSelector": {"matchLabels": own},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": users}],
            }
        yield _policy(cluster, objects.name(x.app, store.name), own, spec)


def of_release(x: Exported, cluster: Cluster) -> Iterator[Object]:
    """What holds for the release: its instances are reached by its own pods, among them its edge, and by stores that
    reach out; its edge by everybody.
    """
    every = {docker.APP: x.app, docker.RELEASE: x.release}
    sources: list[Object] = [{"podSelector": {"matchLabels": every}}]
    if any(map(reaches_out, x.manifest.stores)):
        sources.append({"podSelector": _of_roles({docker.APP: x.app}, "store")})
    spec = {
        "podSelector": {"matchLabels": {**every, ROLE: "instance"}},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": sources}],
    }
    yield _policy(cluster, objects.of_release(x), every, spec)
    ports = [{"port": port, "protocol": "TCP"} for port in x.site.ports]
    spec = {
        "podSelector": {"matchLabels": {**every, ROLE: "edge"}},
        "policyTypes": ["Ingress"],
        "ingress": [{"ports": ports}],
    }
    yield _policy(cluster, objects.of_release(x, "edge"), every, spec)
    for service in x.manifest.stateless:
        if containers.isolated(x.document, service):
            own = {**every, docker.SERVICE: objects.name(service.name)}
            spec = {"podSelector": {"matchLabels": own}, "policyTypes": ["Egress"]}
            yield _policy(cluster, objects.of_release(x, service.name, "alone"), own, spec)


def _of_roles(labels: dict[str, str], *roles: str) -> Object:
    chosen = [{"key": ROLE, "operator": "In", "values": list(roles)}]
    return {"matchLabels": labels, "matchExpressions": chosen}


def _policy(cluster: Cluster, name: str, labels: dict[str, str], spec: dict[str, Any]) -> Object:
    return objects.make("NetworkPolicy", "networking.k8s.io/v1", name, cluster, labels, spec=spec)
