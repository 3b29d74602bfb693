"""What needs the owner's permission, and what nobody can permit."""

from typing import Any

import pytest

from pushrod.manifest import grants
from tests.unit.manifest.policy.asking import (
    PRIVATE,
    SERVICE,
    apply,
    bind,
    refused,
    volume,
    web,
)

DEVICE = {"type": "none", "o": "bind", "device": "/srv/data"}

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
            *("systempaths=unconfined", "writable-cgroups=true"),
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
    ({"x-pushrod": {"backups": {"to": "offsite"}}}, "x-pushrod.backups.to", "vault:offsite"),
    ({"configs": {"c": {"file": "/etc/hosts"}}}, "configs.c.file", "/etc/hosts"),
]  # fmt: skip


@pytest.mark.parametrize(("document", "where", "word"), ALLOWABLE)
def test_the_owner_can_allow_these_requests(document: dict[str, Any], where: str, word: str) -> None:
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
def test_nobody_can_allow_these_requests(document: dict[str, Any], where: str) -> None:
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
        *({"x-pushrod": {"backups": {"to": name}}} for name in ("default", "none")),
        {"secrets": {"a": {"environment": "A"}, "b": {"file": "b.txt"}}, "configs": {"c": {"content": "x"}}},
    ],
)
def test_harmless_documents_need_no_permission(document: dict[str, Any]) -> None:
    apply(document)


def test_permission_for_a_path_does_not_include_the_docker_socket() -> None:
    assert "docker-socket" in refused(bind("/var/run/docker.sock"), "/", "/run", "/run/docker.sock").hint
    apply(bind("/srv/x"), "/")


def test_all_missing_permissions_are_named_at_once() -> None:
    document = web(privileged=True, cap_add=["NET_ADMIN", "SYS_TIME"], pid="host") | volume(driver="nfs")
    error = refused(document, "SYS_TIME")
    assert error.where == "services.web.privileged"
    assert error.what.startswith("it asks for everything that root may do")
    assert error.hint.endswith("apps allow shop privileged NET_ADMIN host-pid volume-driver")


@pytest.mark.parametrize("option", ["label=disable", "label:disable", "label:type:spc_t"])
def test_an_option_for_selinux_is_left_out_with_a_note(option: str) -> None:
    document, notes = apply(web(security_opt=[option, "no-new-privileges"]))
    assert document["services"]["web"]["security_opt"] == ["no-new-privileges"]
    assert notes == ("web: `label` of `security_opt` not applied: it is for SELinux",)


def test_a_refusal_of_a_profile_names_profiles() -> None:
    error = refused(web(security_opt=["seccomp=unconfined"]))
    what = "it asks for security profiles other than Docker's own, which this host does not allow the app"
    assert error.what == what


def test_a_mounted_file_that_the_commit_does_not_have() -> None:
    here = {"nginx.conf"}.__contains__
    error = refused(bind("./conf/nginx.conf", target="/etc/nginx/nginx.conf"), tracked=here)
    assert (error.where, error.what) == (
        "services.web.volumes[0].source",
        "the file `./conf/nginx.conf` is not in the commit",
    )
    for source, target in (("./nginx.conf", "/x/nginx.conf"), ("./conf.d", "/c.d"), ("./data", "/app.db")):
        apply(bind(source, target=target), tracked=here)


def test_a_file_that_is_not_in_the_commit_is_refused() -> None:
    document = {"secrets": {"s": {"file": "./a/../secret.txt"}}}
    seen: list[str] = []
    error = refused(document, tracked=lambda path: bool(seen.append(path)))
    assert (error.where, error.what) == (
        "secrets.s.file",
        "the file `./a/../secret.txt` is not in the commit",
    )
    assert "pushrod secret set" in error.hint
    assert seen == ["secret.txt"]


def test_labels_that_would_make_lists_of_containers_slow_for_every_app_are_refused() -> None:
    apply(web(labels={"a": "x" * 60_000}))
    error = refused(web(labels={f"l{n}": "x" * 20_000 for n in range(4)}))
    assert (error.where, "64 KiB" in error.what) == (f"{SERVICE}labels", True)
