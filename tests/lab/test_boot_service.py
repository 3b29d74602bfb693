"""Without Docker, on a real systemd: `pushrod service install` brings a root's apps back after a reboot.

Two roots in one box: one of root, whose unit is the system's, and one of a user without rights, whose unit is of
that user's own manager.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.lab import images
from devtools.lab.box import PUSHROD, Box
from pushrod.system import waits
from pushrod.system.processes import Completed
from tests.conftest import needs_lab, spread

pytestmark = pytest.mark.lab

COMPOSE = """\
services:
  web:
    build: .
    command: python app.py
    environment:
      REDIS_URL: redis://redis:6379/0
    ports: ["8000"]
    depends_on: [redis]
  redis:
    image: redis:7
"""
APP = """\
import http.server, os, socket, urllib.parse

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        url = urllib.parse.urlparse(os.environ["REDIS_URL"])
        with socket.create_connection((url.hostname, url.port), 5) as s:
            s.sendall(f"AUTH {url.username or 'default'} {urllib.parse.unquote(url.password or '')}\\r\\n".encode())
            s.recv(64)
            s.sendall(b"INCR app:seen\\r\\n" if self.path == "/count" else b"PING\\r\\n")
            answer = s.recv(64)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer)

http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ.get("PORT", "8000"))), Handler).serve_forever()
"""
USERS = {"root": "/srv/roots", "ann": "/home/ann/roots"}


class Machine:
    """A box with an app for each of USERS, deployed from a repository in that user's home."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.units = dict.fromkeys(USERS, "")

    def pushrod(self, user: str, *argv: str, check: bool = True) -> Completed:
        """A command of that user, about that user's root, in the app's repository."""
        home = "/root" if user == "root" else f"/home/{user}"
        words = [
            "env",
            "-C",
            f"{home}/shop",
            f"HOME={home}",
            f"PUSHROD_ROOT={USERS[user]}",
            f"{PUSHROD}/bin/pushrod",
            *argv,
        ]
        return self.box.exec(*words, user=user, check=check)

    def answer(self, user: str, path: str = "/") -> str:
        """What the user's app answers at the edge; empty if it does not."""
        url = json.loads(self.pushrod(user, "status", "--json").stdout)[0]["url"]
        fetch = (
            f"import urllib.request; print(urllib.request.urlopen({url + path!r}, timeout=5).read().decode())"
        )
        return self.box.exec("python3", "-c", fetch, check=False).stdout.strip()

    def counted(self, user: str) -> int:
        """Count one more request in the store; 0 if the app does not answer."""
        answer = self.answer(user, "/count")
        return int(answer[1:]) if answer.startswith(":") else 0

    def eventually(self, user: str, count: int) -> bool:
        """Whether the app soon answers, and counts this request as that one."""
        return waits.wait_until(lambda: self.counted(user) == count, 60)

    def systemctl(self, user: str, *argv: str) -> str:
        """systemd's answer, of the user's own manager if that is not root's."""
        words = ["systemctl", *argv]
        if user != "root":
            words = ["env", "XDG_RUNTIME_DIR=/run/user/1000", "systemctl", "--user", *argv]
        return self.box.exec(*words, user=user, check=False).stdout.strip()


@pytest.fixture(scope="module")
def machine(wheel: Path) -> Iterator[Machine]:
    needs_lab(images.box_problem())
    box = Box()
    try:
        box.create(seed="").install(wheel)
        box.exec(f"{PUSHROD}/bin/pip", "install", "--quiet", f"/root/{wheel.name}[embedded]")
        # Without it systemd cannot start a user's manager; servers have it, minimal containers do not.
        box.exec("apt-get", "update", "--quiet")
        box.exec("apt-get", "install", "--yes", "--no-install-recommends", "libpam-systemd")
        box.exec("useradd", "--create-home", "--shell", "/bin/bash", "ann")
        machine = Machine(box)
        for user in USERS:
            home = "/root" if user == "root" else f"/home/{user}"
            box.put(f"{home}/shop/compose.yaml", COMPOSE)
            box.put(f"{home}/shop/app.py", APP)
            box.put(f"{home}/shop/Dockerfile", "FROM python:3.13-slim\nCOPY app.py .\n")
            box.exec("chown", "-R", user, f"{home}/shop")
            for words in (
                ["init", "-q"],
                ["add", "."],
                ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "1"],
            ):
                box.exec("git", "-C", f"{home}/shop", *words, user=user)
            assert "live" in (done := machine.pushrod(user, "up")).stdout + done.stderr
        yield machine
        print(box.journal())
        for root in USERS.values():
            print(box.exec("sh", "-c", f"tail -n 20 {root}/supervisor/*.log", check=False).stdout)
    finally:
        box.remove()


