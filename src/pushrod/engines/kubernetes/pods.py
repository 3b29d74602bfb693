"""The pods of a service: its container, with probes, resources and rights. Pure."""

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from pushrod.core.errors import ManifestError
from pushrod.core.values import Hook, Service
from pushrod.engines.docker import containers
from pushrod.engines.exported import Exported, Variables
from pushrod.engines.kubernetes import hosts, keys, objects
from pushrod.engines.kubernetes.mounts import Mounts
from pushrod.engines.kubernetes.objects import Cluster, Object
from pushrod.manifest.document import duration
from pushrod.stores import registry

LINGER = 10
"""Seconds that a pod serves on after its end has begun: until then every node has learnt that it takes no more."""

_PROBE_TIMEOUT = 5
_STORE_START = 300  # seconds in which a store may read its data
_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")  # what both old and new API servers accept


def template(
    x: Exported,
    cluster: Cluster,
    service: Service,
    mounts: Mounts,
    labels: Mapping[str, str],
    *,
    argv: Sequence[str] | None = None,
    environment: str = "",
) -> Object:
    """The template of a service's pods; with `argv` of pods that run this once, with their own `environment`."""
    raw = containers.raw_of(x.document, service.name)
    once = argv is not None
    more: Object = {}
    if not once:
        more = {**_probes(x, service, raw), "lifecycle": _lifecycle(cluster, service)}
    container = objects.without_none({
        "name": objects.name(service.name),
        "image": x.images[service.name].name,
        "command": _words(raw.get("entrypoint")),
        "args": _words(argv or _command(service, raw)),
        "workingDir": raw.get("working_dir"),
        "envFrom": _environment(x, service, environment),
        "ports": [] if once else [{"containerPort": n, "protocol": p} for n, p in x.ports(service)],
        "resources": _resources(raw),
        "securityContext": _security(x, service, raw),
        "volumeMounts": mounts.mounts,
        "stdin": raw.get("stdin_open") or None,
        "tty": raw.get("tty") or None,
        **more,
    })  # fmt: skip
    linger = 0 if once or service.role == "store" else LINGER
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": math.ceil(service.stop_grace) + linger,
        "securityContext": _of_pod(service, raw, mounts),
        "shareProcessNamespace": raw.get("init") or None,
        "nodeSelector": _nodes(raw),
        "hostname": _own_name(raw),
        "hostAliases": hosts.given(raw),
        "dnsConfig": _names(raw),
        "containers": [container],
        "volumes": mounts.volumes,
    }
    if once:
        pod["restartPolicy"] = "Never"
    elif service.role != "store":
        hosts.add(x, cluster, service, pod)
        if service.replicas > 1:
            pod["topologySpreadConstraints"] = [spread(labels)]
    # a change of these replaces the pods; those of a Job cannot be changed
    stays = once or service.role == "store"
    annotations = {} if stays else {"pushrod.commit": x.commit, "pushrod.inputs": x.inputs[:16]}
    metadata = objects.without_none({"labels": dict(labels), "annotations": annotations})
    return {"metadata": metadata, "spec": objects.without_none(pod)}


def spread(labels: Mapping[str, str]) -> Object:
    """Pods with these labels on as many nodes as possible; a cluster without room for that runs them anyway."""
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(labels)},
    }


def variables(given: Variables, where: str) -> None:
    """Raise ManifestError for a variable whose name Kubernetes refuses."""
    for name in given:
        if not _VARIABLE.fullmatch(name):
            raise ManifestError(
                f"`{name}` cannot be a variable's name on Kubernetes", where=where, hint="rename it"
            )


# ---- what runs --------------------------------------------------------------------------------------------------


def _command(service: Service, raw: Mapping[str, Any]) -> Any:
    """The arguments: the manifest's, or what the store's kind gives its image."""
    if service.role != "store" or raw.get("command") or raw.get("entrypoint"):
        return raw.get("command")
    return registry.of(service.store).exported_command(service, service.memory or 1 << 30)


