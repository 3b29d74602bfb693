"""Whatever a compose file holds that the loader's own schema allows: what is rendered of it has no effect outside of
the app's own slice, networks, directory, volumes and images.

Files are made by walking that schema, with values that matter beside values that do not. Each is cut to what is
allowed, read and rendered by the real code; what comes out is compared with a list of what a rendered file may hold,
which is written here a second time and knows nothing of the rows that the code goes by.
"""

import ipaddress
import re
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, Phase, assume, event, given, settings
from hypothesis import strategies as st

from pushrod import manifest
from pushrod.core.errors import ManifestError
from pushrod.core.values import Image, Instance
from pushrod.engines.docker import rendering
from pushrod.engines.docker.rendering import Parts, Place, Room
from pushrod.manifest import policy
from pushrod.manifest.policy import Terms
from pushrod.state.apps import App, Root
from tests.unit import samples
from tests.unit.manifest.schema import compose_schema

APP = App(Root(Path("/var/lib/pushrod")), "shop")
LIMITS = samples.LIMITS
BOUND = "/var/lib/pushrod/apps/shop/data"
NETWORK = "10.213.0.0/26"

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


def _mappings(node: dict[str, Any], path: str) -> st.SearchStrategy[Any]:
    known = {
        k: st.deferred(partial(values, f"{path}\0properties\0{k}", k)) for k in node.get("properties", {})
    }
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
    return values("definitions\0service", "service")


def documents() -> st.SearchStrategy[Any]:
    def whole(parts: tuple[Any, ...]) -> dict[str, Any]:
        web, other, volumes, networks, secrets, configs = parts
        base = {"image": "nginx", "ports": [{"target": 80, "published": "80"}]}
        mounts = [{"type": "volume", "source": name, "target": f"/{name}"} for name in volumes]
        other = {**other, "volumes": [*(other.get("volumes") or ()), *mounts]}
        return {
            "name": "shop",
            "services": {"web": {**web, **base}, "other": {"image": "busybox", **other}},
            "volumes": volumes, "networks": networks, "secrets": secrets, "configs": configs,
        }  # fmt: skip

    named = (values(f"properties\0{kind}", kind) for kind in ("volumes", "networks", "secrets", "configs"))
    return st.tuples(services(), services(), *named).map(whole)


# ---- what may come out ----------------------------------------------------------------------------------------

PLAIN = {
    *("command", "container_name", "cpu_period", "cpu_quota", "depends_on", "dns", "dns_opt", "dns_search"),
    *("entrypoint", "env_file", "extra_hosts", "group_add", "healthcheck", "init", "platform", "post_start"),
    *("pre_stop", "profiles", "pull_policy", "read_only", "restart", "stdin_open", "stop_grace_period"),
    *("stop_signal", "tty", "user", "working_dir"),
}
CAPABILITIES = {"CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"}


def number(text: Any) -> int:
    found = re.fullmatch(r"(\d+)([kmg]?)b?", str(text).lower())
    assert found, text
    return int(found[1]) << 10 * " kmg".index(found[2] or " ")


def seconds(text: str) -> float:
    units = {
        "h": 3600.0,
        "m": 60.0,
        "s": 1.0,
        "ms": 1e-3,
        "us": 1e-6,
        "ns": 1e-9,
        "d": 86400.0,
        "w": 604800.0,
    }
    return sum(float(n) * units[u] for n, u in re.findall(r"([0-9.]+)(ms|us|ns|[hmsdw])", text))


def check_service(name: str, service: dict[str, Any], *, store: bool) -> None:
    """Each key of a rendered service is one that does no harm, or has a value that does none."""
    kind = "store" if store else "app"
    limits = ((service.get("deploy") or {}).get("resources") or {}).get("limits") or {}
    for key, value in service.items():
        match key:
            case "image":
                assert value.startswith("pushrod/shop/")
            case "cgroup_parent":
                assert value == f"pushrod-{kind}-shop.slice"
            case "security_opt":
                assert value == ["no-new-privileges"] or {*value} <= {
                    "no-new-privileges", "no-new-privileges:true", "no-new-privileges=true",
                    "seccomp=builtin", "apparmor=docker-default",
                }  # fmt: skip
            case "cap_drop":
                assert value == ["ALL"]
            case "cap_add":
                assert {*value} <= CAPABILITIES
            case "mem_limit" | "mem_reservation":
                assert 0 < number(value) <= LIMITS.memory
            case "memswap_limit":
                assert 0 < number(value) <= 2 * LIMITS.memory
            case "shm_size":
                assert 0 < number(value) <= LIMITS.shm
            case "pids_limit":
                assert 0 < int(value) <= LIMITS.pids
            case "cpus":
                assert 0 < float(value) <= LIMITS.cpus
            case "cpuset":
                assert max(map(int, re.findall(r"\d+", str(value)))) < LIMITS.cpus
            case "cpu_shares":
                assert 2 <= int(value) <= 1024
            case "oom_score_adj":
                assert (0 if store else 200) <= int(value) <= 1000
            case "tmpfs":
                for text in value:
                    path, _, options = text.partition(":")
                    assert path.startswith("/")
                    sizes = re.findall(r"size=(\w+)", options)
                    assert path == "/tmp" or number(sizes[0]) <= LIMITS.tmpfs
                    assert not {"suid", "dev"} & {*options.split(",")}
            case "ulimits":
                assert {*value} <= {*policy._ULIMITS}
            case "sysctls":
                assert all(policy._SYSCTLS.fullmatch(one) for one in value)
            case "logging":
                assert value["driver"] in ("json-file", "local", "none")
                assert {*value.get("options", {})} <= {"max-size", "max-file"}
                if value["driver"] != "none":
                    assert number(value["options"]["max-size"]) <= LIMITS.log_size
                    assert 0 < int(value["options"]["max-file"]) <= LIMITS.log_files
            case "labels":
                own = {
                    "pushrod.app",
                    "pushrod.service",
                    "pushrod.release",
                    "pushrod.instance",
                    "pushrod.probe",
                }
                assert {n for n in value if n.startswith(("pushrod.", "com.docker."))} <= own
                assert value["pushrod.app"] == "shop"
                assert value.get("pushrod.probe", "http://10.213.0.").split("/")[2].startswith("10.213.0.")
            case "network_mode":
                assert value == "none"
            case "networks":
                assert {*value} <= {"default", "stores"}
                for one in value.values() if isinstance(value, dict) else ():
                    assert {*one} <= {"ipv4_address", "aliases"}
                    inside = ipaddress.ip_address(one.get("ipv4_address", "10.213.0.2"))
                    assert inside in ipaddress.ip_network(NETWORK)
            case "volumes":
                for one in value:
                    check_mount(one)
            case "deploy":
                assert {*value} == {"resources"}
                assert 0 < number(limits["memory"]) <= LIMITS.memory
                assert 0 < int(limits["pids"]) <= LIMITS.pids
                assert {*value["resources"]} <= {"limits", "reservations"}
                assert {*value["resources"].get("reservations", {})} <= {"memory"}
            case "ipc":
                assert value in ("", "private", "shareable", "none")
            case "pid" | "uts" | "userns_mode":
                assert value == ""
            case "cgroup":
                assert value in ("", "private")
            case "runtime":
                assert value in ("", "runc")
            case _:
                assert key in PLAIN, (name, key, value)
    assert "mem_limit" in service or limits
    for hook in (*service.get("post_start", ()), *service.get("pre_stop", ())):
        assert not hook.get("privileged")
    check = service.get("healthcheck") or {}
    for key in ("interval", "start_interval"):
        pause = seconds(str(check.get(key) or "0s"))
        assert pause == 0 or pause >= LIMITS.health_interval
    assert seconds(str(service.get("stop_grace_period") or "0s")) <= LIMITS.stop_grace


