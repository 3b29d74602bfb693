"""Health of an instance: a deployment, a boot and the watchdog judge the same answer alike."""

import json

import pytest

from devtools.apps import eventually
from devtools.lab.ground import ROOT, Ground, Shop

pytestmark = [pytest.mark.lab, pytest.mark.long]

APP = """\
import http.server, pathlib, signal, sys, time

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        words = pathlib.Path("/answer/status").read_text().split() or ["200"]
        if words[0] == "nothing" and self.path == "/check":
            time.sleep(60)
        status = 200 if len(words) < 2 or words[1] == self.headers["Host"] else 400
        if self.path == "/check" and words[0].isdigit() and status == 200:
            status = int(words[0])
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *words):
        pass


http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""
# The image's own check always fails: the path must take precedence everywhere, or nothing here would be healthy.
DOCKERFILE = """\
FROM python:3.13-slim
COPY app.py .
EXPOSE 8000
RUN mkdir /answer && echo 200 >/answer/status
HEALTHCHECK --interval=1s --retries=1 CMD exit 1
CMD ["python", "app.py"]
"""
COMPOSE = """\
x-pushrod: {domains: [check.localhost]}
services:
  web:
    build: .
    ports: ["8000:8000"]
    volumes: ["answer:/answer"]
    x-pushrod: {health: {path: /check, deadline: 2s}}
volumes: {answer: }
"""
# Run with the copies below ROOT, as at boot and by the timer.
ASKS = f"""\
import json, sys
sys.path.insert(0, "{ROOT}/programs")
import bring_up, calls, container_health, health_rule, watch_checks
one = watch_checks.live(bring_up.App("{ROOT}", "check"))
boot = {{n: container_health.problem(c) for n, c in calls.inspect(list(one.names)).items()}}
seen = watch_checks.listed()
asked = {{n: seen[n].asked for n in one.names if seen[n].fine and seen[n].asked}}
looks = {{n: health_rule.problems([probe])[probe] for n, probe in asked.items()}}
print(json.dumps([[boot.get(n, "is gone"), looks.get(n, "is not asked")] for n in one.names]))
"""


@pytest.fixture(scope="module")
def shop(ground: Ground) -> Shop:
    """An app whose answer the test controls, pushed once."""
    app = ground.app("check", {"app.py": APP, "Dockerfile": DOCKERFILE, "compose.yaml": COMPOSE})
    pushed = app.push()
    assert pushed.ok, pushed.err
    return app


def tell(shop: Shop, words: str) -> None:
    shop.box.put("/var/lib/docker/volumes/check_answer/_data/status", words)


ANSWERS = [
    ("200", True),
    ("302", True),
    ("401", False),
    ("404", False),
    ("500", False),
    ("nothing", False),
    ("200 check.localhost", True),
    ("200 another.localhost", False),
]


@pytest.mark.parametrize(("words", "well"), ANSWERS)
def test_deployment_boot_and_watchdog_agree_about_health(shop: Shop, words: str, well: bool) -> None:
    tell(shop, words)
    boot, watch = json.loads(shop.box.exec("python3", "-I", "-S", "-c", ASKS).stdout)[0]
    before = shop.live
    deployed = shop.box.ssh("restart", "--app", "check", user="pushrod", check=False)
    healthy = {"boot": boot == "", "watch": watch == "", "deployment": deployed.status == 0}
    assert healthy == dict.fromkeys(healthy, well), (boot, watch, deployed.stderr)
    assert (shop.live > before) is well
    tell(shop, "200")


@pytest.mark.parametrize(("words", "opened"), [("302", True), ("404", False), ("200 check.localhost", True)])
def test_a_boot_opens_the_edge_only_for_healthy_apps(shop: Shop, words: str, opened: bool) -> None:
    tell(shop, words)
    mark = f"/run/pushrod/check/up-{shop.live}"
    shop.box.exec("systemctl", "stop", "pushrod-app@check")
    shop.box.exec("systemctl", "start", "--no-block", "pushrod-app@check")
    container = shop.container("web", shop.live)
    eventually(lambda: container in shop.running(), "it runs", 60)
    if opened:
        eventually(lambda: shop.get().status == 200, "it is let through", 30)
        return
    assert json.loads(shop.box.exec("python3", "-I", "-S", "-c", ASKS).stdout)[0][0]
    assert shop.get().status == 503
    assert shop.box.exec("test", "-e", mark, check=False).status == 1
    tell(shop, "200")
    eventually(lambda: shop.get().status == 200, "it is let through once it is well", 30)


ROOT_FAILS = """\
import http.server, sys
WRONG, NAMES = int(sys.argv[1]), sys.argv[2:]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        named = not NAMES or self.headers["Host"] in NAMES
        self.send_response((200 if self.path == "/api" else WRONG) if named else 400)
        self.end_headers()

    def log_message(self, *words):
        pass


http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""


@pytest.mark.parametrize(
    "wrong", [500, 404, pytest.param(503, marks=pytest.mark.long), pytest.param(401, marks=pytest.mark.long)]
)
def test_without_a_check_an_error_at_the_root_is_noted(ground: Ground, wrong: int) -> None:
    name = f"root{wrong}"
    file = f"services: {{web: {{build: ., ports: ['8000:8000'], command: python app.py {wrong}}}}}\n"
    tree = {
        "app.py": ROOT_FAILS,
        "Dockerfile": "FROM python:3.13-slim\nCOPY app.py .\n",
        "compose.yaml": f"x-pushrod: {{domains: [{name}.localhost]}}\n{file}",
    }
    app = ground.app(name, tree)
    pushed = app.push()
    assert pushed.ok, pushed.err
    assert f"web: answers {wrong} at /" in pushed.err
    assert app.get("/api").status == 200
    ground.box.exec("systemctl", "restart", f"pushrod-app@{name}")
    eventually(lambda: app.get("/api").status == 200, "it is let through", 30)


def test_an_entry_that_does_not_listen_is_refused(ground: Ground) -> None:
    tree = {
        "compose.yaml": "services: {web: {build: ., ports: ['8000:8000'], command: sleep 600,"
        " x-pushrod: {health: {deadline: 2s}}}}\n",
        "Dockerfile": "FROM python:3.13-slim\n",
    }
    pushed = ground.app("deaf", tree).push()
    assert not pushed.ok
    assert "nothing listens on its port (8000)" in pushed.err
