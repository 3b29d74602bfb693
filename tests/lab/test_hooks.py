"""`post_start` and `pre_stop` of a compose file on a host: when they run, under which account, and what a failure
does."""

import pytest

from devtools.apps import complaint, eventually
from devtools.lab.ground import Ground, Shop

pytestmark = [pytest.mark.lab, pytest.mark.long]

APP = """\
import http.server, pathlib, signal, sys

LOG = pathlib.Path("/data/log")


def write(what):
    with LOG.open("a") as log:
        log.write(what + "\\n")


def end(*_):
    write(sys.argv[1] + " term")
    sys.exit(0)


signal.signal(signal.SIGTERM, end)
http.server.ThreadingHTTPServer(("", 8000), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
DOCKERFILE = "FROM python:3.13-slim\nWORKDIR /app\nCOPY app.py .\nUSER 1000\n"
# `web` starts as an account that does not own its volume, as in Compose's own documentation of hooks.
COMPOSE = """\
x-pushrod: {domains: [hooked.localhost]}
services:
  web:
    build: .
    command: python app.py web
    ports: ["8000:8000"]
    volumes: ["data:/data"]
    environment: {COLOUR: red}
    depends_on: [worker]
    post_start:
      - {command: [chown, -R, "1000", /data], user: root}
      - command: [sh, -c, 'echo "web post_start $$COLOUR $$SIZE $$SECRET $$(id -u) $$(pwd)" >>/data/log']
        environment: {SIZE: "large #1", SECRET: }
        working_dir: /tmp
    pre_stop:
      - {command: [sh, -c, 'PRE_STOP']}
  worker:
    build: .
    command: sleep 600
    init: true
    volumes: ["data:/data"]
    post_start: [{command: [sh, -c, 'echo "worker post_start" >>/data/log && chmod 666 /data/log'], user: root}]
    pre_stop: [{command: [sh, -c, 'echo "worker pre_stop" >>/data/log']}]
  cache:
    image: redis:7
    command: redis-server STORE
    volumes: ["data:/data2"]
    post_start: [{command: [sh, -c, 'echo "cache post_start" >>/data2/log && chmod 666 /data2/log'], user: root}]
    pre_stop: [{command: [sh, -c, 'echo "cache pre_stop" >>/data2/log']}]
