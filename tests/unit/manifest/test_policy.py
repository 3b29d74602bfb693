"""What is let through of a compose file: each key by its path, its bounds, and the word that allows it."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from pushrod.core.errors import ManifestError
from pushrod.core.limits import GIB, MIB
from pushrod.core.values import Manifest
from pushrod.manifest import grants, keys, policy
from pushrod.manifest.policy import Permitted, Terms
from tests.unit import samples
from tests.unit.manifest.schema import compose_schema
from tests.unit.manifest.test_services import _DOCUMENTS

PRIVATE = "/var/lib/pushrod"
LIMITS = samples.LIMITS


def apply(
    document: dict[str, Any], *allowed: str, tracked: Callable[[str], bool] = lambda _: True
) -> Permitted:
    return policy.apply({"name": "shop", **document}, Terms("docker", LIMITS, allowed, tracked, PRIVATE))


def refused(document: dict[str, Any], *allowed: str, **options: Any) -> ManifestError:
    with pytest.raises(ManifestError) as error:
        apply(document, *allowed, **options)
    return error.value


def web(**keys: Any) -> dict[str, Any]:
    return {"services": {"web": keys}}


def bind(source: str, **keys: Any) -> dict[str, Any]:
    return web(volumes=[{"type": "bind", "source": source, "target": "/x", **keys}])


def volume(**keys: Any) -> dict[str, Any]:
    return {"volumes": {"data": {"name": "shop_data", **keys}}}


DEVICE = {"type": "none", "o": "bind", "device": "/srv/data"}
SERVICE = "services.web."

ALLOWABLE: list[tuple[dict[str, Any], str, str]] = [
    (web(privileged=True), SERVICE + "privileged", "privileged"),
    (web(post_start=[{"privileged": True}]), SERVICE + "post_start[0].privileged", "privileged"),
    (web(network_mode="host"), SERVICE + "network_mode", "host-network"),
    (web(pid="host"), SERVICE + "pid", "host-pid"),
    (web(ipc="host"), SERVICE + "ipc", "host-ipc"),
    (web(uts="host"), SERVICE + "uts", "host-uts"),
    (web(userns_mode="host"), SERVICE + "userns_mode", "host-userns"),
    (web(cgroup="host"), SERVICE + "cgroup", "host-cgroup"),
    (web(devices=[{"source": "/dev/fuse", "target": "/dev/fuse"}]), SERVICE + "devices", "devices"),
    (web(device_cgroup_rules=["c 1:3 mr"]), SERVICE + "device_cgroup_rules", "devices"),
    (web(gpus=[{"count": -1}]), SERVICE + "gpus", "devices"),
    (
        web(deploy={"resources": {"reservations": {"devices": [{"count": 1}]}}}),
        SERVICE + "deploy.resources.reservations.devices",
        "devices",
    ),
    (web(cap_add=["CHOWN", "CAP_NET_ADMIN"]), SERVICE + "cap_add[1]", "NET_ADMIN"),
    (web(cap_add=["sys_time"]), SERVICE + "cap_add[0]", "SYS_TIME"),
    (web(cap_add=["ALL"]), SERVICE + "cap_add[0]", "privileged"),
    *(
        (web(security_opt=[option]), SERVICE + "security_opt[0]", "unconfined")
        for option in (
            *("seccomp=unconfined", "seccomp:unconfined", "seccomp=./loose.json", "apparmor=unconfined"),
            *("label=disable", "label:disable", "systempaths=unconfined", "writable-cgroups=true"),
        )
    ),
    (web(runtime="runsc"), SERVICE + "runtime", "runtime"),
    (
        web(sysctls={"net.core.somaxconn": "1", "kernel.msgmax": "1", "kernel.panic": "1"}),
        SERVICE + "sysctls.kernel.panic",
        "sysctls",
    ),
    (web(sysctls=["vm.swappiness=1"]), SERVICE + "sysctls[0]", "sysctls"),
    (bind("/srv/media"), SERVICE + "volumes[0].source", "/srv/media"),
    (bind("/srv/../etc//ssl/"), SERVICE + "volumes[0].source", "/etc/ssl"),
    (bind("/etc/localtime"), SERVICE + "volumes[0].source", "/etc/localtime"),
    *(
        (bind(path), SERVICE + "volumes[0].source", "docker-socket")
        for path in ("/var/run/docker.sock", "/run/docker.sock", "/run", "/var/run/", "/run/containerd")
    ),
    (web(use_api_socket=True), SERVICE + "use_api_socket", "docker-socket"),
    (volume(driver_opts=DEVICE), "volumes.data.driver_opts.device", "/srv/data"),
    (volume(driver_opts={**DEVICE, "type": "nfs", "o": "ro,bind"}), "volumes.data.driver_opts.device", "/srv/data"),
    (volume(driver_opts={"type": "ext4", "device": "/dev/sda1"}), "volumes.data.driver_opts", "volume-driver"),
    (volume(driver_opts={"type": "overlay", "o": "lowerdir=/etc"}), "volumes.data.driver_opts", "volume-driver"),
    (volume(driver_opts={"type": "nfs", "o": "addr=10.0.0.2,rw", "device": ":/srv"}), "volumes.data.driver_opts",
     "volume-driver"),
    *(
        (volume(driver_opts={"type": kind, "device": kind, "o": flags}), "volumes.data.driver_opts", "volume-driver")
        for kind in ("proc", "cgroup2", "sysfs", "ext4", "")
        for flags in ("ro", "rw", "nosuid,nodev,noexec,ro")
    ),
    (volume(driver_opts={"o": "rw"}), "volumes.data.driver_opts", "volume-driver"),
    (volume(driver_opts={"size": "1g"}), "volumes.data.driver_opts", "volume-driver"),
    (volume(driver="sshfs"), "volumes.data.driver", "volume-driver"),
    (volume(external=True, name="blog_data"), "volumes.data.name", "volume:blog_data"),
    (volume(name="data"), "volumes.data.name", "volume:data"),
    (volume(name="shop-blog_data"), "volumes.data.name", "volume:shop-blog_data"),
    (web(build={"additional_contexts": {"a": "/srv"}}), SERVICE + "build.additional_contexts.a", "/srv"),
    ({"secrets": {"s": {"file": "/etc/secret"}}}, "secrets.s.file", "/etc/secret"),
    ({"configs": {"c": {"file": "/etc/hosts"}}}, "configs.c.file", "/etc/hosts"),
]  # fmt: skip


@pytest.mark.parametrize(("document", "where", "word"), ALLOWABLE)
def test_what_the_owner_can_allow(document: dict[str, Any], where: str, word: str) -> None:
    error = refused(document)
    assert error.where == where
    assert error.what.startswith("it asks for ")
    assert error.hint == f"the host's owner can allow it: pushrod apps allow shop {word}"
    assert grants.check_word(word) == word
    apply(document, word)


@pytest.mark.parametrize(
    ("document", "where"),
    [
        (web(network_mode="service:db"), SERVICE + "network_mode"),
        (web(network_mode="container:x"), SERVICE + "network_mode"),
        (web(pid="service:db"), SERVICE + "pid"),
        (web(volumes_from=["api:ro", "container:x:ro"]), SERVICE + "volumes_from[1]"),
        (web(volumes=[{"type": "npipe", "source": "x"}]), SERVICE + "volumes[0].type"),
        (bind("../z"), SERVICE + "volumes[0].source"),
        (bind("a/../../z"), SERVICE + "volumes[0].source"),
        (bind(PRIVATE + "/apps/blog/secrets"), SERVICE + "volumes[0].source"),
        (bind("/var/lib/../lib/pushrod"), SERVICE + "volumes[0].source"),
        (volume(driver_opts={**DEVICE, "device": "../x"}), "volumes.data.driver_opts.device"),
        (volume(driver_opts={**DEVICE, "device": PRIVATE}), "volumes.data.driver_opts.device"),
        (web(build={"ssh": ["default"]}), SERVICE + "build.ssh"),
        (web(build={"secrets": [{"source": "s"}]}), SERVICE + "build.secrets"),
        (web(build={"dockerfile_inline": "FROM x"}), SERVICE + "build.dockerfile_inline"),
        (web(provider={"type": "awesomecloud"}), SERVICE + "provider"),
        (web(models=["llm"]), SERVICE + "models"),
        (web(volumes=[{"type": "image", "source": "victim", "target": "/x"}]), SERVICE + "volumes[0].type"),
        (web(build={"additional_contexts": {"a": "../y"}}), SERVICE + "build.additional_contexts.a"),
        (
            web(build={"additional_contexts": {"a": "docker-image://0123456789ab"}}),
            SERVICE + "build.additional_contexts.a",
        ),
        (
            web(build={"additional_contexts": ["a=docker-image://pushrod/victim/web:1"]}),
            SERVICE + "build.additional_contexts[0]",
        ),
        ({"secrets": {"s": {"external": True}}}, "secrets.s.external"),
        ({"configs": {"c": {"file": "../x"}}}, "configs.c.file"),
    ],
)
def test_what_nobody_can_allow(document: dict[str, Any], where: str) -> None:
    error = refused(document, *grants.WORDS, "/")
    assert error.where == where
    assert "apps allow" not in error.hint
    assert error.hint


@pytest.mark.parametrize(
    "document",
    [
        bind("app"),
        bind("./app/x"),
        bind("/etc/localtime", read_only=True),
        bind("/etc/timezone", read_only=True),
        web(volumes=[{"type": "volume", "source": "data", "target": "/data", "read_only": True}]),
        web(
            volumes=[{"type": "volume", "source": "data", "target": "/d"}, {"type": "tmpfs", "target": "/t"}]
        ),
        web(cap_add=["CHOWN", "CAP_SETUID"], cap_drop=["ALL"]),
        web(security_opt=["no-new-privileges", "no-new-privileges=true"]),
        web(security_opt=["seccomp=builtin", "apparmor=docker-default"]),
        web(sysctls={"net.core.somaxconn": "1"}, ipc="shareable", pid="", network_mode="bridge"),
        web(runtime="runc", ulimits={"nofile": 1}, init=True, pull_policy="always", volumes_from=["api:ro"]),
        web(
            build={
                "context": ".",
                "additional_contexts": {"a": "x", "b": "docker-image://app:1", "d": "service:e"},
            }
        ),
        web(build={"context": ".", "network": "none"}),
        web(build="."),
        volume(driver="local"),
        volume(driver_opts={"type": "tmpfs", "o": "size=1m", "device": "tmpfs"}),
        {"networks": {"n": {"external": True, "name": "foo"}}},
        {"secrets": {"a": {"environment": "A"}, "b": {"file": "b.txt"}}, "configs": {"c": {"content": "x"}}},
    ],
)
def test_what_needs_no_word(document: dict[str, Any]) -> None:
    apply(document)


def test_the_socket_is_not_a_path() -> None:
    assert "docker-socket" in refused(bind("/var/run/docker.sock"), "/", "/run", "/run/docker.sock").hint
    apply(bind("/srv/x"), "/")


def test_all_words_are_named_at_once() -> None:
    document = web(privileged=True, cap_add=["NET_ADMIN", "SYS_TIME"], pid="host") | volume(driver="nfs")
    error = refused(document, "SYS_TIME")
    assert error.where == "services.web.privileged"
    assert error.what.startswith("it asks for everything that root may do")
    assert error.hint.endswith("apps allow shop privileged NET_ADMIN host-pid volume-driver")


def test_a_file_that_the_commit_does_not_have() -> None:
    document = {"secrets": {"s": {"file": "./a/../secret.txt"}}}
    seen: list[str] = []
    error = refused(document, tracked=lambda path: bool(seen.append(path)))
    assert (error.where, error.what) == (
        "secrets.s.file",
        "the file `./a/../secret.txt` is not in the commit",
    )
    assert "pushrod secret set" in error.hint
    assert seen == ["secret.txt"]


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(_DOCUMENTS)
def test_any_document_is_taken_or_refused(document: Any) -> None:
    for engine in ("docker", "embedded"):
        try:
            policy.apply(document, Terms(engine, LIMITS, (), lambda _: False, PRIVATE))
        except ManifestError as error:
            assert error.what


# ---- what is left of a value ----------------------------------------------------------------------------------


def left(*allowed: str, **given: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What is left of a service's keys, and the notes about it."""
    found, notes = apply(web(**given), *allowed)
    return found["services"]["web"], notes