def check_mount(mount: Any) -> None:
    assert mount["type"] in ("bind", "volume", "tmpfs")
    if mount["type"] == "bind":
        own = mount["source"].startswith(f"{BOUND}/") or mount["source"] == "/run/pushrod/shop"
        readable = mount["source"] in ("/etc/localtime", "/etc/timezone") and mount["read_only"]
        assert own or readable, mount
        assert mount["bind"].get("propagation", "rprivate") in ("rprivate", "private", "rslave", "slave")
        assert "selinux" not in mount["bind"]
    if mount["type"] == "tmpfs":
        assert number(mount["tmpfs"]["size"]) <= LIMITS.tmpfs


def check(text: str, *, store: bool) -> None:
    whole = yaml.safe_load(text)
    assert {*whole} <= {"name", "services", "networks", "volumes"}
    assert whole["name"] in ("shop", "shop-r7")
    for name, service in whole["services"].items():
        check_service(name, service, store=store)
    for network in whole["networks"].values():
        assert network["name"] in ("shop", "shop-r7", "shop-r7-stores")
        assert {*network} <= {"name", "driver", "ipam", "labels", "internal"}
        assert network.get("driver", "bridge") == "bridge"
        for config in network.get("ipam", {}).get("config", ()):
            assert ipaddress.IPv4Network(config["subnet"]).subnet_of(ipaddress.IPv4Network(NETWORK))
    for volume in whole.get("volumes", {}).values():
        assert volume["name"].startswith("shop_")
        assert volume["external"] is True


def bind(source: str) -> str:
    """Where the engine has a mount's source, once policy has let its path through."""
    return source if source.startswith("/") else f"{BOUND}/{source}"


@settings(deadline=None, suppress_health_check=[*HealthCheck], phases=[Phase.explicit, Phase.generate])
@given(documents())
def test_what_is_rendered_stays_within_the_app(document: dict[str, Any]) -> None:
    try:
        allowed, _ = policy.apply(document, Terms("docker", LIMITS, (), lambda _: True, "/var/lib/pushrod"))
        wanted = policy.within(manifest.read(allowed, engine="docker"), LIMITS)
    except ManifestError as refused:
        event("refused")
        assert refused.what
        return
    event("rendered")
    assume(not any(s.name.endswith(".run") for s in wanted.services))
    found = {
        s.name: Parts(f"pushrod/shop/{s.name}:1", root=True, check={"interval": 0.001})
        for s in wanted.services
    }
    instances = [
        (f"{s.name}-{n}", s) for s in wanted.stateless if s.role != "job" for n in range(1, s.replicas + 1)
    ]
    sealed = samples.release(
        7,
        engine="docker",
        entry=wanted.entry.name,
        services=wanted.stateless,
        stores=wanted.stores,
        images={name: Image(id="sha256:0", location=parts.name) for name, parts in found.items()},
        instances=tuple(
            Instance(name, s.name, 80, f"10.213.0.{index % 12 + 2}")
            for index, (name, s) in enumerate(instances)
        ),
        network=NETWORK,
    )
    place = Place(APP, bind, Room(LIMITS, slices=True), file=lambda kind, name, *_: f"{BOUND}/{kind}-{name}")
    check(rendering.release(place, sealed, allowed, found), store=False)
    check(rendering.stores(place, wanted, allowed, found), store=True)
    for name, declared in rendering.volumes(APP, allowed, found, wanted).items():
        assert name.startswith("shop_")
        assert declared.get("driver", "local") in ("", "local")
        options = declared.get("driver_opts") or {}
        assert not options or (options["type"], options["device"]) == ("tmpfs", "tmpfs")
