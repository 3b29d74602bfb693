"""What an app's maintenance must leave alone: other stores, other apps, a push that came first."""

import contextlib
import socket

import psutil
import pytest

from devtools import apps
from devtools.apps import Machine

pytestmark = pytest.mark.integration

SLOW_START = "import time; time.sleep(1.5)\n"
REDIS = {"image": "valkey/valkey:9"}


def test_a_restart_that_waited_for_a_push_keeps_the_pushed_release(machine: Machine) -> None:
    app = machine.app("renewed")
    app.tree.commit({"app.py": SLOW_START + apps.changed("pushed")})
    push = app.tree.pushing()
    try:
        push.until(r"^  prepare ")
        restart = app.pushrod("restart")
        assert push.done().ok, push.lines
    finally:
        push.end()
    assert restart.ok, restart.err
    assert "waiting: another command is deploying" in restart.err
    assert app.branch() == app.tree.head()
    assert app.get() == (200, app.live, "pushed")


def test_a_new_store_leaves_the_other_ones_running(machine: Machine) -> None:
    one = {"app.py": apps.APP, "compose.yaml": apps.manifest({"redis": REDIS})}
    app = machine.app("growing", one)
    before = store_pids(app)
    app.push_change({"compose.yaml": apps.manifest({"redis": REDIS, "cache": REDIS})})
    after = store_pids(app)
    assert set(after) == {"redis", "cache"}
    assert after["redis"] == before["redis"]


def test_a_secret_in_an_argv_is_refused(machine: Machine) -> None:
    app = machine.app("careful")
    app.must("secret", "set", "TOKEN", stdin="s3cret-value")
    app.tree.commit({"compose.yaml": apps.manifest(command="python3 app.py ${TOKEN}")})
    message = app.refuses(3, "secret TOKEN", "argv of web")
    assert "s3cret-value" not in str(message)


BASE = "services: {base: {build: ., command: python3 app.py production}}"


def test_an_argv_that_equals_a_secret_by_chance_is_accepted(machine: Machine) -> None:
    """Nor if another file writes the command."""
    app = machine.app("wordy")
    app.must("secret", "set", "TOKEN", stdin="production")
    used = {"environment": {"GIVEN": "${TOKEN}"}}
    app.push_change({"compose.yaml": apps.manifest(command="python3 app.py production", **used)})
    base = {"file": "base.yaml", "service": "base"}
    extended = apps.manifest(build=None, command=None, extends=base, **used)
    app.push_change({"compose.yaml": extended, "base.yaml": BASE})
    app.tree.commit({"base.yaml": BASE.replace("production", "$TOKEN")})
    app.refuses(3, "secret TOKEN", "argv of web")


@pytest.mark.long
def test_a_port_lost_after_a_power_cut_affects_only_one_app(machine: Machine) -> None:
    first, second = machine.app("robbed"), machine.app("spared")
    power_cut(machine)
    port = first.settings["port"]
    with socket.create_server(("127.0.0.1", port)):
        assert machine.pushrod("up", cwd=second.tree.path).ok
        assert second.get().status == 200
        done = machine.pushrod("up", cwd=first.tree.path)
        assert str(port) in apps.complaint(done)
        assert machine.pushrod("up", "--port", str(apps.edge_port()), cwd=first.tree.path).ok
        assert first.get().status == 200


def test_a_moved_root_gets_new_hooks(machine: Machine) -> None:
    app = machine.app("hooked")
    hook = app.directory / "repo.git" / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\nexec /nowhere/python\n")
    assert app.machine.pushrod("up", cwd=app.tree.path).ok
    assert str(app.machine.root) in hook.read_text()


def store_pids(app: apps.App) -> dict[str, int]:
    """The process of each store of an app."""
    states = app.json("status")[0]["processes"]
    return {s["name"]: s["pid"] for s in states if s["group"].startswith(f"{app.name}_")}


def power_cut(machine: Machine) -> None:
    """Kill every process of a root, until none is left to start another."""

    def none_left() -> bool:
        for process in machine.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return not machine.processes()

    apps.eventually(none_left, "every process is gone")