BOUNDED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"pids_limit": -1}, {"pids_limit": LIMITS.pids}),
    ({"pids_limit": 10**9}, {"pids_limit": LIMITS.pids}),
    ({"mem_limit": "900g"}, {"mem_limit": str(2 * GIB)}),
    ({"mem_limit": str(900 * GIB), "memswap_limit": -1}, {"mem_limit": str(2 * GIB)}),
    ({"mem_limit": str(GIB), "memswap_limit": str(3 * GIB)}, {"mem_limit": str(GIB)}),
    ({"mem_reservation": "900g"}, {"mem_reservation": str(2 * GIB)}),
    ({"shm_size": "500g"}, {"shm_size": str(GIB)}),
    ({"cpu_shares": 262144}, {"cpu_shares": 1024}),
    ({"cpus": 64.0}, {"cpus": "2"}),
    ({"cpuset": "0-63"}, {}),
    ({"tmpfs": ["/big:size=900g,exec,suid,dev"]}, {"tmpfs": [f"/big:size={GIB},exec"]}),
    ({"tmpfs": ["/x:size=200%,mode=1777"]}, {"tmpfs": [f"/x:size={GIB},mode=1777"]}),
    ({"cap_add": ["NET_RAW", "CAP_MKNOD", "sys_chroot", "SETPCAP", "SETFCAP", "AUDIT_WRITE", "FSETID"]}, {}),
    ({"cap_add": ["NET_RAW", "KILL"]}, {"cap_add": ["KILL"]}),
    ({"security_opt": ["no-new-privileges:false"]}, {}),
    ({"annotations": {"org.systemd.property.Conflicts": "['pushrod-edge.service']"}}, {}),
    ({"labels": {"pushrod.app": "victim", "com.docker.compose.project": "victim", "a": "b"}}, {"labels": {"a": "b"}}),
    ({"labels": ["pushrod.probe=http://127.0.0.1/"]}, {}),
    (
        {"sysctls": {"net.ipv4.ip_forward": "1", "net.ipv4.ip_unprivileged_port_start": "0"}},
        {"sysctls": {"net.ipv4.ip_unprivileged_port_start": "0"}},
    ),
    ({"sysctls": ["net.ipv6.conf.all.accept_ra=2"]}, {}),
    ({"sysctls": {"net.ipv4.tcp_congestion_control": "bbr"}}, {}),
    ({"logging": {"driver": "syslog", "options": {"syslog-facility": "authpriv"}}},
     {"logging": {"driver": "json-file"}}),
    ({"logging": {"driver": "fluentd", "options": {"fluentd-address": "tcp://10.0.0.1:6379", "env": "PAY"}}},
     {"logging": {"driver": "json-file"}}),
    ({"logging": {"driver": "json-file", "options": {"max-size": "900g", "max-file": "1000"}}},
     {"logging": {"driver": "json-file", "options": {"max-size": str(100 * MIB), "max-file": "10"}}}),
    ({"logging": {"options": {"max-size": "-1"}}}, {"logging": {"options": {"max-size": str(100 * MIB)}}}),
    ({"logging": {"options": {"mode": "non-blocking", "max-buffer-size": "900g"}}}, {"logging": {}}),
    ({"healthcheck": {"interval": "1ms", "retries": 10**6, "timeout": "9h"}},
     {"healthcheck": {"interval": "1000ms", "retries": 100, "timeout": "600000ms"}}),
    ({"healthcheck": {"start_interval": "1ns", "start_period": "5s"}},
     {"healthcheck": {"start_interval": "1000ms", "start_period": "5s"}}),
    ({"healthcheck": {"start_interval": "5s"}}, {"healthcheck": {}}),
    ({"healthcheck": {"start_period": "1w"}}, {"healthcheck": {"start_period": "3600000ms"}}),
    ({"stop_grace_period": "2w"}, {"stop_grace_period": "600000ms"}),
    ({"ulimits": {"nofile": 10**9, "rtprio": 99, "core": -1, "nice": 40, "memlock": -1, "msgqueue": 10**9}},
     {"ulimits": {"nofile": 1 << 20, "memlock": -1}}),
    ({"ulimits": {"nofile": {"soft": 1024, "hard": -1}}}, {"ulimits": {"nofile": {"soft": 1024, "hard": 1 << 20}}}),
    ({"oom_score_adj": -1000, "oom_kill_disable": True}, {"oom_score_adj": 0}),
    ({"blkio_config": {"device_read_bps": [{"path": "/dev/sda", "rate": 1}]}, "storage_opt": {"size": "900G"}}, {}),
    ({"cgroup_parent": "system.slice", "isolation": "process", "credential_spec": {"file": "x"}}, {}),
    ({"network_mode": "victim", "mac_address": "02:42:ac:11:00:02", "external_links": ["victim-redis"]}, {}),
    ({"deploy": {"mode": "global", "resources": {"limits": {"memory": "900g", "pids": -1, "cpus": "99"}}}},
     {"deploy": {"resources": {"limits": {"memory": str(2 * GIB), "pids": LIMITS.pids, "cpus": "2"}}}}),
    (
        {"build": {"context": ".", "privileged": True, "network": "host", "entitlements": ["security.insecure"],
                   "tags": ["pushrod/victim/web:x"], "extra_hosts": ["a=1.1.1.1"], "platforms": ["x"],
                   "cache_to": ["type=local,dest=/srv"], "isolation": "x", "ulimits": {"nofile": 1}}},
        {"build": {"context": "."}},
    ),
    ({"volumes": [{"type": "tmpfs", "target": "/t", "tmpfs": {"size": str(900 * GIB)}}]},
     {"volumes": [{"type": "tmpfs", "target": "/t", "tmpfs": {"size": str(GIB)}}]}),
    ({"volumes": [{"type": "bind", "source": "x", "target": "/x", "bind": {"propagation": "shared"}}]},
     {"volumes": [{"type": "bind", "source": "x", "target": "/x", "bind": {}}]}),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "got"), BOUNDED)
