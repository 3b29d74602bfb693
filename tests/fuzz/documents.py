"""Compose files by the loader's own schema: made by walking it, with values that matter beside such that do not."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from hypothesis import strategies as st

from tests.unit.manifest.schema import compose_schema

# What people write and what reaches out, by the last part of a key's path; `*` is for any key.
TELLING: Mapping[str, tuple[Any, ...]] = {
    "*": ("host", "/", "/etc", "../x", "victim", "container:victim-redis", "service:web", "none", "-1", "900g", "1ms",
          "true", "127.0.0.1", "/var/run/docker.sock", "/var/lib/pushrod/apps/victim", "ALL", "default", ""),
    "source": ("data", "./x", "app", "/srv", "/var/lib/docker", "/dev", "victim_data"),
    "target": ("/data", "/etc/passwd", "/run/pushrod", "/proc"),
    "type": ("bind", "volume", "tmpfs", "image", "npipe", "cluster", "nfs", "proc", "cgroup2", "ext4"),
    "driver": ("json-file", "local", "syslog", "fluentd", "journald", "none", "bridge", "macvlan", "host"),
    "cap_add": ("SYS_ADMIN", "NET_RAW", "CAP_MKNOD", "CHOWN", "ALL"),
    "security_opt": ("no-new-privileges:false", "seccomp=unconfined", "apparmor:unconfined", "label=disable"),
    "tmpfs": ("/t:size=900g,suid,dev,exec", "/t", "/x:mode=777"),
    "image": ("nginx", "postgres:16", "redis:7", "busybox"),
    "network_mode": ("host", "none", "bridge", "victim", "container:victim-redis"),
    "memory": ("900g", "1g", "64m", "0"),
    "external": (True, False),
    "name": ("victim", "victim_data", "shop_data", "pushrod"),
    "o": ("bind", "ro", "rw", "nosuid,nodev", "addr=10.0.0.1,rw", "size=900g", "lowerdir=/etc"),
    "device": ("/", "/dev/sda", ":/export", "tmpfs", "proc"),
    "labels": ("pushrod.app=victim", "com.docker.compose.project=victim", "a=b"),
    "sysctls": ("kernel.core_pattern=|/x", "net.ipv4.ip_forward=1", "net.core.somaxconn=1"),
    "interval": ("1ms", "0s", "5s", "99w"), "start_interval": ("1ns", "5s"), "timeout": ("1s", "9999h"),
}  # fmt: skip
NAMES = (
    *("data", "web", "victim", "default", "nofile", "rtprio", "core", "pushrod.probe"),
    *(
        "org.systemd.property.Wants",
        "net.ipv4.conf.all.forwarding",
        "kernel.panic",
        "max-size",
        "type",
        "o",
        "device",
    ),
)
NUMBERS = (-1, 0, 1, 2, 1024, 10**6, 900 << 30)


def scalars(name: str) -> st.SearchStrategy[Any]:
    return st.sampled_from((*TELLING.get(name, ()), *TELLING["*"], *NUMBERS, True))


@cache
def values(path: str, name: str) -> st.SearchStrategy[Any]:
    """What the schema allows at a place of it, whose parts NUL divides."""
    return _values(_at(path), path, name)


def _at(path: str) -> dict[str, Any]:
    node: Any = compose_schema()
    for part in filter(None, path.split("\0")):
        node = node[int(part)] if isinstance(node, list) else node[part]
    return dict(node)


def _values(node: dict[str, Any], path: str, name: str) -> st.SearchStrategy[Any]:
    if "$ref" in node:
        return values("\0".join(("definitions", node["$ref"].rpartition("/")[2])), name)
    for kind in ("oneOf", "anyOf"):
        if kind in node:
            return st.one_of(*(values(f"{path}\0{kind}\0{i}", name) for i in range(len(node[kind]))))
    if "enum" in node:
        return st.sampled_from(node["enum"])
    types = node["type"] if isinstance(node.get("type"), list) else [node.get("type", "string")]
    if "object" in types:
        return _mappings(node, path)
    if "array" in types:
        items = node.get("items")
        inner = values(f"{path}\0items", name) if isinstance(items, dict) else scalars(name)
        return st.lists(inner, max_size=2)
    return scalars(name)


def _later(path: str, name: str) -> st.SearchStrategy[Any]:
    return st.deferred(lambda: values(path, name))


def _mappings(node: dict[str, Any], path: str) -> st.SearchStrategy[Any]:
    known = {k: _later(f"{path}\0properties\0{k}", k) for k in node.get("properties", {})}
    patterns = [p for p in node.get("patternProperties", {}) if not p.startswith("^x-")]
    inner: st.SearchStrategy[Any] | None = None
    if patterns:
        inner = st.deferred(lambda: values(f"{path}\0patternProperties\0{patterns[0]}", ""))
    elif isinstance(node.get("additionalProperties"), dict):
        inner = st.deferred(lambda: values(f"{path}\0additionalProperties", ""))
    free = st.dictionaries(st.sampled_from(NAMES), inner, max_size=2) if inner is not None else st.just({})
    if not known:
        return free
    some = st.lists(st.sampled_from(sorted(known)), max_size=5, unique=True)
    chosen = some.flatmap(lambda names: st.fixed_dictionaries({n: known[n] for n in names}))
    return st.tuples(chosen, free).map(lambda both: {**both[1], **both[0]})


def services() -> st.SearchStrategy[Any]:
    """What the schema allows of a service."""
    return values("definitions\0service", "service")


def keys_of_services() -> list[str]:
    """The keys that it knows there."""
    return sorted(_at("definitions\0service")["properties"])
