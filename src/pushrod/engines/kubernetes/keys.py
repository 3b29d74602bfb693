"""The effect of each key of a manifest in exported Kubernetes objects: one table, for checks and docs/cluster.md.

Pure. A manifest is first read as for Docker (`manifest.keys`), so a key that Docker does not use is not used here
either. Each key that Docker uses has a row here.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from pushrod.core.errors import ManifestError
from pushrod.core.values import Manifest
from pushrod.engines.docker.containers import raw_of

Fate = Literal["used", "noted", "ignored", "refused"]
FATES: dict[Fate, str] = {
    "used": "as on Docker, or as the details say",
    "noted": "not used, with a note",
    "ignored": "not used, without a note",
    "refused": "an error that names the key",
}
"""The possible treatments of a key, with their meaning."""


class Row(NamedTuple):
    """The treatment of a key. `asks` says whether a value asks for what is noted or refused."""

    fate: Fate
    details: str = ""
    asks: Callable[[Any], bool] = bool


def _host(value: Any) -> bool:
    return bool(value == "host")


def _other_than_none(value: Any) -> bool:
    return value not in (None, "none", "bridge")


def _weaker(value: Any) -> bool:
    return any(not str(v).startswith("no-new-privileges") or str(v).endswith("false") for v in value or [])


def _stop_first(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("order") == "stop-first"


def _not_always(value: Any) -> bool:
    return value not in (None, "", "always", "unless-stopped", "any")


def _special(value: Any) -> bool:
    return value not in (None, "", "local")


_ALIAS = "a name by which other services reach it"
_BUILT = "images are built elsewhere: `--registry`, `--image`"
_HOOK = "a hook of Kubernetes runs in the container as it is"

SERVICE: dict[str, Row] = {
    "cap_add": Row("used"),
    "cap_drop": Row("used"),
    "cgroup": Row("refused", "`host`", _host),
    "command": Row("used"),
    "configs": Row("used", "a ConfigMap or Secret; without `uid` and `gid`"),
    "container_name": Row("used", _ALIAS),
    "cpu_period": Row("used", "with `cpu_quota` a limit of processors"),
    "cpu_quota": Row("used"),
    "cpu_shares": Row("ignored"),
    "cpus": Row("used", "`resources.limits.cpu`"),
    "cpuset": Row("noted"),
    "depends_on": Row("ignored", "all pods of a release start together; jobs and stores come before them"),
    "device_cgroup_rules": Row("refused"),
    "devices": Row("refused"),
    "dns": Row("used", "in addition to the cluster's"),
    "dns_opt": Row("used"),
    "dns_search": Row("used"),
    "entrypoint": Row("used"),
    "env_file": Row("used", "resolved by Compose"),
    "environment": Row("used", "a Secret; values that tell nothing are in a ConfigMap"),
    "expose": Row("used", "likewise"),
    "extends": Row("used", "resolved by Compose"),
    "extra_hosts": Row("used", "addresses only"),
    "gpus": Row("refused"),
    "group_add": Row("used", "numbers"),
    "hostname": Row("used", _ALIAS),
    "image": Row("used"),
    "init": Row("used", "processes of a pod share one namespace, whose first process collects ended ones"),
    "ipc": Row("refused", "`host`", _host),
    "label_file": Row("ignored"),
    "labels": Row("ignored"),
    "links": Row("used", _ALIAS),
    "mem_limit": Row("used", "`resources.limits.memory`"),
    "mem_reservation": Row("used", "`resources.requests.memory`"),
    "memswap_limit": Row("ignored", "nodes decide about swap"),
    "network_mode": Row("used", "`none`; another one is refused", _other_than_none),
    "oom_score_adj": Row("ignored", "Kubernetes sets it by requests and limits"),
    "pid": Row("refused", "`host`", _host),
    "pids_limit": Row("noted", "a setting of the kubelet"),
    "platform": Row("used", "the node's architecture"),
    "ports": Row("used", "the ports on which other services reach it"),
    "privileged": Row("refused"),
    "profiles": Row("used", "Compose's own"),
    "read_only": Row("used"),
    "restart": Row("noted", "pods of a Deployment are always restarted", _not_always),
    "runtime": Row("refused", "another than `runc`", lambda value: value not in (None, "", "runc")),
    "scale": Row("used"),
    "secrets": Row("used", "a Secret; without `uid` and `gid`"),
    "security_opt": Row("refused", "other than `no-new-privileges`", _weaker),
    "shm_size": Row("used"),
    "stdin_open": Row("used"),
    "stop_grace_period": Row(
        "used", "`terminationGracePeriodSeconds`, plus the time in which endpoints change"
    ),
    "stop_signal": Row("noted", "set STOPSIGNAL in the Dockerfile"),
    "sysctls": Row("noted"),
    "tmpfs": Row("used", "its `size`"),
    "tty": Row("used"),
    "ulimits": Row("noted", "a setting of the container runtime"),
    "use_api_socket": Row("refused"),
    "user": Row("used", "numbers; a name is refused"),
    "userns_mode": Row("refused", "`host`", _host),
    "uts": Row("refused", "`host`", _host),
    "volumes_from": Row("used"),
    "working_dir": Row("used"),
    "build.additional_contexts": Row("ignored", _BUILT),
    "build.args": Row("ignored", _BUILT),
    "build.context": Row("ignored", _BUILT),
    "build.dockerfile": Row("used", "its USER, EXPOSE and VOLUME are read; the image is built elsewhere"),
    "build.target": Row("used", "the stage of which these are read"),
    "deploy.mode": Row("used"),
    "deploy.replicas": Row("used"),
    "deploy.resources.limits.cpus": Row("used"),
    "deploy.resources.limits.memory": Row("used"),
    "deploy.resources.limits.pids": Row("noted", "a setting of the kubelet"),
    "deploy.resources.reservations.devices": Row("refused"),
    "deploy.resources.reservations.memory": Row("used", "`resources.requests.memory`"),
    "deploy.restart_policy": Row(
        "noted",
        "pods of a Deployment are always restarted",
        lambda v: _not_always((v or {}).get("condition")),
    ),
    "deploy.update_config": Row(
        "noted", "`order: stop-first`: scale the old release down before the new one starts", _stop_first
    ),
    "healthcheck.disable": Row("used"),
    "healthcheck.interval": Row("used", "whole seconds"),
    "healthcheck.retries": Row("used"),
    "healthcheck.start_interval": Row("ignored", "a starting container is asked every second"),
    "healthcheck.start_period": Row("used"),
    "healthcheck.test": Row("used"),
    "healthcheck.timeout": Row("used", "whole seconds"),
    "logging.driver": Row("ignored", "the cluster collects logs"),
    "logging.options": Row("ignored"),
    "networks.*.aliases": Row("used", _ALIAS),
    "post_start.command": Row("used", "one command"),
    "post_start.environment": Row("refused", _HOOK),
    "post_start.privileged": Row("refused", _HOOK),
    "post_start.user": Row("refused", _HOOK),
    "post_start.working_dir": Row("refused", _HOOK),
    "pre_stop.command": Row("used", "by the container's shell, before the time in which endpoints change"),
    "pre_stop.environment": Row("refused", _HOOK),
    "pre_stop.privileged": Row("refused", _HOOK),
    "pre_stop.user": Row("refused", _HOOK),
    "pre_stop.working_dir": Row("refused", _HOOK),
    "volumes.bind.propagation": Row("ignored"),
    "volumes.bind.recursive": Row("ignored"),
    "volumes.read_only": Row("used", "files of the commit are always read-only"),
    "volumes.source": Row(
        "used",
        "a volume or data: a claim, but one without a name is empty in each pod of an instance; files of the "
        "commit, at most 900 KiB: a ConfigMap; a host path is refused",
    ),
    "volumes.target": Row("used"),
    "volumes.tmpfs.mode": Row("ignored"),
    "volumes.tmpfs.size": Row("used"),
    "volumes.type": Row("used"),
    "volumes.volume.nocopy": Row("ignored", "a new claim is empty"),
    "volumes.volume.subpath": Row("used"),
}
"""Keys of a service, by their path in it."""

OTHERS: dict[str, Row] = {
    "include": Row("used", "resolved by Compose"),
    "volumes.*.driver": Row("refused", "other than `local`", _special),
    "volumes.*.driver_opts": Row("refused"),
    "volumes.*.external": Row("refused"),
    "volumes.*.name": Row("ignored", "claims are named after the app and the volume's key"),
    "configs.*.content": Row("used"),
    "configs.*.environment": Row("used"),
    "configs.*.file": Row("used", "a file of the commit"),
    "secrets.*.content": Row("used"),
    "secrets.*.environment": Row("used"),
    "secrets.*.file": Row("used", "a file of the commit"),
}
"""Keys elsewhere."""

OURS: dict[str, Row] = {
    "x-pushrod.backups": Row("noted", "nothing takes backups of an exported app"),
    "x-pushrod.domains": Row("used"),
    "x-pushrod.keep": Row("ignored", "what was applied stays until you remove it"),
    "x-pushrod.nginx": Row("used"),
    "x-pushrod.notify": Row("noted", "an exported app's releases send no notices"),
    "x-pushrod.redirects": Row("used"),
    "x-pushrod.trusted_proxies": Row("used"),
    "x-pushrod.tls": Row("used", "the certificate is the Secret `APP-tls`, which somebody has to renew"),
    "services.<name>.x-pushrod.routes": Row("used"),
    "services.<name>.x-pushrod.routes.<prefix>.files": Row("used", "at most 900 KiB, in a ConfigMap"),
    "services.<name>.x-pushrod.routes.<prefix>.rate_limit": Row(
        "used", "each pod of the edge counts; the load balancer keeps a client at one"
    ),
    "services.<name>.x-pushrod.routes.<prefix>.cache": Row("used", "each pod of the edge has its own"),
    "services.<name>.x-pushrod.metrics": Row("ignored", "the annotations of your Prometheus are your own"),
    "services.<name>.x-pushrod.sticky": Row("refused", "with several replicas"),
    "services.<name>.x-pushrod.role": Row("used"),
    "services.<name>.x-pushrod.release": Row("used", "a Job"),
    "services.<name>.x-pushrod.read_only": Row("used"),
    "services.<name>.x-pushrod.settings": Row("used", "if the service has no command of its own"),
    "services.<name>.x-pushrod.profile": Row("used"),
    "services.<name>.x-pushrod.health": Row("used", "startup, readiness and liveness probes"),
}
"""The `x-pushrod` keys; one without a row is treated like the one above it."""


def notes(document: Mapping[str, Any], manifest: Manifest) -> list[str]:
    """What of a manifest is not used in exported objects. Raises ManifestError for a key that is refused."""
    services: dict[str, list[str]] = {}
    for service in (*manifest.stateless, *manifest.stores):
        raw = raw_of(document, service.name)
        for path, row in SERVICE.items():
            for value in values(raw, path):
                if not row.asks(value):
                    continue
                if row.fate == "refused" or (path == "network_mode" and _other_than_none(value)):
                    refuse(f"services.{service.name}.{path}", row.details)
                if row.fate == "noted":
                    services.setdefault(path, []).append(service.name)
        if service.name in manifest.routing.sticky and service.replicas > 1:
            refuse(f"services.{service.name}.x-pushrod.sticky", "with several replicas")
    for path, row in OTHERS.items():
        for value in values(document, path):
            if row.fate == "refused" and row.asks(value):
                refuse(path, row.details)
    result = [f"{', '.join(dict.fromkeys(names))}: `{path}` not applied" for path, names in services.items()]
    if manifest.stores and manifest.backups.every != "never":
        result.append("no backups are taken of the stores of an exported app")
    if manifest.notify:
        result.append("`x-pushrod.notify` not applied")
    return result


def refuse(where: str, details: str = "") -> None:
    """Raise ManifestError for a key that no exported object can have."""
    suffix = f" ({details})" if details else ""
    raise ManifestError(
        f"`{where.rpartition('.')[2]}` cannot be exported to Kubernetes{suffix}",
        where=where,
        hint="docs/cluster.md lists every key; leave this one out, or stay on a Docker host",
    )


def values(place: Any, path: str) -> Iterator[Any]:
    """The values at a path, through lists and `*`."""
    if isinstance(place, list):
        for item in place:
            yield from values(item, path)
        return
    if not isinstance(place, Mapping):
        return
    head, _, rest = path.partition(".")
    for name in [*place] if head == "*" else [head] if head in place else []:
        if rest:
            yield from values(place[name], rest)
        else:
            yield place[name]