def test_what_goes_too_far_is_brought_down_and_said(asked: dict[str, Any], got: dict[str, Any]) -> None:
    found, notes = left(**asked)
    assert found == got
    assert notes
    assert all(note.startswith("web: ") for note in notes)


@pytest.mark.parametrize(
    "asked",
    [
        {"pids_limit": 200, "mem_limit": str(GIB), "memswap_limit": str(2 * GIB), "shm_size": str(64 * MIB)},
        {"cpus": "0.5", "cpuset": "0,1", "cpu_shares": 512, "cpu_quota": 50000, "cpu_period": 100000},
        {"tmpfs": [f"/run:size={MIB},mode=755,uid=1000", f"/x:size={GIB},noexec"]},
        {"labels": {"traefik.enable": "true"}, "group_add": ["docker", "0"], "user": "0:0", "tty": True},
        {"logging": {"driver": "local", "options": {"max-size": "20m", "max-file": "5"}}},
        {"logging": {"driver": "none"}},
        {"healthcheck": {"test": ["CMD", "true"], "interval": "30s", "timeout": "1m0s", "retries": 3}},
        {"ulimits": {"nofile": {"soft": 65536, "hard": 65536}, "nproc": 65535, "memlock": {"soft": -1, "hard": -1}}},
        {"sysctls": {"net.core.somaxconn": "1024", "kernel.shmmax": "1"}, "oom_score_adj": 500},
        {"extra_hosts": ["host.docker.internal=host-gateway"], "dns": ["1.1.1.1"], "init": True, "restart": "always"},
        {"stop_grace_period": "1m30s", "stop_signal": "SIGINT", "platform": "linux/amd64", "networks": {"a": None}},
        {"deploy": {"replicas": 2, "resources": {"limits": {"memory": str(GIB), "pids": 10, "cpus": "0.5"}}}},
        {"deploy": {"update_config": {"order": "stop-first"}, "restart_policy": {"condition": "none"}}},
        {"x-pushrod": {"health": "/"}, "environment": {"A": None}, "command": ["x"], "build": "."},
    ],
)  # fmt: skip
def test_what_is_ordinary_stays_as_it_is(asked: dict[str, Any]) -> None:
    assert left(**asked) == (asked, ())