def _words(value: Any) -> list[str] | None:
    """Arguments, in which Kubernetes reads `$$` as `$`, and `$(NAME)` as a variable."""
    return [str(word).replace("$", "$$") for word in value] if value else None


def _environment(x: Exported, service: Service, name: str) -> list[Object]:
    """References to the objects with its variables."""
    key = name or service.name
    given = x.stores[service.name] if service.role == "store" else x.environments[key]
    called = of_environment(x, service, name)
    opened = {n for n, v in given.items() if x.is_open(n, v)}
    sources: list[Object] = []
    if opened:
        sources.append({"configMapRef": {"name": called}})
    if len(given) > len(opened):
        sources.append({"secretRef": {"name": called}})
    return sources


def of_environment(x: Exported, service: Service, name: str = "") -> str:
    """The name of the ConfigMap and the Secret with the variables of a service."""
    if service.role == "store":
        return objects.name(x.app, service.name)
    return objects.of_release(x, service.name, *(["once"] if name else []))


def _names(raw: Mapping[str, Any]) -> Object:
    options = [
        dict(zip(("name", "value"), str(o).split(":", 1), strict=False)) for o in raw.get("dns_opt") or []
    ]
    return objects.without_none({
        "nameservers": [str(n) for n in containers.listed(raw.get("dns"))],
        "searches": containers.listed(raw.get("dns_search")),
        "options": options,
    })  # fmt: skip


def _own_name(raw: Mapping[str, Any]) -> str | None:
    name = str(raw.get("hostname") or "").lower()
    return name if objects.is_label(name) else None


def _nodes(raw: Mapping[str, Any]) -> Object:
    parts = str(raw.get("platform") or "").split("/")
    return {"kubernetes.io/arch": parts[1]} if len(parts) > 1 else {}


# ---- rights and resources ---------------------------------------------------------------------------------------


