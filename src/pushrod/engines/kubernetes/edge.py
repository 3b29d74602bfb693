"""The edge of a release: the same nginx configuration as on one machine, in pods of the release's own. Pure.

The release's edge sends requests to the release alone. So the one Service in front of the edges, by its selector,
switches the app's whole release at once, with its routes, files and headers.
"""

from pathlib import Path

from pushrod.adapters import nginx
from pushrod.core.site import CHAIN, DRAIN_BUDGET, KEY
from pushrod.engines.exported import Exported, is_hidden
from pushrod.engines.kubernetes import objects, pods, workloads
from pushrod.engines.kubernetes.objects import Cluster, Object

REPLICAS = 2
_HOME = Path("/edge")
_ACCOUNT = "nginx"  # as which the official image's workers run
_START = (
    "rm -f {run}/mark.sock; ln -sf /dev/stdout {logs}/access.log; ln -sf /dev/stderr {logs}/error.log; "
    "exec nginx -p {home}/ -c {tree}/nginx.conf -e stderr -g 'user {account};'"
)
"""A container that ended leaves the socket behind; the log goes where Kubernetes collects it."""


def render(x: Exported, cluster: Cluster) -> list[Object]:
    """The edge's pods, with their configuration and files."""
    labels = objects.labels(x, "edge", "edge")
    name, app = objects.of_release(x, "edge"), x.site.app
    tree = configuration(x)
    generation = objects.digest(*(part for path, text in sorted(tree.items()) for part in (path, text)))
    place = _HOME / "trees" / generation
    content = objects.files(
        {path: text.encode() for path, text in _trees(x, generation).items()}, "x-pushrod.routes"
    )
    config = objects.make("ConfigMap", "v1", name, cluster, labels, data=content.text)
    rendered = [config]
    volumes: list[Object] = [
        {"name": "configuration", "configMap": {"name": name, "items": content.items}},
        {"name": "run", "emptyDir": {}},
        {"name": "logs", "emptyDir": {}},
    ]
    mounts: list[Object] = [
        {"name": "configuration", "mountPath": str(place), "readOnly": True},
        {"name": "run", "mountPath": str(_HOME / "run")},
        {"name": "logs", "mountPath": str(_HOME / "logs")},
    ]
    for number, route in enumerate(x.site.routing.routes):
        if not route.files:
            continue
        files = x.tree(route.files) or {}
        shown = {path: raw for path, raw in files.items() if not is_hidden(path)}
        contents = objects.files(shown, f"routes.{route.prefix}.files")
        own = f"{name}-{number}"
        data = objects.without_none({"data": contents.text, "binaryData": contents.binary})
        rendered.append(objects.make("ConfigMap", "v1", own, cluster, labels, **data))
        volumes.append({"name": f"files-{number}", "configMap": {"name": own, "items": contents.items}})
        target = _HOME / "static" / app / str(x.number) / str(number) / route.prefix.strip("/")
        mounts.append({"name": f"files-{number}", "mountPath": str(target), "readOnly": True})
    if x.passwords:
        secret = {"secretName": objects.of_release(x, "passwords"), "defaultMode": 0o444}
        volumes.append({"name": "passwords", "secret": secret})
        mounts.append({"name": "passwords", "mountPath": str(_HOME / "passwords" / app), "readOnly": True})
    if x.site.tls:
        items = [{"key": "tls.crt", "path": CHAIN}, {"key": "tls.key", "path": KEY}]
        volumes.append({"name": "certificate", "secret": {"secretName": certificate(x), "items": items}})
        target = _HOME / "certificates" / app / x.site.tls.generation
        mounts.append({"name": "certificate", "mountPath": str(target), "readOnly": True})
    run, logs = _HOME / "run", _HOME / "logs"
    start = _START.format(run=run, logs=logs, home=_HOME, tree=place, account=_ACCOUNT)
    answers = {"tcpSocket": {"port": x.site.port}, "periodSeconds": 2}
    linger = (
        {"sleep": {"seconds": pods.LINGER}}
        if cluster.has(30)
        else {"exec": {"command": ["sleep", str(pods.LINGER)]}}
    )
    container = {
        "name": "edge",
        "image": cluster.edge,
        "command": ["/bin/sh", "-c", start],
        "ports": [{"name": f"port-{port}", "containerPort": port} for port in x.site.ports],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            # its first process opens the ports, gives directories to the workers' account, and becomes that account
            "capabilities": {"drop": ["ALL"], "add": ["CHOWN", "NET_BIND_SERVICE", "SETGID", "SETUID"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": mounts,
        "startupProbe": {**answers, "failureThreshold": 60},
        "readinessProbe": answers,
        "livenessProbe": {**answers, "periodSeconds": 10, "failureThreshold": 6},
        "lifecycle": {"preStop": linger},
    }
    spec = {
        "replicas": REPLICAS,
        "revisionHistoryLimit": 1,
        "selector": {"matchLabels": labels},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": {
            "metadata": {"labels": labels, "annotations": {"pushrod.commit": x.commit}},
            "spec": {
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "terminationGracePeriodSeconds": pods.LINGER + int(DRAIN_BUDGET) + 5,
                "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
                "topologySpreadConstraints": [pods.spread(labels)],
                "containers": [container],
                "volumes": volumes,
            },
        },
    }
    rendered.append(objects.make("Deployment", "apps/v1", name, cluster, labels, spec=spec))
    return [*rendered, workloads.budget(cluster, name, labels)]


def switch(x: Exported, cluster: Cluster) -> Object:
    """The address of the app. Its selector names the release that serves.

    A client stays at one pod of the edge, which counts its requests; and only nodes with such a pod take any, so that
    the edge sees who the client is.
    """
    labels = {"pushrod.app": x.app}
    spec = {
        "type": "LoadBalancer",
        "externalTrafficPolicy": "Local",
        "sessionAffinity": "ClientIP",
        "selector": objects.labels(x, "edge", "edge"),
        "ports": [
            {
                "name": "https" if x.site.tls and port == x.site.tls.port else "http",
                "port": port,
                "targetPort": port,
            }
            for port in x.site.ports
        ],
    }
    return objects.make("Service", "v1", objects.name(x.app), cluster, labels, spec=spec)


def certificate(x: Exported) -> str:
    """The Secret with the app's certificate, which outlives releases."""
    return objects.name(x.app, "tls")


def configuration(x: Exported) -> dict[str, str]:
    """The files of nginx, by their path in its tree, for a generation without a name."""
    return _trees(x, "0")


def _trees(x: Exported, generation: str) -> dict[str, str]:
    site = x.served(lambda service: objects.of_release(x, service.name))
    return nginx.render_tree(
        generation,
        {site.app: site},
        listening=nginx.Listening(addresses=("0.0.0.0",), port=site.port),  # noqa: S104
        directory=_HOME,
        socket=_HOME / "run" / "mark.sock",
        known=nginx.Known(named=True),
    )