def test_the_owners_word_gives_what_is_left_out_else() -> None:
    raw = {
        "cap_add": ["NET_RAW"],
        "security_opt": ["no-new-privileges:false"],
        "sysctls": {"net.ipv4.ip_forward": "1"},
    }
    assert left("NET_RAW", "unconfined", "sysctls", **raw) == (raw, ())
    assert "pushrod apps allow shop NET_RAW" in left(**raw)[1][0]


def test_what_is_for_a_desktop_is_left_out_without_a_word() -> None:
    raw = {
        "develop": {"watch": []},
        "attach": False,
        "pull_policy": "always",
        "deploy": {"placement": {}},
        "x-y": 1,
    }
    assert left(**raw) == ({"deploy": {}}, ())


def test_a_volume_in_memory_has_a_size() -> None:
    found, notes = apply(
        volume(driver_opts={"type": "tmpfs", "device": "/dev/sda", "o": "size=900g,suid,mode=700"})
    )
    options = {"type": "tmpfs", "device": "tmpfs", "o": f"size={GIB},mode=700,nosuid,nodev"}
    assert found["volumes"]["data"]["driver_opts"] == options
    assert notes[0].startswith("volume data: ")


@pytest.mark.parametrize(
    "document",
    [
        web(annotationz={}),
        web(deploy={"resources": {"limits": {"gpu": 1}}}),
        web(build={"context": ".", "sandbox": "off"}),
        web(healthcheck={"every": "1s"}),
        web(volumes=[{"type": "volume", "target": "/x", "idmap": "0"}]),
        {"plugins": {}},
        {"volumes": {"data": {"size": 1}}},
        {"configs": {"data": {"url": "x"}}},
    ],
)  # fmt: skip
def test_a_key_that_nobody_knows_is_refused_by_its_name(document: dict[str, Any]) -> None:
    for terms in (Terms("docker", LIMITS), Terms("embedded", LIMITS)):
        with pytest.raises(ManifestError) as error:
            policy.apply(document, terms)
        assert error.value.what == f"unknown key `{error.value.where.rpartition('.')[2]}`"
        assert error.value.hint