def test_apps_start_after_a_reboot_and_a_power_cut(machine: Machine) -> None:
    """By one reboot and one power cut for both users, since each takes the box half a minute."""
    assert {user: machine.counted(user) for user in USERS} == dict.fromkeys(USERS, 1)
    refused = machine.pushrod("ann", "service", "install", check=False)
    assert refused.status == 10
    assert "loginctl enable-linger ann" in refused.stderr
    machine.box.exec("loginctl", "enable-linger", "ann")
    for user in USERS:
        output = machine.pushrod(user, "service", "install").stdout
        machine.units[user] = output.partition(" ")[0]
        assert machine.counted(user) == 2  # what ran goes on
        doctor = machine.pushrod(user, "doctor").stdout
        assert f"{machine.units[user]} starts the apps" in doctor
    machine.box.reboot()
    for user in USERS:
        assert machine.eventually(user, 3), machine.box.journal()
        assert machine.systemctl(user, "is-active", machine.units[user]) == "active"
    machine.box.power_cut()
    for user in USERS:
        assert machine.eventually(user, 4), machine.box.journal()


def test_no_process_in_the_units_restarts_in_a_loop(machine: Machine) -> None:
    for root in USERS.values():
        log = machine.box.exec("cat", f"{root}/supervisor/supervisord.log").stdout
        assert "spawned: 'rotation'" in log
        assert not re.search(r"exit status \d+; not expected", log)


@pytest.mark.parametrize("user", USERS)
def test_a_killed_supervisor_and_a_new_release_stay_in_the_unit(machine: Machine, user: str) -> None:
    unit = machine.units[user]
    before = machine.systemctl(user, "show", "--property=MainPID", "--value", unit)
    machine.box.exec("kill", "-9", before)
    assert waits.wait_until(lambda: bool(machine.answer(user)), 60)
    assert machine.systemctl(user, "show", "--property=MainPID", "--value", unit) not in ("0", before)
    machine.pushrod(user, "restart")
    assert machine.answer(user)
    assert machine.systemctl(user, "show", "--property=NRestarts", "--value", unit) == "1"
    machine.pushrod(user, "down")
    assert machine.systemctl(user, "is-active", unit) == "inactive"
    machine.pushrod(user, "up")
    assert machine.systemctl(user, "is-active", unit) == "active"
    assert machine.answer(user)


def test_the_units_are_sandboxed(machine: Machine) -> None:
    shown = machine.box.exec(
        "systemd-analyze", "security", "--no-pager", machine.units["root"], check=False
    ).stdout
    assert float(shown.rpartition("exposure level for")[2].split(":")[1].split()[0]) < 5
    done = machine.box.exec("systemd-analyze", "verify", "--man=no", machine.units["root"], check=False)
    assert (done.status, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("user", spread(USERS, 1))
def test_a_timer_writes_the_metrics_again_and_again(machine: Machine, user: str) -> None:
    path = f"{USERS[user]}/edge/metrics/metrics.prom"
    assert machine.box.exec("test", "-e", path, check=False).status != 0
    assert machine.pushrod(user, "service", "install", "--metrics").stdout.endswith(
        f"metrics are in {path}\n"
    )
    collected = f"grep pushrod_collected_timestamp_seconds {path} | tail -n 1"
    assert waits.wait_until(
        lambda: machine.box.exec("sh", "-c", f"test -e {path}", check=False).status == 0, 30
    )
    first = machine.box.exec("sh", "-c", collected).stdout
    assert 'pushrod_app_up{app="shop"} 1.0' in machine.box.exec("cat", path).stdout
    assert waits.wait_until(lambda: machine.box.exec("sh", "-c", collected).stdout != first, 40)
    assert machine.answer(user)
    machine.pushrod(user, "service", "install")
    timer = machine.units[user].replace(".service", "-metrics.timer")
    assert machine.systemctl(user, "is-active", timer) == "inactive"


@pytest.mark.parametrize("user", USERS)
def test_the_service_is_removed(machine: Machine, user: str) -> None:
    machine.pushrod(user, "service", "remove")
    assert machine.answer(user)
    assert machine.systemctl(user, "is-enabled", machine.units[user]) != "enabled"
    assert "starts the apps" not in machine.pushrod(user, "doctor").stdout
