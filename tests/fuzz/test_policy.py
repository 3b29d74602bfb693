"""Whatever a compose file holds that the loader's own schema allows: what is rendered of it has no effect outside of
the app's own slice, networks, directory, volumes and images.

Files are made by walking that schema, with values that matter beside values that do not. Each is cut to what is
allowed, read and rendered by the real code; what comes out is compared with a list of what a rendered file may hold,
which is written here a second time and knows nothing of the rows that the code goes by.
"""

import ipaddress
import re
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
from pushrod.manifest.policy import Terms, amounts, rights
from pushrod.state.apps import App, Root
from tests.fuzz.documents import services, values
from tests.unit import samples

APP = App(Root(Path("/var/lib/pushrod")), "shop")
LIMITS = samples.LIMITS
BOUND = "/var/lib/pushrod/apps/shop/data"
NETWORK = "10.213.0.0/26"


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
                assert {*value} <= {*amounts._ULIMITS, "core"}
                assert value["core"] == 0
            case "sysctls":
                assert all(rights._SYSCTLS.fullmatch(one) for one in value)
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