@pytest.mark.parametrize(
    ("document", "where", "hint"),
    [
        ({"services": {f"s{n}": {} for n in range(51)}}, "services", "services=51"),
        ({"volumes": {f"v{n}": {} for n in range(51)}}, "volumes", "volumes=51"),
        ({"networks": {f"n{n}": {} for n in range(51)}}, "networks", "volumes=51"),
        ({"secrets": {f"n{n}": {} for n in range(101)}}, "secrets", "files=101"),
        (web(deploy={"replicas": 51}), SERVICE + "deploy.replicas", "containers=51"),
        (web(scale=51), SERVICE + "scale", "containers=51"),
    ],
)
def test_too_many_of_a_thing(document: dict[str, Any], where: str, hint: str) -> None:
    error = refused(document)
    assert (error.where, error.hint.partition("host limits ")[2]) == (where, hint)


def test_instances_and_stores_together_have_a_limit_and_so_have_the_releases() -> None:
    stores = (samples.store(),)
    few = Manifest(services=(samples.service(replicas=49), *stores), keep=5)
    assert policy.within(few, LIMITS) is few
    with pytest.raises(ManifestError, match="51 containers"):
        policy.within(Manifest(services=(samples.service(replicas=50), *stores)), LIMITS)
    kept = policy.within(Manifest(services=stores, keep=10**6), LIMITS)
    assert (kept.keep, len(kept.notes)) == (20, 1)


