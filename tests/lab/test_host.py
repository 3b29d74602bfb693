"""`pushrod host init` on a bare server, over SSH, from this checkout; then who may do what there."""

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import pushrod as package
from devtools.lab import images
from devtools.lab.box import Box
from pushrod.system import processes, waits
from pushrod.system.processes import Completed
from tests.conftest import needs_lab

pytestmark = pytest.mark.lab

SOURCE = Path(package.__file__).parent
ROOT = "/var/lib/pushrod"
DAEMON = "/etc/docker/daemon.json"
UNITS = (
    *("pushrod.target", "pushrod-edge.service", "pushrod-app@shop.service", "pushrodbuild.slice"),
    *("pushrod-gate@alice.service", "pushrodgate.slice"),
    *("pushrod-builds.service", "pushrod-guard.service"),
    *("pushrod-apps.path", "pushrod-apps.service", "pushrod-watch.timer", "pushrod-watch.service"),
    *("pushrod-layers.timer", "pushrod-layers.service"),
    *("pushrod-prune.timer", "pushrod-prune.service"),
    *("pushrod-backup.timer", "pushrod-backup.service"),
    *("pushrod-renew.timer", "pushrod-renew.service"),
)
EXPOSURE = 3.0  # of 10; `systemd-analyze security` rates up to 4 as OK


def pushrod(server: Box, *argv: str) -> Completed:
    """Run this checkout's pushrod, as of the server's creation; it reaches the server with its key."""
    copy = server.scratch / "source"
    if not copy.exists():
        shutil.copytree(SOURCE, copy / "pushrod", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**os.environ, "GIT_SSH_COMMAND": shlex.join(server.ssh_command()), "PYTHONPATH": str(copy)}
    return processes.run([sys.executable, "-m", "pushrod", *argv], env=environment, timeout=600)


def there(server: Box, *argv: str, stdin: str = "", user: str = "root") -> Completed:
    """Run the server's own pushrod."""
    return server.exec("pushrod", *argv, stdin=stdin, user=user, check=False)


@contextmanager
def replaced(server: Box, path: str, text: str, mode: int = 0o644) -> Iterator[None]:
    """A file of the server with other content during the block."""
    before = server.get(path)
    server.put(path, text, mode)
    try:
        yield
    finally:
        server.put(path, before, mode)


@pytest.fixture(scope="module")
def server() -> Iterator[Box]:
    """A bare server that was made a host."""
    needs_lab(images.problem())
    box = Box()
    try:
        box.create(images.BARE, seed="")
        assert box.exec("sh", "-c", "command -v docker || command -v git", check=False).status != 0
        done = pushrod(box, "host", "init", f"root@{box.address}")
        assert done.status == 0, done.stdout + done.stderr
        assert re.search(r"^new +packages +.*docker\.io", done.stdout, re.MULTILINE), done.stdout
        yield box
        print(box.journal())
    finally:
        box.remove()


@pytest.fixture
def key(server: Box, tmp_path: Path) -> Path:
    """A key that may not push yet."""
    path = tmp_path / "key"
    processes.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", tmp_path.name, "-f", path])
    return path


# ---- making one -------------------------------------------------------------------------------------------------


def test_a_second_call_does_nothing(server: Box) -> None:
    before = server.exec(
        "find", "/etc/systemd", "/etc/docker", ROOT, "-newer", "/etc/docker/daemon.json"
    ).stdout
    done = pushrod(server, "host", "init", f"root@{server.address}")
    assert (done.status, done.stdout.splitlines()[-1]) == (
        0,
        "nothing to do: this machine is already a host",
    ), done.stdout
    plan = pushrod(server, "host", "init", f"root@{server.address}", "--plan", "--json")
    assert {change["action"] for change in json.loads(plan.stdout)} == {"same"}
    after = server.exec(
        "find", "/etc/systemd", "/etc/docker", ROOT, "-newer", "/etc/docker/daemon.json"
    ).stdout
    assert after == before


