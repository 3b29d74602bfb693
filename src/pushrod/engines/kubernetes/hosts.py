"""The names by which programs of a release reach its services, and only its own: the pod's /etc/hosts. Pure.

All releases share a namespace, and so its DNS, in which a service's name could mean one release only. So each service
of a release has an address under a name of the release's own, and before a pod's programs start, its /etc/hosts gets
these addresses under the names that the manifest has for them. An address stays as long as its Service.
"""

import re
import shlex
from collections.abc import Mapping
from typing import Any

from pushrod.core.values import Service
from pushrod.engines.docker import containers
from pushrod.engines.docker.rendering import aliases
from pushrod.engines.exported import Exported
from pushrod.engines.kubernetes import keys, objects
from pushrod.engines.kubernetes.objects import Cluster, Object

_VOLUME = "names"
_NOBODY = 65534
_SCRIPT = """\
add() {
    address=$(getent hosts "$1") || { echo "$1 has no address yet" >&2; exit 1; }
    shift
    echo "${address%% *} $*"
}
{
    echo '127.0.0.1 localhost'
    echo '::1 localhost ip6-localhost ip6-loopback'
    echo "$ADDRESS $HOSTNAME"
@lines@} > /names/hosts
"""


def known(x: Exported, service: Service) -> list[str]:
    """The names of a service in its release."""
    return [service.name, *aliases(x.document, service.name)]


def given(raw: Mapping[str, Any]) -> list[Object]:
    """The names and addresses in a service's `extra_hosts`. Raises ManifestError for what is no address."""
    hosts: dict[str, list[str]] = {}
    for line in raw.get("extra_hosts") or []:
        name, _, address = str(line).replace("=", ":", 1).partition(":")
        if not re.fullmatch(r"[0-9a-fA-F.:]+", address):
            keys.refuse("services.extra_hosts", f"`{address}` is not an address")
        hosts.setdefault(address, []).append(name)
    return [{"ip": address, "hostnames": names} for address, names in hosts.items()]


def add(x: Exported, cluster: Cluster, service: Service, pod: Object) -> None:
    """Give the pods of a service the names of the release's services, if they are several."""
    reached = [s for s in x.instances if x.ports(s)]
    if containers.isolated(x.document, service) or {s.name for s in reached} <= {service.name}:
        return
    lines = [f"    add {shlex.join([objects.of_release(x, s.name), *known(x, s)])}\n" for s in reached]
    own = pod.pop("hostAliases", None) or []
    lines += [f"    echo {shlex.quote(' '.join([line['ip'], *line['hostnames']]))}\n" for line in own]
    container = {
        "name": _VOLUME,
        "image": cluster.edge,
        "command": ["/bin/sh", "-c", _SCRIPT.replace("@lines@", "".join(lines)).replace("$", "$$")],
        "env": [{"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": _NOBODY,
        },
        "volumeMounts": [{"name": _VOLUME, "mountPath": "/names"}],
    }
    main = pod["containers"][0]
    mount = {"name": _VOLUME, "mountPath": "/etc/hosts", "subPath": "hosts", "readOnly": True}
    pod["containers"] = [{**main, "volumeMounts": [*main.get("volumeMounts", []), mount]}]
    pod["initContainers"] = [container]
    pod["volumes"] = [*(pod.get("volumes") or []), {"name": _VOLUME, "emptyDir": {}}]