def test_an_images_own_health_check_is_bounded_likewise() -> None:
    assert policy.paced({"interval": 0.001, "timeout": 3, "start_interval": 0, "retries": 3}, LIMITS) == {
        "interval": "1000ms"
    }
    assert policy.paced({}, LIMITS) == {}
    hasty = policy.paced({"start_interval": 0.5}, LIMITS)
    assert hasty == {"start_interval": "1000ms", "start_period": "0s"}


def test_the_embedded_engine_keeps_what_it_does_not_use() -> None:
    document = web(privileged=True, mem_limit="900g", volumes=["/srv:/x"], healthcheck={"interval": "1ms"})
    found, _ = policy.apply(document, Terms("embedded", LIMITS))
    assert found == web(
        privileged=True, mem_limit="900g", volumes=["/srv:/x"], healthcheck={"interval": "1000ms"}
    )


# ---- the table and the loader's schema ------------------------------------------------------------------------


def paths(whole: dict[str, Any], node: dict[str, Any], path: str = "") -> Iterator[str]:
    """The path of every key that a schema knows; items of a list have their list's path, any name is `*`."""

    def below(name: str) -> str:
        return f"{path}.{name}" if path else name

    if "$ref" in node:
        yield from paths(whole, whole["definitions"][node["$ref"].rpartition("/")[2]], path)
    for kind in ("oneOf", "anyOf", "allOf"):
        for choice in node.get(kind, ()):
            yield from paths(whole, choice, path)
    for name, inner in node.get("properties", {}).items():
        yield below(name)
        yield from paths(whole, inner, below(name))
    for pattern, inner in node.get("patternProperties", {}).items():
        if not pattern.startswith("^x-"):
            yield from paths(whole, inner, below("*"))
    for inner, name in ((node.get("additionalProperties"), below("*")), (node.get("items"), path)):
        if isinstance(inner, dict):
            yield from paths(whole, inner, name)


