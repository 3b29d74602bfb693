"""Values above the host's limits are lowered, with a note."""

from typing import Any

import pytest

from pushrod.core.limits import GIB, MIB
from tests.unit.manifest.policy.asking import LIMITS, apply, left, volume

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


@pytest.mark.parametrize(("requested", "got"), BOUNDED)
def test_excessive_values_are_lowered_with_a_note(requested: dict[str, Any], got: dict[str, Any]) -> None:
    result, notes = left(**requested)
    assert result == got
    assert notes
    assert all(note.startswith("web: ") for note in notes)


@pytest.mark.parametrize(
    "requested",
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
def test_ordinary_values_are_unchanged(requested: dict[str, Any]) -> None:
    assert left(**requested) == (requested, ())


def test_allowed_keys_are_kept_and_others_are_removed_with_a_hint() -> None:
    raw = {
        "cap_add": ["NET_RAW"],
        "security_opt": ["no-new-privileges:false"],
        "sysctls": {"net.ipv4.ip_forward": "1"},
    }
    assert left("NET_RAW", "unconfined", "sysctls", **raw) == (raw, ())
    assert "pushrod apps allow shop NET_RAW" in left(**raw)[1][0]


def test_development_keys_are_removed_without_a_note() -> None:
    raw = {
        "develop": {"watch": []},
        "attach": False,
        "pull_policy": "always",
        "deploy": {"placement": {}},
        "x-y": 1,
    }
    assert left(**raw) == ({"deploy": {}}, ())


def test_a_tmpfs_volume_has_a_size_limit() -> None:
    result, notes = apply(
        volume(driver_opts={"type": "tmpfs", "device": "/dev/sda", "o": "size=900g,suid,mode=700"})
    )
    options = {"type": "tmpfs", "device": "tmpfs", "o": f"size={GIB},mode=700,nosuid,nodev"}
    assert result["volumes"]["data"]["driver_opts"] == options
    assert notes[0].startswith("volume data: ")