def test_a_new_host_serves_and_doctor_finds_nothing(server: Box) -> None:
    assert server.get_page().status == 404
    done = there(server, "doctor", "--json")
    assert done.status == 0, done.stdout
    assert {f["state"] for f in json.loads(done.stdout)} == {"ok"}


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_verifies_the_unit_without_messages(server: Box, unit: str) -> None:
    done = server.exec("systemd-analyze", "verify", "--man=no", unit, check=False)
    assert (done.status, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", [u for u in UNITS if u.endswith(".service")])
def test_the_service_is_sandboxed(server: Box, unit: str) -> None:
    output = server.exec("systemd-analyze", "security", "--no-pager", unit).stdout
    result = re.search(r"Overall exposure level for \S+: ([\d.]+)", output)
    assert result
    assert float(result[1]) <= EXPOSURE


def test_the_edge_can_access_neither_docker_nor_the_apps(server: Box) -> None:
    pid = server.exec("systemctl", "show", "--value", "--property=MainPID", "pushrod-edge").stdout.strip()
    inside = ("nsenter", f"--target={pid}", "--mount", "setpriv", "--reuid=pushrod", "--regid=pushrod")
    for argv in (("ls", f"{ROOT}/apps"), ("cat", "/run/docker.sock"), ("touch", f"{ROOT}/host.json")):
        assert server.exec(*inside, "--init-groups", "--", *argv, check=False).status != 0, argv


def test_nginx_tests_a_configuration_with_port_80_without_root(server: Box) -> None:
    argv = [f"{ROOT}/programs/nginx", "-p", f"{ROOT}/edge/", "-c", f"{ROOT}/edge/current/nginx.conf"]
    done = server.exec(*argv, "-e", "stderr", "-t", user="pushrod", check=False)
    assert done.status == 0, done.stderr


def test_a_linked_app_unit_is_started_without_root(server: Box) -> None:
    """The account makes a link; the path unit makes systemd load it and start what it names."""
    link = "/etc/systemd/system/pushrod.target.wants/pushrod-app@ghost.service"
    server.exec("ln", "-s", "../pushrod-app@.service", link, user="pushrod")
    tried = (
        "systemctl",
        "show",
        "--value",
        "--property=ExecMainStartTimestampMonotonic",
        "pushrod-app@ghost",
    )
    try:
        assert waits.wait_until(lambda: server.exec(*tried).stdout.strip() not in ("", "0"), 30, 0.2)
    finally:
        server.exec("rm", link, user="pushrod")


def test_a_host_works_after_a_reboot(server: Box) -> None:
    server.reboot()
    assert waits.wait_until(lambda: there(server, "doctor").status == 0, 30, 0.5), there(
        server, "doctor"
    ).stdout
    assert server.get_page().status == 404


def test_a_killed_edge_restarts(server: Box) -> None:
    server.exec("systemctl", "kill", "--signal=KILL", "pushrod-edge")

    def back() -> bool:
        try:
            return server.get_page().status == 404
        except OSError:
            return False

    assert waits.wait_until(back, 15, 0.1)


def test_a_changed_unit_is_reported_and_repaired(server: Box) -> None:
    server.exec("sh", "-c", "echo '# mine' >> /etc/systemd/system/pushrod-watch.timer")
    output = there(server, "doctor").stdout
    assert re.search(r"warning  units .*pushrod-watch.timer is changed", output), output
    assert "pushrod-watch.timer" in there(server, "host", "init").stdout
    assert there(server, "doctor").status == 0


def test_a_stopped_edge_is_reported_and_started(server: Box) -> None:
    server.exec("systemctl", "stop", "pushrod-edge")
    done = there(server, "doctor")
    assert (done.status, "to do: systemctl start pushrod-edge.service" in done.stdout) == (10, True), (
        done.stdout
    )
    assert there(server, "host", "init").status == 0
    assert server.get_page().status == 404


# ---- refusals
# -----------------------------------------------------------------------------------------------------


def test_an_unsupported_system_is_refused(server: Box) -> None:
    with replaced(server, "/usr/lib/os-release", 'ID=fedora\nVERSION_ID=43\nPRETTY_NAME="Fedora Linux 43"\n'):
        done = there(server, "host", "init")
    assert done.status == 10
    assert done.stderr.startswith("pushrod: Fedora Linux 43 cannot be a host")


def test_a_compose_that_is_too_old_is_refused(server: Box) -> None:
    server.put("/root/docker-compose", "#!/bin/sh\necho 2.17.2\n", 0o755)
    argv = ("env", "PUSHROD_COMPOSE=/root/docker-compose", "pushrod", "host", "init")
    done = server.exec(*argv, check=False)
    assert done.status == 10
    assert done.stderr.startswith("pushrod: Docker Compose 2.17.2 is too old")


def test_invalid_settings_of_the_engine_are_left_alone(server: Box) -> None:
    with replaced(server, DAEMON, '{"dns": ['):
        done = there(server, "host", "init")
        assert (done.status, server.get(DAEMON)) == (11, b'{"dns": [')
    assert "cannot be read" in done.stderr


def test_the_owners_engine_settings_are_kept_and_containers_keep_running(server: Box) -> None:
    """The engine is restarted for the added settings; a container, here a hand-made one, does not notice."""
    mine = {"debug": True, "log-driver": "local", "max-concurrent-downloads": 2}
    server.put(DAEMON, json.dumps(mine))
    server.exec("systemctl", "restart", "docker")
    pack = "tar -chC / usr/bin/sleep $(ldd /usr/bin/sleep | grep -o '/lib[^ ]*')"
    server.exec("sh", "-c", f"{pack} | docker import - small")
    server.docker("run", "--detach", "--name=rest", "small", "/usr/bin/sleep", "600")
    state = ("inspect", "--format={{.State.StartedAt}} {{.State.Pid}} {{.State.Running}}", "rest")
    before = server.docker(*state)
    try:
        done = there(server, "host", "init")
        assert done.status == 0, done.stderr
        assert "its container keeps running" in done.stdout
        assert re.search(r'^kept +daemon.json log-driver +"local" is yours$', done.stdout, re.MULTILINE)
        result = json.loads(server.get(DAEMON))
        assert {name: result[name] for name in mine} == mine
        assert result["live-restore"] is True
        assert json.loads(server.get(f"{DAEMON}.before-pushrod")) == mine
        assert server.docker(*state) == before
    finally:
        server.docker("rm", "--force", "rest")


def test_a_user_other_than_root_is_refused(server: Box) -> None:
    assert there(server, "host", "init", user="nobody").status == 10
    assert there(server, "host", "keys", "list", user="nobody").status == 10


def test_a_server_that_refuses_the_login_is_reported(server: Box, key: Path) -> None:
    done = pushrod(server, "host", "init", f"nobody@{server.address}")
    assert (done.status, "refuses your key" in done.stderr) == (10, True)


# ---- who may push -------------------------------------------------------------------------------------------------


def test_a_key_can_use_only_its_permissions(server: Box, key: Path) -> None:
    name = key.parent.name
    added = there(
        server, "host", "keys", "add", "-", "--app", "shop", stdin=key.with_suffix(".pub").read_text()
    )
    assert added.status == 0, added.stderr

    def ask(*argv: str) -> Completed:
        return server.ssh(*argv, user="pushrod", key=key, check=False)

    hello = server.ssh(user="pushrod", key=key, check=False)
    assert (hello.status, hello.stdout.partition(", and run")[0]) == (0, f"{name}: you may push to shop")
    assert (ask("apps", "list", "--json").status, ask("apps", "list", "--json").stdout.strip()) == (0, "[]")
    for argv in (
        ("sh", "-c", "id"),
        ("host", "init"),
        ("doctor",),
        ("status", "--root", "/"),
        ("cat", "/etc/passwd"),
    ):
        done = ask(*argv)
        assert (done.status, done.stdout) == (12, ""), argv
    assert "this key is not for `zoo`" in ask("git-receive-pack", "zoo").stderr
    assert ask("git-upload-pack", "shop").status == 12  # no such app, and this key cannot create it
    assert there(server, "host", "keys", "remove", name).status == 0
    assert ask("status").status == 255


def test_an_invalid_key_changes_nothing(server: Box, key: Path) -> None:
    public = key.with_suffix(".pub").read_text()
    assert there(server, "host", "keys", "add", stdin=public).status == 0
    before = server.get(f"{ROOT}/.ssh/authorized_keys")
    for text, status in ((public, 12), (key.read_text(), 10), (f"no-pty {public}", 10), ("nonsense", 10)):
        assert there(server, "host", "keys", "add", stdin=text).status == status, text
    assert server.get(f"{ROOT}/.ssh/authorized_keys") == before
    assert there(server, "host", "keys", "remove", key.parent.name).status == 0