volumes: {data: }
"""


def tree(pre_stop: str = "echo web pre_stop >>/data/log", store: str = "", **changes: str) -> dict[str, str]:
    file = COMPOSE.replace("PRE_STOP", pre_stop).replace("STORE", store)
    return {"app.py": APP, "Dockerfile": DOCKERFILE, "compose.yaml": file, **changes}


class Hooked(Shop):
    """The app, and the output of its hooks."""

    log = "/var/lib/docker/volumes/hooked_data/_data/log"

    def calls(self) -> list[str]:
        """What was written since the last call."""
        lines = self.box.exec("cat", self.log, check=False).stdout.splitlines()
        self.box.exec("truncate", "--size=0", self.log)
        return lines

    def pushed(self, changes: dict[str, str], what: str) -> list[str]:
        self.tree.commit(changes, what)
        done = self.push()
        assert done.ok, done.err
        return self.calls()


@pytest.fixture(scope="module")
def app(ground: Ground) -> Hooked:
    """The app, pushed once."""
    made = ground.app("hooked", tree())
    app = Hooked(ground, "hooked", made.tree)
    ground.pushrod("apps", "create", "hooked")
    ground.box.ssh("secret", "set", "SECRET", "--app", "hooked", user="pushrod", stdin="hush hush")
    pushed = app.push()
    assert pushed.ok, pushed.err
    return app


WEB = "web post_start red large #1 hush hush 1000 /tmp"


def test_post_start_hooks_run_in_dependency_order(app: Hooked) -> None:
    assert app.calls() == ["cache post_start", "worker post_start", WEB]
    state = f"{app.directory}/state"
    assert app.box.exec("grep", "-r", "hush", state, check=False).stdout == ""


def test_pre_stop_hooks_run_after_the_drain_and_before_the_stop(app: Hooked) -> None:
    calls = app.pushed({"again": "1"}, "again")
    assert calls[:2] == ["worker post_start", WEB]
    assert sorted(calls[2:]) == ["web pre_stop", "web term", "worker pre_stop"]
    assert calls.index("web pre_stop") < calls.index("web term")


def test_a_rollback_runs_both_kinds_of_hooks(app: Hooked) -> None:
    app.ssh("rollback")
    calls = app.calls()
    assert calls[:2] == ["worker post_start", WEB]
    assert sorted(calls[2:]) == ["web pre_stop", "web term", "worker pre_stop"]


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        ('{command: [sh, -c, "echo no luck; exit 7"]}', "ended with status 7: no luck"),
        pytest.param("{command: [/nowhere/program]}", "ended with status 12", marks=pytest.mark.long),
        ('{command: [chown, "5", /data]}', "Operation not permitted"),
    ],
)
def test_a_failed_post_start_hook_refuses_the_push(app: Hooked, hook: str, message: str) -> None:
    before = (app.live, app.inspect("web", app.live)["State"]["StartedAt"])
    failing = tree()["compose.yaml"].replace("    pre_stop:\n", f"      - {hook}\n    pre_stop:\n", 1)
    app.tree.commit({"compose.yaml": failing}, "fails")
    done = app.push()
    result = complaint(done)
    assert "its post_start command" in result.what
    assert message in result.what
    assert (app.live, app.inspect("web", app.live)["State"]["StartedAt"]) == before
    assert app.get().status == 200
    assert "web term" in app.calls()  # from the one that failed
    assert set(app.running()) >= {app.container("web", app.live), "hooked-cache"}
    app.tree.commit(tree(), "mended")


def test_a_secret_printed_by_a_hook_is_masked(app: Hooked) -> None:
    failing = tree()["compose.yaml"].replace(
        ">>/data/log']\n        environment: {SIZE", "; exit 1']\n        environment: {SIZE"
    )
    app.tree.commit({"compose.yaml": failing}, "tells")
    done = app.push()
    assert "ended with status 1: web post_start red large #1" in complaint(done).what
    assert "hush" not in done.err
    app.tree.commit(tree(), "mended")
    app.calls()


def test_hooks_run_at_shutdown_and_boot(app: Hooked) -> None:
    app.box.exec("systemctl", "stop", "pushrod-app@hooked")
    calls = app.calls()
    assert sorted(calls) == ["cache pre_stop", "web pre_stop", "web term", "worker pre_stop"]
    assert calls.index("web pre_stop") < calls.index("web term") < calls.index("cache pre_stop")
    app.box.exec("systemctl", "start", "pushrod-app@hooked")
    assert app.calls() == ["cache post_start", "worker post_start", WEB]
    app.box.exec("systemctl", "reload", "pushrod-app@hooked")
    assert app.calls() == [], "what runs already was not started"


def test_hooks_run_for_a_container_restarted_by_the_watchdog(app: Hooked) -> None:
    app.box.docker("kill", app.container("web", app.live))
    eventually(lambda: WEB in app.box.get(app.log).decode(), "it is started, and its hooks run", 90)
    assert app.calls() == [WEB]


def test_hooks_of_a_store_run_only_if_its_definition_changes(app: Hooked) -> None:
    assert not [line for line in app.pushed({"again": "2"}, "again") if line.startswith("cache")]
    calls = app.pushed(tree(store="--maxmemory 10mb"), "another store")
    assert [line for line in calls if line.startswith("cache")] == ["cache pre_stop", "cache post_start"]


def test_a_hanging_pre_stop_hook_times_out_with_a_note(app: Hooked) -> None:
    app.pushed(tree(pre_stop="echo begun >>/data/log; sleep 600", store="--maxmemory 10mb"), "hangs")
    app.tree.commit(tree(store="--maxmemory 10mb"), "does not")
    done = app.push()
    assert done.ok, done.err
    assert "did not end within 30 s" in done.err
    calls = app.calls()
    assert calls.index("begun") < calls.index("web term")


def test_pre_stop_hooks_run_at_down_and_destroy(app: Hooked) -> None:
    app.ground.pushrod("down", "--app", "hooked")
    calls = app.calls()
    assert sorted(calls) == ["cache pre_stop", "web pre_stop", "web term", "worker pre_stop"]
    app.tree.commit({"again": "3"}, "again")
    assert app.push().ok
    app.calls()
    # The volume is removed with the app, so the last output goes to a place that stays.
    app.box.exec("mkdir", "-p", "/var/tmp/kept")
    app.box.exec("sh", "-c", f"tail -F {app.log} >/var/tmp/kept/log 2>/dev/null & echo")
    app.ground.pushrod("apps", "destroy", "hooked", "--yes")
    kept = app.box.get("/var/tmp/kept/log").decode().split("\n")
    assert {"web pre_stop", "web term", "worker pre_stop", "cache pre_stop"} <= set(kept)


def test_hooks_of_a_job_are_not_run_with_a_note(ground: Ground) -> None:
    file = """\
services:
  web:
    build: .
    ports: ["8000:8000"]
    command: python app.py web
    depends_on: {job: {condition: service_completed_successfully}}
  job: {build: ., command: "true", post_start: [{command: [echo, x]}]}
"""
    app = ground.app("jobs", {"app.py": APP, "Dockerfile": DOCKERFILE, "compose.yaml": file})
    pushed = app.push()
    assert pushed.ok, pushed.err
    assert "note     job: its `post_start` and `pre_stop` are not run" in pushed.err
