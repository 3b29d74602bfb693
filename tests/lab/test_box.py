"""The lab's boxes behave like servers: they boot, lose power and run containers."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from devtools.apps import eventually
from devtools.lab import images
from devtools.lab.box import PUSHROD, Box
from pushrod.system import processes

pytestmark = pytest.mark.lab


def test_a_box_runs_systemd_docker_and_pushrod_and_has_every_image(box: Box) -> None:
    assert box.state() == "running", box.units("--failed")
    assert box.exec("cat", "/proc/1/comm").stdout == "systemd\n"
    assert box.exec("systemctl", "is-active", "docker", "ssh").stdout.split() == ["active", "active"]
    assert set(images.inner()) <= set(box.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split())
    assert box.docker("run", "--rm", "python:3.13-slim", "python", "-c", "print(6 * 7)") == "42"
    assert "git" in box.exec(f"{PUSHROD}/bin/pushrod", "--help").stdout


def test_a_slice_limits_its_containers(box: Box) -> None:
    box.put("/etc/systemd/system/small.slice", "[Slice]\nMemoryMax=32M\n")
    box.exec("systemctl", "daemon-reload")
    eat = ("python:3.13-slim", "python", "-c", "bytearray(200_000_000)")
    box.docker("run", "--rm", *eat)
    inside = box.exec("docker", "run", "--rm", "--cgroup-parent=small.slice", *eat, check=False)
    assert inside.status == 137


@pytest.mark.parametrize("ends", [Box.reboot, Box.power_cut])
def test_containers_and_files_survive_a_restart_of_the_box(box: Box, ends: Callable[[Box], None]) -> None:
    box.docker("run", "--detach", "--name=web", "--restart=unless-stopped", "--publish=80:80", "nginx")
    try:
        booted = box.get("/proc/sys/kernel/random/boot_id"), box.exec("stat", "-c%y", "/proc/1").stdout
        box.put("/var/lib/kept", "kept")
        box.put("/run/lost", "lost")
        address = box.address
        ends(box)
        assert box.exec("stat", "-c%y", "/proc/1").stdout != booted[1]
        assert box.state() == "running"
        assert box.get("/var/lib/kept") == b"kept"
        assert box.exec("test", "-e", "/run/lost", check=False).status == 1
        eventually(
            lambda: box.docker("inspect", "--format", "{{.State.Running}}", "web") == "true", "web runs"
        )
        answer = box.get_page(site="shop.example")
        assert (box.address, answer.status, answer.headers["content-type"]) == (address, 200, "text/html")
    finally:
        box.docker("rm", "--force", "web")


def test_only_an_orderly_shutdown_signals_programs(box: Box) -> None:
    box.put(
        "/root/listen", "trap 'echo told >/root/told' TERM\ntouch /root/ready\nwhile :; do sleep 0.1; done\n"
    )
    for ends, written in ((box.power_cut, False), (box.reboot, True)):
        box.exec("rm", "-f", "/root/ready", "/root/told")
        box.exec("systemd-run", "--property=TimeoutStopSec=2", "--unit=listen", "sh", "/root/listen")
        eventually(lambda: box.exec("test", "-e", "/root/ready", check=False).status == 0, "it listens")
        ends()
        assert (box.exec("test", "-e", "/root/told", check=False).status == 0) == written


def test_a_push_over_ssh_reaches_a_repository(box: Box, tmp_path: Path) -> None:
    assert box.ssh("cat", "/etc/hostname").stdout.strip() == box.name
    box.exec("git", "init", "--quiet", "--bare", "/root/shop.git")
    for argv in (
        ["git", "init", "--quiet"],
        ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit", "-qm1", "--allow-empty"],
        ["git", "push", "--quiet", f"root@{box.address}:shop.git", "HEAD:main"],
    ):
        subprocess.run(argv, cwd=tmp_path, env=box.git_environment(), check=True, timeout=60)
    pushed = processes.run(["git", "rev-parse", "HEAD"], cwd=tmp_path).stdout
    assert box.exec("git", "-C", "/root/shop.git", "rev-parse", "main").stdout == pushed


def test_files_and_trees_are_copied_completely(box: Box, tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tool").write_bytes(content)
    (tmp_path / "bin" / "tool").chmod(0o750)
    box.put_tree(tmp_path, "/opt/tree")
    assert box.get("/opt/tree/bin/tool") == content
    assert box.exec("stat", "-c%U %a", "/opt/tree/bin/tool").stdout == "root 750\n"


@pytest.mark.long
def test_pushrod_and_docker_can_be_installed_on_a_bare_box(
    new_box: Callable[[str], Box], wheel: Path
) -> None:
    bare = new_box(images.BARE)
    assert bare.state() == "running"
    for program in ("docker", "git", "pip"):
        assert bare.exec("sh", "-c", f"command -v {program}", check=False).status != 0
    bare.install(wheel)
    assert bare.exec(f"{PUSHROD}/bin/pushrod", "--help").status == 0
    bare.exec("apt-get", "install", "--yes", "--no-install-recommends", "docker.io", "docker-cli", "iptables")
    assert "nginx:latest" in bare.docker("images", "--format", "{{.Repository}}:{{.Tag}}")