def _account(service: Service, raw: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """The account and group of its programs, as numbers; None if its image decides."""
    words = str(raw.get("user") or "").split(":")
    if words[0] == "":
        return None, None
    if not all(word.isdecimal() for word in words if word != "root"):
        keys.refuse(f"services.{service.name}.user", "Kubernetes takes a number")
    numbers = [0 if word == "root" else int(word) for word in words]
    return numbers[0], numbers[1] if len(numbers) > 1 else None


def _security(x: Exported, service: Service, raw: Mapping[str, Any]) -> Object:
    user, group = _account(service, raw)
    added = containers.capabilities(x.document, service, x.images[service.name])
    return objects.without_none({
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"], **({"add": added} if added else {})},
        "readOnlyRootFilesystem": service.read_only or None,
        "runAsUser": user,
        "runAsGroup": group,
        "runAsNonRoot": True if user else None,
    })  # fmt: skip


def _of_pod(service: Service, raw: Mapping[str, Any], mounts: Mounts) -> Object:
    user, group = _account(service, raw)
    further = [str(g) for g in raw.get("group_add") or []]
    if not all(g.isdecimal() for g in further):
        keys.refuse(f"services.{service.name}.group_add", "Kubernetes takes numbers")
    owner = group if group is not None else user
    owned = {"fsGroup": owner, "fsGroupChangePolicy": "OnRootMismatch"} if owner and mounts.keeps else {}
    return objects.without_none({
        "seccompProfile": {"type": "RuntimeDefault"},
        "supplementalGroups": [int(g) for g in further],
        **owned,
    })  # fmt: skip


def _resources(raw: Mapping[str, Any]) -> Object:
    given = ((raw.get("deploy") or {}).get("resources")) or {}
    limits, reserved = given.get("limits") or {}, given.get("reservations") or {}
    quota, period = float(raw.get("cpu_quota") or 0), float(raw.get("cpu_period") or 100_000)
    most = {
        "cpu": _processors(limits.get("cpus") or raw.get("cpus") or (quota / period if quota > 0 else 0)),
        "memory": _bytes(limits.get("memory") or raw.get("mem_limit")),
    }
    least = {
        "cpu": _processors(reserved.get("cpus")),
        "memory": _bytes(reserved.get("memory") or raw.get("mem_reservation")),
    }
    return objects.without_none(
        {"limits": objects.without_none(most), "requests": objects.without_none(least)}
    )


def _processors(value: Any) -> str | None:
    return f"{math.ceil(float(value) * 1000)}m" if value and float(value) > 0 else None


def _bytes(value: Any) -> str | None:
    return str(value) if value and str(value) != "0" else None


# ---- probes and ends --------------------------------------------------------------------------------------------


def _probes(x: Exported, service: Service, raw: Mapping[str, Any]) -> Object:
    """Starting ends with the first success, within the deadline; then the container is asked for requests
    (readiness), and restarted if it hangs.
    """
    check = raw.get("healthcheck") or {}
    if (asked := _asked(x, service, check)) is None:
        return {}
    timeout = _seconds(check.get("timeout"), _PROBE_TIMEOUT)
    period, retries = _seconds(check.get("interval"), 10), int(check.get("retries") or 3)
    deadline = _STORE_START if service.role == "store" else math.ceil(service.health.deadline)
    common = {**asked, "timeoutSeconds": timeout}
    return {
        "startupProbe": {**common, "periodSeconds": 1, "failureThreshold": max(deadline, 1)},
        "readinessProbe": {**common, "periodSeconds": min(period, 5), "failureThreshold": 2},
        "livenessProbe": {**common, "periodSeconds": period, "failureThreshold": max(retries, 3)},
    }


def _asked(x: Exported, service: Service, check: Mapping[str, Any]) -> Object | None:
    """How it shows that it is healthy: by the same rule as on Docker."""
    health, port = service.health, x.port(service)
    if health.path and port and not health.any_answer:
        headers = [{"name": "Host", "value": health.host or "localhost"}]
        return {"httpGet": {"path": health.path, "port": port, "httpHeaders": headers}}
    test = check.get("test") or (registry.of(service.store).check(service) if service.role == "store" else [])
    words = ["CMD-SHELL", test] if isinstance(test, str) else [str(word) for word in test]
    if check.get("disable") or words[:1] == ["NONE"]:
        return {"tcpSocket": {"port": port}} if port else None
    if words and not (health.path and health.any_answer):
        argv = ["/bin/sh", "-c", *words[1:]] if words[0] == "CMD-SHELL" else words[1:]
        return {"exec": {"command": argv}}
    return {"tcpSocket": {"port": port}} if port else None


def _seconds(value: Any, usual: int) -> int:
    seconds = duration(str(value)) if value else None
    return max(1, math.ceil(seconds)) if seconds else usual


def _lifecycle(cluster: Cluster, service: Service) -> Object:
    where = f"services.{service.name}"
    for kind, hooks in (("post_start", service.post_start), ("pre_stop", service.pre_stop)):
        for hook in hooks:
            _plain(f"{where}.{kind}", hook)
    lifecycle: Object = {}
    if service.post_start:
        if len(service.post_start) > 1:
            keys.refuse(f"{where}.post_start", "more than one command")
        lifecycle["postStart"] = {"exec": {"command": list(service.post_start[0].command)}}
    linger = 0 if service.role == "store" else LINGER
    if service.pre_stop:
        lines = [shlex.join(hook.command) for hook in service.pre_stop]
        script = "; ".join([*lines, *([f"sleep {linger}"] if linger else [])])
        lifecycle["preStop"] = {"exec": {"command": ["/bin/sh", "-c", script]}}
    elif linger:
        by_kubelet = cluster.has(30)  # an image need not have a `sleep` of its own
        lifecycle["preStop"] = (
            {"sleep": {"seconds": linger}} if by_kubelet else {"exec": {"command": ["sleep", str(linger)]}}
        )
    return lifecycle


def _plain(where: str, hook: Hook) -> None:
    for key in ("user", "working_dir", "privileged", "environment"):
        if getattr(hook, key):
            keys.refuse(f"{where}.{key}")
