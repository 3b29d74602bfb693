"""Health checks on the embedded engine: the Host header used, and the required answer."""

import time
from pathlib import Path
from typing import Any

import pytest

from devtools.apps import App, Machine, complaint, manifest
from tests.conftest import spread

PROGRAM = """\
import http.server, os, pathlib, time

TOLD = pathlib.Path(os.environ["TOLD"])


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status, _, names = TOLD.read_text().partition(" ")
        if status == "nothing" and self.path != "/api":
            time.sleep(60)
        named = not names or self.headers["Host"] in names.split() or self.path == "/api"
        self.send_response(400 if not named else 200 if self.path == "/api" else int(status))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
OWN: dict[str, Any] = {"x-pushrod": {"health": {"path": "/check", "deadline": "2s"}}}


@pytest.fixture(scope="module")
def answers(machine: Machine) -> Path:
    """The file that controls the app's answer: a status, and the only names it accepts."""
    return machine.directory / "answers"


def tree(answers: Path, domains: str = "", **changes: Any) -> dict[str, str]:
    top = f"x-pushrod: {{domains: [{domains}]}}\n" if domains else ""
    file = manifest(environment={"TOLD": str(answers)}, **{"x-pushrod": None, **changes})
    return {"app.py": PROGRAM, "compose.yaml": top + file}


@pytest.fixture(scope="module")
def app(machine: Machine, answers: Path) -> App:
    answers.write_text("200")
    return machine.app("check", tree(answers, **OWN))


@pytest.mark.parametrize(
    ("words", "well"),
    spread(
        [("200", True), ("302", True), ("401", False), ("404", False), ("500", False), ("nothing", False)], 3
    ),
)
def test_push_restart_and_deploy_agree_about_health(app: App, answers: Path, words: str, well: bool) -> None:
    answers.write_text(words)
    app.tree.commit({"words": words}, f"say {words}")
    pushed, raised = app.tree.push(), app.pushrod("restart", "--app", app.name)
    app.must("down", "--app", app.name)
    up = app.pushrod("deploy", "--app", app.name)
    assert [done.ok for done in (pushed, raised, up)] == [well] * 3, (pushed.err, raised.err, up.err)
    answers.write_text("200")
    app.must("deploy", "--app", app.name)


CHECK = {"test": ["CMD", "curl", "-f", "http://localhost:8000/check"], "interval": "1s", "retries": 2}
NAMED = {**CHECK, "test": "wget -qO- --header='Host: named.test' http://127.0.0.1:8000/check || exit 1"}
PATH = {"path": "/check", "deadline": "2s"}


@pytest.mark.parametrize(
    ("names", "domains", "changes", "why"),
    [
        ("localhost:8000", "", {"healthcheck": CHECK}, ""),
        ("localhost:8000", "shop.example.com", {"healthcheck": CHECK}, ""),
        ("named.test", "", {"healthcheck": NAMED}, ""),
        ("localhost", "", {"x-pushrod": {"health": PATH}}, ""),
        ("shop.example.com", "shop.example.com", {"x-pushrod": {"health": PATH}}, ""),
        ("other.test", "", {"x-pushrod": {"health": {**PATH, "host": "other.test"}}}, ""),
        ("other.test", "", {"healthcheck": CHECK, "x-pushrod": {"health": {"host": "other.test"}}}, ""),
        (
            "other.test",
            "shop.example.com",
            {"x-pushrod": {"health": PATH}},
            "answered 400 (Host: shop.example.com)",
        ),
        ("other.test", "", {"healthcheck": CHECK}, "answered 400 (Host: localhost:8000)"),
    ],
)
def test_an_app_that_answers_only_to_its_own_name_is_checked_by_it(
    app: App, answers: Path, names: str, domains: str, changes: dict[str, object], why: str
) -> None:
    answers.write_text(f"200 {names}")
    app.tree.commit(tree(answers, domains, **changes), "names")
    done = app.tree.push()
    assert done.ok is not bool(why), done.err
    if why:
        result = complaint(done)
        assert why in result.what
        assert "`x-pushrod.health.host`" in result.to_do
    else:
        assert "answers" not in done.err


@pytest.mark.parametrize("words", ["500", "404", "200 nobody.test"])
def test_without_a_check_an_error_at_the_root_is_noted(app: App, answers: Path, words: str) -> None:
    answers.write_text(words)
    app.tree.commit({**tree(answers), "words": words}, "no check")
    done = app.tree.push()
    assert done.ok, done.err
    status = "400" if " " in words else words
    assert f"note     web: answers {status} at /; this is not an error" in done.err
    assert app.get("/api").status == 200


def test_a_health_command_that_hangs_has_the_deadline_of_the_instance(app: App, answers: Path) -> None:
    answers.write_text("200")
    changes: dict[str, Any] = {"x-pushrod": {"health": {"deadline": "2s"}}}
    changes["healthcheck"] = {"test": ["CMD", "sleep", "61"], "interval": "1s"}
    app.tree.commit(tree(answers, **changes), "hangs")
    begun = time.monotonic()
    done = app.tree.push()
    assert "was not healthy within 2 s" in complaint(done).what
    assert "`sleep 61` did not end within 2 s" in complaint(done).what
    assert time.monotonic() - begun < 30


DIES = """\
import os, socket, sys, time

listening = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
time.sleep(2)  # a server whose workers still import the app
sys.exit("the workers have failed to boot")
"""


def test_an_instance_that_listens_before_it_fails_does_not_go_live(app: App, answers: Path) -> None:
    before = app.live
    app.tree.commit({**tree(answers), "app.py": DIES}, "dies")
    done = app.tree.push()
    assert "ended at boot" in complaint(done)
    assert "the workers have failed to boot" in done.err
    assert app.live == before


def test_a_curl_check_without_fail_accepts_any_status(app: App, answers: Path) -> None:
    answers.write_text("500")
    check = {**CHECK, "test": "curl -s http://localhost:8000/check || exit 1"}
    app.tree.commit(tree(answers, healthcheck=check), "any answer")
    done = app.tree.push()
    assert done.ok, done.err
