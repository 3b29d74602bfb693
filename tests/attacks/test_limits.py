"""What one app asks for, and what it uses while it runs, stays within its limits."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from devtools.lab.ground import DOCKERFILE
from pushrod.system import waits
from tests.attacks.town import MANIFEST, Attacker, Party, Town
from tests.conftest import spread

pytestmark = pytest.mark.lab

GIB = 1 << 30
GREEDY = f"""{MANIFEST}
    pids_limit: -1
    mem_limit: 900g
    memswap_limit: -1
    shm_size: 500g
    cpu_shares: 262144
    cpuset: "0-999"
    tmpfs: ["/big:size=900g,exec,suid,dev"]
    cap_add: [NET_RAW, MKNOD, SYS_CHROOT, SETPCAP, SETFCAP, AUDIT_WRITE]
    security_opt: ["no-new-privileges:false"]
    labels: {{pushrod.app: victim, pushrod.probe: "http://127.0.0.1:80/", com.docker.compose.project: victim}}
    annotations: {{org.systemd.property.Conflicts: "['pushrod-edge.service']"}}
    sysctls: {{net.ipv4.ip_forward: "1", net.ipv6.conf.all.disable_ipv6: "0", net.core.somaxconn: "128"}}
    logging: {{driver: syslog, options: {{tag: sshd, syslog-facility: authpriv, max-size: 900g}}}}
    ulimits: {{rtprio: 99, core: -1, msgqueue: -1}}
    oom_score_adj: -1000
    cgroup_parent: system.slice
    network_mode: victim
    networks: [outside]
    blkio_config: {{device_read_bps: [{{path: /dev/vda, rate: 1}}]}}
    build: {{context: ., network: host, privileged: true, tags: ["pushrod/victim/web:latest"]}}