def is_classified(path: str) -> bool:
    parts = path.split(".")
    return keys.holds_keys(path) or any(".".join(parts[:n]) in keys.TABLE for n in range(1, len(parts) + 1))


def test_every_key_of_the_loaders_schema_is_classified() -> None:
    whole = compose_schema()
    known = set(paths(whole, whole))
    assert {"services.*.annotations", "services.*.deploy.resources.limits.pids", "volumes.*.driver"} <= known
    assert [path for path in sorted(known) if not is_classified(path)] == []
    assert not is_classified("services.*.new_key")
    assert not is_classified("services.*.healthcheck.new_key")
    ours = {
        re.sub(r"^(configs|secrets)", "configs", path)
        for path in keys.TABLE
        if "*" not in path.rpartition(".")[2]
    }
    theirs = {re.sub(r"^(configs|secrets)", "configs", path) for path in known}
    assert ours <= theirs


def test_what_is_bounded_or_needs_a_word_has_a_rule() -> None:
    of_the_whole = ("services.*.volumes.", "volumes.*.")
    for path, row in keys.TABLE.items():
        if row.docker in ("bounded", "word") and not path.startswith(of_the_whole):
            assert path in policy.RULES, path
        if row.embedded == "bounded":
            assert path in policy.RULES, path
    assert {p for p in policy.RULES if p not in keys.TABLE} == {"services.*.volumes", "volumes.*"}
