"""Every key of a compose file and its effect on each engine: the one allow list.

A key without a row is refused by name. Code (`policy`), the tables of docs/manifest.md and the tests use these
rows; a test walks the schema of the Compose loader and fails for a key without one.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from pushrod.core.traits import DOCKER, EMBEDDED
from pushrod.core.values import EngineName

Fate = Literal["used", "bounded", "noted", "ignored", "word", "refused"]
FATES: dict[Fate, str] = {
    "used": "as in Compose, or as described on this page",
    "bounded": "used within the limits given here; the rest is left out or reduced, with a note",
    "noted": "not used, with a note",
    "ignored": "not used, without a note: it concerns only Compose itself, a desktop, Swarm, or on the embedded "
    "engine how a container is separated from the machine",
    "word": "anything that reaches beyond the app's own containers needs a grant by the host's owner",
    "refused": "an error that names the key",
}
"""The possible treatments of a key, with their meaning."""


class Row(NamedTuple):
    """A key by its path (`*` is any name, list items have their list's path), with its treatment on each engine.

    A row covers everything below it that has no row of its own. `details` is the text in docs/manifest.md.
    """

    path: str
    docker: Fate
    embedded: Fate
    details: str = ""

    def fate(self, engine: EngineName) -> Fate:
        """The treatment of the key on an engine."""
        fates: dict[EngineName, Fate] = {EMBEDDED.name: self.embedded, DOCKER.name: self.docker}
        return fates[engine]


_TOP = (
    Row("name", "ignored", "ignored", "the app's own name is used"),
    Row("version", "ignored", "ignored"),
    Row("include", "used", "used", "resolved by Compose; only files of the commit"),
    Row("models", "ignored", "ignored"),
)
_SERVICE = (
    Row("annotations", "noted", "ignored", "settings of a container runtime, which could reach the host's units"),
    Row("attach", "ignored", "ignored"),
    Row("blkio_config", "noted", "ignored", "the app's slice has its weight"),
    Row("cap_add", "word", "noted", "CHOWN, DAC_OVERRIDE, FOWNER, KILL, NET_BIND_SERVICE, SETGID, SETUID; the other "
        "seven that Docker gives by default are left out, with a note, unless granted; any other needs a grant"),
    Row("cap_drop", "used", "ignored"),
    Row("cgroup", "word", "ignored", "`private`; `host` needs `host-cgroup`"),
    Row("cgroup_parent", "noted", "ignored", "the app's own slice is used"),
    Row("command", "used", "used"),
    Row("configs", "used", "noted"),
    Row("container_name", "used", "used", "a name by which other services reach it"),
    Row("cpu_count", "noted", "ignored", "Windows"),
    Row("cpu_percent", "noted", "ignored", "Windows"),
    Row("cpu_period", "used", "noted"),
    Row("cpu_quota", "used", "noted"),
    Row("cpu_rt_period", "noted", "ignored"),
    Row("cpu_rt_runtime", "noted", "ignored"),
    Row("cpu_shares", "bounded", "ignored", "2 to 1024, within the app's slice"),
    Row("cpus", "bounded", "noted", "`cpus`"),
    Row("cpuset", "bounded", "noted", "processors that the host has"),
    Row("credential_spec", "noted", "ignored", "Windows"),
    Row("depends_on", "used", "used"),
    Row("develop", "ignored", "ignored"),
    Row("device_cgroup_rules", "word", "noted", "`devices`"),
    Row("devices", "word", "noted", "`devices`"),
    Row("dns", "used", "noted"),
    Row("dns_opt", "used", "noted"),
    Row("dns_search", "used", "noted"),
    Row("domainname", "ignored", "ignored"),
    Row("entrypoint", "used", "used"),
    Row("env_file", "used", "used", "resolved by Compose"),
    Row("environment", "used", "used"),
    Row("expose", "used", "used"),
    Row("extends", "used", "used", "resolved by Compose; only files of the commit"),
    Row("external_links", "noted", "noted", "another app's containers are not reached"),
    Row("extra_hosts", "used", "noted"),
    Row("gpus", "word", "noted", "`devices`"),
    Row("group_add", "used", "noted"),
    Row("hostname", "used", "used", "a name by which other services reach it"),
    Row("image", "used", "used"),
    Row("init", "used", "ignored"),
    Row("ipc", "word", "ignored", "`private`, `shareable`, `none`; `host` needs `host-ipc`"),
    Row("isolation", "noted", "ignored", "Windows"),
    Row("label_file", "used", "ignored", "resolved by Compose"),
    Row("labels", "bounded", "ignored", "at most 64 KiB, except those that begin with `pushrod.` or `com.docker.`"),
    Row("links", "used", "used", "their aliases"),
    Row("mac_address", "noted", "noted"),
    Row("mem_limit", "bounded", "noted", "`memory`"),
    Row("mem_reservation", "bounded", "noted", "`memory`"),
    Row("mem_swappiness", "noted", "noted"),
    Row("memswap_limit", "bounded", "noted", "from `mem_limit` to twice as much"),
    Row("models", "refused", "refused"),
    Row("network_mode", "word", "noted", "`none`, `bridge`; `host` needs `host-network`; other names are not used"),
    Row("oom_kill_disable", "noted", "noted"),
    Row("oom_score_adj", "bounded", "noted", "0 to 1000; instances have at least 200, so stores outlive them"),
    Row("pid", "word", "ignored", "`host` needs `host-pid`"),
    Row("pids_limit", "bounded", "noted", "`pids`"),
    Row("platform", "used", "ignored", "on the embedded engine the machine's own"),
    Row("ports", "used", "used", "the ports on which it listens; no host port is opened"),
    Row("privileged", "word", "noted", "`privileged`"),
    Row("profiles", "used", "used", "Compose's own"),
    Row("provider", "refused", "refused", "Compose would run a program of the host"),
    Row("pull_policy", "ignored", "ignored"),
    Row("pull_refresh_after", "ignored", "ignored"),
    Row("read_only", "used", "used"),
    Row("restart", "used", "noted", "on the embedded engine a program that ends always starts again, so only "
        "`no` and `on-failure` have a note"),
    Row("runtime", "word", "noted", "`runc`; another needs `runtime`"),
    Row("scale", "bounded", "bounded", "`containers`"),
    Row("secrets", "used", "noted"),
    Row("security_opt", "word", "ignored", "Docker's own profiles; others need `unconfined`. `no-new-privileges` "
        "stays on, and `label` (SELinux) is left out, with a note, unless `unconfined` is granted"),
    Row("shm_size", "bounded", "ignored", "`shm`"),
    Row("stdin_open", "used", "noted"),
    Row("stop_grace_period", "bounded", "bounded", "`stop-grace`"),
    Row("stop_signal", "used", "noted", "on the embedded engine SIGTERM"),
    Row("storage_opt", "noted", "ignored", "the host's limit `layer` is used"),
    Row("sysctls", "word", "noted", "harmless ones of the container's own network and IPC; others of `net.` are "
        "left out, with a note, unless `sysctls` is granted; any other needs `sysctls`"),
    Row("tmpfs", "bounded", "bounded", "`tmpfs`; options `size`, `mode`, `uid`, `gid`, `exec`, `noexec`, `ro`, `rw`"),
    Row("tty", "used", "noted"),
    Row("ulimits", "bounded", "noted", "`nofile` to `open-files`, `nproc`, `memlock`, `stack`, `as`, `data`, `rss`, "
        "`fsize`, `cpu`, `locks`; no core files, no real-time priority"),
    Row("use_api_socket", "word", "noted", "`docker-socket`"),
    Row("user", "used", "noted", "on the embedded engine all programs run as one ordinary account, so only root has "
        "a note"),
    Row("userns_mode", "word", "ignored", "`host` needs `host-userns`"),
    Row("uts", "word", "ignored", "`host` needs `host-uts`"),
    Row("volumes_from", "word", "noted", "of the app's own services"),
    Row("working_dir", "used", "noted", "on the embedded engine without a note where the service mounts its code"),
)  # fmt: skip
_HOOK = (
    Row("command", "used", "noted", "on the embedded engine there is no container to run it in"),
    Row("environment", "used", "noted", "values of one line"),
    Row("privileged", "word", "noted", "`privileged`"),
    Row("user", "used", "noted"),
    Row("working_dir", "used", "noted"),
)
_BUILD = (
    Row(
        "additional_contexts",
        "word",
        "noted",
        "`service:NAME`; others are not used, with a note, and a host path needs a grant",
    ),
    Row("args", "used", "used"),
    Row("cache_from", "ignored", "ignored"),
    Row("cache_to", "ignored", "ignored"),
    Row("context", "used", "used", "a directory of the commit"),
    Row("dockerfile", "used", "used", "a file of the commit"),
    Row("dockerfile_inline", "refused", "refused"),
    Row("entitlements", "noted", "ignored", "builds are closed"),
    Row("extra_hosts", "noted", "noted"),
    Row("isolation", "noted", "ignored", "Windows"),
    Row("labels", "ignored", "ignored"),
    Row("network", "noted", "ignored", "pushrod chooses the network of builds"),
    Row("no_cache", "ignored", "ignored"),
    Row("platforms", "noted", "ignored", "the host's own"),
    Row("privileged", "noted", "ignored", "builds are closed"),
    Row("provenance", "ignored", "ignored"),
    Row("pull", "ignored", "ignored"),
    Row("sbom", "ignored", "ignored"),
    Row("secrets", "refused", "noted"),
    Row("shm_size", "noted", "ignored"),
    Row("ssh", "refused", "noted"),
    Row("tags", "noted", "ignored", "pushrod names the images"),
    Row("target", "used", "used"),
    Row("ulimits", "noted", "ignored"),
)
_DEPLOY = (
    Row("endpoint_mode", "ignored", "ignored"),
    Row("labels", "ignored", "ignored"),
    Row("mode", "bounded", "noted", "`replicated`"),
    Row("placement", "ignored", "ignored"),
    Row("replicas", "bounded", "bounded", "`containers`"),
    Row("resources.limits.cpus", "bounded", "noted", "`cpus`"),
    Row("resources.limits.memory", "bounded", "noted", "`memory`"),
    Row("resources.limits.pids", "bounded", "noted", "`pids`"),
    Row("resources.reservations.cpus", "ignored", "noted"),
    Row("resources.reservations.devices", "word", "noted", "`devices`"),
    Row("resources.reservations.generic_resources", "ignored", "noted"),
    Row("resources.reservations.memory", "bounded", "noted", "`memory`"),
    Row("restart_policy", "used", "noted", "its `condition`"),
    Row("rollback_config", "ignored", "ignored"),
    Row("update_config", "used", "used", "its `order`"),
)
_HEALTHCHECK = (
    Row("disable", "used", "used"),
    Row(
        "interval",
        "bounded",
        "bounded",
        "from `health-interval`, or on Docker 0.1 s for each container, to an hour",
    ),
    Row("retries", "bounded", "bounded", "at most 100"),
    Row("start_interval", "bounded", "ignored", "from `health-interval` to an hour"),
    Row("start_period", "bounded", "bounded", "at most an hour"),
    Row("test", "used", "used"),
    Row("timeout", "bounded", "ignored", "at most ten minutes"),
)
_LOGGING = (
    Row(
        "driver",
        "bounded",
        "noted",
        "`json-file`, `local`, `none`: logs stay on the host, in the app's own files",
    ),
    Row("options", "bounded", "ignored", "`max-size` to `log-size`, `max-file` to `log-files`"),
)
_NETWORK_OF_A_SERVICE = (
    Row("aliases", "used", "used"),
    Row("driver_opts", "ignored", "ignored"),
    Row("gw_priority", "ignored", "ignored"),
    Row("interface_name", "ignored", "ignored"),
    Row("ipv4_address", "noted", "noted", "pushrod assigns addresses"),
    Row("ipv6_address", "noted", "noted"),
    Row("link_local_ips", "ignored", "ignored"),
    Row("mac_address", "noted", "noted"),
    Row("priority", "ignored", "ignored"),
)
_MOUNT = (
    Row("bind.create_host_path", "ignored", "ignored"),
    Row("bind.propagation", "bounded", "ignored", "`rprivate`, `private`, `rslave`, `slave`"),
    Row("bind.recursive", "used", "ignored"),
    Row("bind.selinux", "ignored", "ignored", "it would relabel files of the host"),
    Row("consistency", "ignored", "ignored"),
    Row("image", "refused", "refused", "another image's files"),
    Row("read_only", "used", "used"),
    Row(
        "source",
        "word",
        "used",
        "a path of the commit, data of the app, or a volume; a host path needs a grant",
    ),
    Row("target", "used", "used"),
    Row("tmpfs.mode", "used", "used"),
    Row("tmpfs.size", "bounded", "bounded", "`tmpfs`"),
    Row("type", "word", "used", "`bind`, `volume`, `tmpfs`"),
    Row("volume.labels", "ignored", "ignored"),
    Row("volume.nocopy", "used", "noted"),
    Row("volume.subpath", "used", "refused"),
)
_VOLUME = (
    Row("driver", "word", "noted", "`local`; another needs `volume-driver`"),
    Row("driver_opts", "word", "noted", "`type: tmpfs` with its options; `o: bind` with a granted path; others "
        "need `volume-driver`"),
    Row("external", "word", "noted", "`volume:NAME`, unless it is the app's own"),
    Row("labels", "ignored", "ignored"),
    Row("name", "word", "noted", "`volume:NAME`, unless it begins with the app's name and `_`"),
)  # fmt: skip
_NETWORK = (Row("*", "ignored", "ignored", "networks of the file are not made; each release has its own"),)
_FILE = (
    Row("content", "used", "noted"),
    Row("driver", "noted", "noted", "Swarm"),
    Row("driver_opts", "noted", "noted", "Swarm"),
    Row("environment", "used", "noted", "a secret of the app"),
    Row("external", "refused", "refused", "Swarm"),
    Row("file", "word", "noted", "of the commit; a host path needs a grant"),
    Row("labels", "ignored", "ignored"),
    Row("name", "ignored", "ignored"),
    Row("template_driver", "noted", "noted", "Swarm"),
)

SECTIONS: dict[str, Sequence[Row]] = {
    "": _TOP,
    "services.*": _SERVICE,
    "services.*.build": _BUILD,
    "services.*.deploy": _DEPLOY,
    "services.*.healthcheck": _HEALTHCHECK,
    "services.*.logging": _LOGGING,
    "services.*.networks.*": _NETWORK_OF_A_SERVICE,
    "services.*.post_start": _HOOK,
    "services.*.pre_stop": _HOOK,
    "services.*.volumes": _MOUNT,
    "networks": _NETWORK,
    "volumes.*": _VOLUME,
    "configs.*": _FILE,
    "secrets.*": _FILE,
}
"""The rows by the place they apply to, in the page's order."""

WORDED = {"services.*.networks", "services.*.volumes", "services.*.build"}
"""Places where a word or a list of words may replace the mapping that the rows describe."""


def rows() -> Iterator[Row]:
    """All rows, each with its full path."""
    for place, section in SECTIONS.items():
        for row in section:
            yield row._replace(path=f"{place}.{row.path}" if place else row.path)


TABLE: dict[str, Row] = {row.path: row for row in rows()}
"""All rows by their full path."""

_INNER = {path.rsplit(".", n)[0] for path in TABLE for n in range(1, path.count(".") + 1)}


def holds_keys(path: str) -> bool:
    """Whether keys below a path have rows of their own."""
    return path in _INNER


def of_services(engine: EngineName, *fates: Fate) -> tuple[str, ...]:
    """The keys of a service with one of these treatments on an engine; also keys all of whose rows below have
    one."""
    below = {
        place.removeprefix("services.*."): rows
        for place, rows in SECTIONS.items()
        if place.startswith("services.*.") and place.count(".") == 2
    }
    whole = (key for key, rows in below.items() if all(row.fate(engine) in fates for row in rows))
    return (*(row.path for row in _SERVICE if row.fate(engine) in fates), *whole)