networks: {{outside: {{external: true, name: victim}}}}
""".replace("    build: .\n", "", 1).replace("    network_mode: victim\n", "")


@pytest.fixture
def narrow(town: Town) -> Iterator[None]:
    """A host that gives the attacker so little that limits are reached quickly and with little memory."""
    limits = ("app-memory=256M", "app-tasks=200")
    town.ground.pushrod("host", "limits", "--app", "attacker", *limits)
    yield
    back = (f"{limit.partition('=')[0]}=default" for limit in limits)
    town.ground.pushrod("host", "limits", "--app", "attacker", *back)


def test_excessive_values_are_lowered_to_the_hosts_limits(town: Town, attacker: Attacker) -> None:
    edge = town.box.exec("systemctl", "show", "pushrod-edge", "-p", "MainPID", "-p", "ActiveState").stdout
    check = "HEALTHCHECK --interval=1ms --start-interval=1ms --retries=1000000 CMD true\n"
    done = attacker.pushes({"compose.yaml": GREEDY, "Dockerfile": DOCKERFILE + check})
    assert done.ok, done.err
    result: Any = town.inspect(town.container("attacker"))
    given, config = result["HostConfig"], result["Config"]
    limits = json.loads(town.ground.pushrod("host", "limits", "--json").stdout)
    assert given["PidsLimit"] == limits["pids"] <= 4096
    assert given["Memory"] == limits["memory"]
    assert 0 < given["MemorySwap"] <= 2 * given["Memory"]
    assert given["ShmSize"] == limits["shm"]
    assert (given["CpuShares"], given["CpusetCpus"]) == (1024, "")
    assert given["Tmpfs"] == {"/big": f"size={limits['tmpfs']},exec"}
    dangerous = ("NET_RAW", "MKNOD", "SYS_CHROOT", "SETPCAP", "SETFCAP", "AUDIT_WRITE")
    assert not {name.removeprefix("CAP_") for name in given["CapAdd"] or ()} & {*dangerous}
    assert given["SecurityOpt"] == ["no-new-privileges"]
    assert not given.get("Annotations")
    assert given["Sysctls"] == {"net.core.somaxconn": "128"}
    assert given["LogConfig"]["Type"] == "json-file"
    assert set(given["LogConfig"]["Config"]) == {"max-size", "max-file"}
    assert given["Ulimits"] == [{"Name": "core", "Hard": 0, "Soft": 0}]
    assert given["OomScoreAdj"] == 200
    assert given["CgroupParent"] == "pushrod-app-attacker.slice"
    assert config["Labels"]["pushrod.app"] == "attacker"
    assert config["Labels"]["com.docker.compose.project"].startswith("attacker-r")
    assert "127.0.0.1" not in config["Labels"].get("pushrod.probe", "")
    assert config["Healthcheck"]["Interval"] == 10**9
    assert config["Healthcheck"]["Retries"] == 100
    assert all(name.startswith("attacker-r") for name in result["NetworkSettings"]["Networks"])
    assert (
        town.box.exec("systemctl", "show", "pushrod-edge", "-p", "MainPID", "-p", "ActiveState").stdout
        == edge
    )
    assert not town.box.docker("images", "--quiet", "pushrod/victim/web:latest").strip()
    notes = [line for line in done.err.splitlines() if " note " in line]
    assert any("`annotations`" in note for note in notes)


DATA = "    volumes: ['data:/d']\nvolumes: {data: {driver_opts: "
REFUSED: Mapping[str, str] = {
    "privileged": "    privileged: true\n",
    "provider": "  x: {provider: {type: /bin/sh}}\n",
    "pid": "    pid: host\n",
    "ipc": "    ipc: 'container:victim-redis'\n",
    "volumes_from": "    volumes_from: ['container:victim-redis']\n",
    "devices": "    devices: [/dev/null]\n",
    "runtime": "    runtime: io.containerd.runtime.v1.linux\n",
    "volumes": "    volumes: ['data:/d']\nvolumes: {data: {external: true, name: victim_data}}\n",
    "volumes.data.driver_opts": DATA + "{type: nfs, o: 'addr=127.0.0.1', device: ':/'}}}\n",
    "the host's processes: driver_opts": DATA + "{type: proc, o: rw, device: proc}}}\n",
    "the host's control groups: driver_opts": DATA + "{type: cgroup2, o: rw, device: none}}}\n",
    "a disk of the host: driver_opts": DATA + "{type: ext4, o: ro, device: /dev/vda}}}\n",
    "volumes.data.driver_opts.device": DATA + "{type: none, o: bind, device: /}}}\n",
    "external": "    secrets: [s]\nsecrets: {s: {external: true}}\n",
    "replicas": "    deploy: {replicas: 100000}\n",
    "sysctls": "    sysctls: {kernel.panic: '1'}\n",
    "security_opt": "    security_opt: ['seccomp=unconfined']\n",
    "build.ssh": "    build: {context: ., ssh: [default]}\n",
}  # fmt: skip


def test_keys_that_reach_beyond_the_app_are_refused(attacker: Attacker) -> None:
    for key, lines in REFUSED.items():
        text = MANIFEST.replace("    build: .\n", "") if "build:" in lines else MANIFEST
        result = attacker.refused({"compose.yaml": text + lines})
        assert re.split(r"[.:] ?", key)[-1] in result.where, (key, result)
        assert result.to_do, key


def test_an_image_with_reserved_labels_is_refused(attacker: Attacker) -> None:
    result = attacker.refused({"Dockerfile": DOCKERFILE + 'LABEL pushrod.probe="http://127.0.0.1:22/"\n'})
    assert "`pushrod.probe`" in result.what


# ---- while it runs --------------------------------------------------------------------------------------------

ATTACHED = 16
"""How many tasks may exceed a limit: `pids.max` refuses forks, but a program that the engine moves in, for a health
check or `exec`, is always admitted (the kernel's documentation of cgroup-v1/pids)."""

BOMB = """\
import os, time
while True:
    try:
        if os.fork() == 0:
            time.sleep(600)
    except OSError:
        time.sleep(0.01)
"""
HOG = """\
kept = []
while True:
    kept.append(bytearray(b"x") * (8 << 20))
"""
STORE = f"{MANIFEST}    depends_on: [redis]\n  redis: {{image: 'valkey/valkey:9'}}\n"


@contextmanager
def running(town: Town, program: str) -> Iterator[str]:
    """A program in the attacker's own container, ended after the block."""
    name = town.container("attacker")
    town.box.exec("docker", "exec", "--detach", name, "python", "-c", program)
    try:
        yield name
    finally:
        town.box.docker("restart", "--time=1", name)


def read(town: Town, controller: str, slice_: str, name: str) -> int:
    """A value of a slice's control group, in the box's cgroup v1."""
    kind = slice_.split("-")[1]
    place = f"/sys/fs/cgroup/{controller}/pushrod.slice/pushrod-{kind}.slice/{slice_}/{name}"
    return int(town.box.exec("cat", place).stdout)


def test_a_fork_bomb_is_stopped_at_the_task_limit_of_its_app(town: Town, victim: Party, narrow: None) -> None:
    assert read(town, "pids", "pushrod-app-attacker.slice", "pids.max") == 200
    with running(town, BOMB):
        assert waits.wait_until(
            lambda: read(town, "pids", "pushrod-app-attacker.slice", "pids.current") >= 199, 30, 0.2
        )
        assert victim.get("/healthz").status == 200
        assert town.box.exec("true").status == 0
        assert read(town, "pids", "pushrod-app-attacker.slice", "pids.current") <= 200 + ATTACHED


def test_the_memory_of_an_app_is_limited_and_its_store_keeps_running(
    town: Town, attacker: Attacker, victim: Party, narrow: None
) -> None:
    done = attacker.pushes({"compose.yaml": STORE})
    assert done.ok, done.err
    store: Any = town.inspect("attacker-redis")
    assert store["HostConfig"]["CgroupParent"] == "pushrod-store-attacker.slice"
    with running(town, HOG):
        events = "memory/pushrod.slice/pushrod-app.slice/pushrod-app-attacker.slice/memory.failcnt"
        assert waits.wait_until(
            lambda: int(town.box.exec("cat", f"/sys/fs/cgroup/{events}").stdout) > 0, 30, 0.2
        )
        most = read(town, "memory", "pushrod-app-attacker.slice", "memory.max_usage_in_bytes")
        assert most <= 256 << 20
        assert victim.get("/healthz").status == 200
        assert town.box.docker("exec", "attacker-redis", "valkey-cli", "ping").strip() == "PONG"
    after: Any = town.inspect("attacker-redis")
    assert (after["State"]["StartedAt"], after["RestartCount"]) == (
        store["State"]["StartedAt"],
        store["RestartCount"],
    )


# As many file watchers and asynchronous reads as the kernel's defaults allow.
TABLES = """\
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
made = {"watchers": 0, "reads": 0}
while made["watchers"] < 500 and libc.inotify_init1(0) >= 0:
    made["watchers"] += 1
setup = {"x86_64": 206, "aarch64": 0}[os.uname().machine]  # io_setup(2), which the library has not
while made["reads"] < 1 << 17 and libc.syscall(setup, 1 << 14, ctypes.byref(ctypes.c_ulong(0))) == 0:
    made["reads"] += 1 << 14
print(made, flush=True)
"""
DEFAULTS = {"fs.inotify.max_user_instances": 128, "fs.aio-max-nr": 65536}


def test_kernel_limits_shared_by_all_are_not_exhausted_by_one_app(town: Town, victim: Party) -> None:
    """Root in a container has the user ID of the host's root, by which the kernel counts."""
    for name, value in DEFAULTS.items():
        town.box.exec("sysctl", "--quiet", "--write", f"{name}={value}")
    reported = town.ground.pushrod("host", "init").stdout
    assert all(name in reported for name in DEFAULTS)
    with running(town, f"{TABLES}\nimport time; time.sleep(60)") as name:
        assert waits.wait_until(lambda: "watchers" in town.box.docker("top", name, "-o", "pid,args"), 10, 0.2)
        for where in (("python3",), ("docker", "exec", town.container("victim"), "python")):
            output = town.box.exec(*where, "-c", TABLES).stdout
            assert output.strip() == "{'watchers': 500, 'reads': 131072}", where
        assert victim.get("/healthz").status == 200
    assert "no app can exhaust what all apps share" in town.ground.pushrod("doctor").stdout


FILL = """\
import mmap, os, time
file = open("/tmp/filled", "w+b")
for _ in range(100):
    file.write(b"x" * (1 << 20))
file.flush()
"""
FILLS = {
    "named": FILL,
    "open": FILL + "os.unlink('/tmp/filled')\n",
    "mapped": FILL + "kept = mmap.mmap(file.fileno(), 0)\nfile.close()\nos.unlink('/tmp/filled')\n",
}
STAYS = "open('/tmp/written', 'w').close()\ntime.sleep(600)\n"


@pytest.mark.parametrize("kind", spread(FILLS, 1))
def test_a_container_that_fills_the_disk_is_stopped_for_good(town: Town, victim: Party, kind: str) -> None:
    """Including deleted files that are still open, which Docker does not count."""
    town.ground.pushrod("host", "limits", "layer=64M")
    name = town.container("attacker")
    try:
        town.box.docker("exec", "--detach", name, "python", "-c", FILLS[kind] + STAYS)
        there = ("docker", "exec", name, "test", "-e", "/tmp/written")
        assert waits.wait_until(lambda: town.box.exec(*there, check=False).status == 0, 30, 0.2)
        town.box.exec("systemctl", "start", "pushrod-layers.service")
        result: Any = town.inspect(name)
        assert result["State"]["Status"] == "exited"
        town.box.exec("systemctl", "start", "pushrod-watch.service")
        assert town.inspect(name)["State"] == result["State"]
        reported = town.box.exec("cat", "/var/lib/pushrod/apps/attacker/watch.log").stdout
        assert "MiB outside its volumes, of 64 MiB" in reported
        assert victim.get("/healthz").status == 200
    finally:
        town.ground.pushrod("host", "limits", "layer=default")
        town.box.docker("rm", "--force", name)
        town.recover()


# ---- network access -------------------------------------------------------------------------------------------

REACH = """\
import socket, sys
for word in sys.argv[1:]:
    host, _, port = word.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 1.5).close()
        print(word, "open")
    except OSError as e:
        print(word, "closed")
for family, kind, name in ((socket.AF_PACKET, socket.SOCK_RAW, "packet"), (socket.AF_INET, socket.SOCK_RAW, "raw")):
    try:
        socket.socket(family, kind, 1 if name == "raw" else socket.htons(3)).close()
        print(name, "given")
    except OSError:
        print(name, "denied")
lines = open("/proc/net/if_inet6").read().splitlines()
print("ipv6", [line.split()[-1] for line in lines if line.split()[-1] != "lo"])
"""


def test_a_container_reaches_neither_other_apps_nor_the_hosts_loopback(
    town: Town, attacker: Attacker
) -> None:
    """Not even as root, with everything that a manifest can ask for without a grant."""
    more = "    user: '0'\n    cap_add: [NET_RAW, SETFCAP, MKNOD]\n"
    done = attacker.pushes({"compose.yaml": MANIFEST + more})
    assert done.ok, done.err
    own: Any = town.inspect(town.container("attacker"))
    gateway = next(iter(own["NetworkSettings"]["Networks"].values()))["Gateway"]
    others = []
    for name, port in ((town.container("victim"), 8080), ("victim-postgres", 5432), ("victim-redis", 6379)):
        result: Any = town.inspect(name)
        others += [f"{n['IPAddress']}:{port}" for n in result["NetworkSettings"]["Networks"].values()]
    assert len(others) >= 3
    listen = "import socket, time; s = socket.create_server(('127.0.0.1', 7777)); time.sleep(60)"
    town.box.exec("systemd-run", "--unit=listens", "--collect", "python3", "-c", listen)
    try:
        argv = ("ss", "-ltnH", "sport = :7777")
        assert waits.wait_until(lambda: bool(town.box.exec(*argv).stdout.strip()), 10, 0.1)
        targets = [*others, f"{gateway}:7777", "127.0.0.1:7777", f"{gateway}:80"]
        output = town.box.docker(
            "exec", own["Name"].lstrip("/"), "python", "-c", REACH, *targets
        ).splitlines()
    finally:
        town.box.exec("systemctl", "stop", "listens")
    assert f"{gateway}:80 open" in output  # the edge, which is open to everyone
    assert [line for line in output if line.endswith(" open")] == [f"{gateway}:80 open"]
    assert {"packet denied", "raw denied", "ipv6 []"} <= {*output}
