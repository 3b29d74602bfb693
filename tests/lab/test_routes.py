"""Routes on a Docker host: the edge sends requests to two services, serves files, checks passwords, caches
answers."""

import base64
import json
from typing import Any

import pytest

from devtools.apps import Done, complaint, eventually
from devtools.lab.box import Answer
from devtools.lab.ground import DOCKERFILE, ROOT, Ground, Shop, code

pytestmark = pytest.mark.lab

COMPOSE = """\
x-pushrod: {domains: [routed.localhost], keep: 2, nginx: docker/edge/*.conf}
services:
  proxy:
    image: nginx:latest
    ports: ["80:80"]
    depends_on: [web, api]
    volumes: ["./docker/edge:/etc/nginx/conf.d:ro"]
    x-pushrod: {role: edge}
  web:
    build: .
    environment: {NAME: web}
    x-pushrod:
      role: entry
      health: /healthz
      routes:
        /assets/: {files: ./dist}
        /app/: {files: ./dist, try: index.html}
        /old/: {redirect: /new/}
  api:
    build: .
    environment: {NAME: api}
    expose: ["8080"]
    deploy: {replicas: 2}
    x-pushrod:
      health: /healthz
      routes:
        /api/: {rate_limit: {rate: 1/min, burst: 20}}
        /kept/: {cache: 1h, strip_prefix: true}
        /admin/: {auth: {basic: ADMINS}, strip_prefix: true}
        /asked/: {auth: {service: web, path: /refuse}}
"""
# The part of the program that needs no stores, with the name of the answering service.
PROGRAM = code().replace("state,", 'lambda: os.environ["NAME"],')
ASSET = "index-BWgbA4nX.js"


def tree(asset: str = ASSET, more: str = "") -> dict[str, str]:
    """The files of the app, one of them with a content hash in its name."""
    return {
        "compose.yaml": COMPOSE + more,
        "Dockerfile": DOCKERFILE,
        "app.py": PROGRAM,
        "docker/edge/own.conf": "add_header X-From-The-Commit yes always;\n",
        "dist/index.html": "a page",
        f"dist/{asset}": "a script",
        "dist/.hidden": "hidden",
    }


@pytest.fixture(scope="module")
def shop(ground: Ground) -> Shop:
    """The app, pushed once, on its own host."""
    app = ground.app("routed", tree())
    lacking = complaint(app.push())
    assert lacking.what == "the secret ADMINS is not set"
    ground.box.ssh("secret", "set", "ADMINS", "--app", "routed", user="pushrod", stdin="ann:open sesame\n")
    app.tree.commit({}, "with its secret")
    pushed = app.push()
    assert pushed.ok, pushed.err
    return app


def ask(shop: Shop, path: str, user: str = "") -> Answer:
    """The edge's answer, optionally with a user and password."""
    headers = {"Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"} if user else {}
    return shop.box.get_page(path, shop.domain, headers=headers)


def answered(shop: Shop) -> dict[str, Any]:
    """The edge's answers to requests of each kind."""
    result: dict[str, Any] = {
        path: (a.status, a.body.decode().strip('"'))
        for path in ("/", "/api/", "/kept/", f"/assets/{ASSET}", "/app/no/such", "/assets/.hidden")
        for a in [ask(shop, path)]
    }
    result["/old/"] = (ask(shop, "/old/x").status, ask(shop, "/old/x").headers["location"])
    result["/admin/"] = [ask(shop, "/admin/", user).status for user in ("", "ann:sesame", "ann:open sesame")]
    result["/asked/"] = ask(shop, "/asked/").status
    return result


EXPECTED = {
    "/": (200, "web"),
    "/api/": (200, "api"),
    "/kept/": (200, "api"),
    f"/assets/{ASSET}": (200, "a script"),
    "/app/no/such": (200, "a page"),
    "/old/": (308, "/new/"),
    "/admin/": [401, 401, 200],
}


def check(shop: Shop) -> None:
    result = answered(shop)
    assert {path: result[path] for path in EXPECTED} == EXPECTED
    assert (result["/assets/.hidden"][0], result["/asked/"]) == (404, 500)


def test_each_request_reaches_the_target_of_its_route(shop: Shop) -> None:
    check(shop)
    assert ask(shop, "/").headers["x-from-the-commit"] == "yes"
    assert "immutable" in ask(shop, f"/assets/{ASSET}").headers["cache-control"]


def test_no_container_is_created_for_a_service_replaced_by_the_edge(shop: Shop) -> None:
    made = {f"routed-r{shop.live}-{name}" for name in ("web-1", "api-1", "api-2")}
    listed = shop.box.docker("ps", "--all", "--format={{.Names}}", "--filter=label=pushrod.app").split()
    assert set(listed) == made  # the app's builder, which is not part of it, may still exist
    assert not [name for name in shop.images() if "proxy" in name]
    assert {s["name"] for s in shop.release(shop.live)["services"]} == {"web", "api"}


def test_an_answer_is_cached_in_the_edges_directory(shop: Shop) -> None:
    statuses = [ask(shop, "/kept/?a").headers["x-cache-status"] for _ in range(2)]
    assert statuses == ["MISS", "HIT"]
    cache = f"{ROOT}/edge/run/cache-routed"
    owned = shop.box.exec("find", cache, "-type", "f", "-user", "pushrod").stdout.split()
    assert owned, shop.box.exec("ls", "-lR", cache).stdout


def test_requests_above_the_rate_get_429_with_retry_after(shop: Shop) -> None:
    answers = [ask(shop, "/api/") for _ in range(30)]
    assert {a.status for a in answers} == {200, 429}
    assert {a.headers["retry-after"] for a in answers if a.status == 429} == {"1"}
    shop.box.exec("systemctl", "restart", "pushrod-edge")  # resets its counters
    eventually(lambda: _status(shop) == 200, "the edge answers", 15)


def test_metrics_are_written_by_the_timer_and_served_on_loopback_only(shop: Shop) -> None:
    address = "http://127.0.0.1:9180/metrics"
    box, serving = shop.box, 'pushrod_instances_running{app="routed",service="api"} 2.0'
    assert box.exec("pushrod", "host", "metrics", "on").stdout == f"metrics are at {address}\n"

    def scraped() -> str:
        return box.exec("curl", "--silent", "--include", address, check=False).stdout

    eventually(lambda: serving in scraped(), "the metrics", 60)
    assert "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8" in scraped().lower()
    shop.get("/api/x")
    counted = 'pushrod_http_requests_total{app="routed",method="GET",route="/api/",status="'
    eventually(lambda: counted in scraped(), "the request, counted at the next run of the timer", 60)
    outside = box.exec("curl", "--silent", f"http://{box.address}:9180/metrics", check=False)
    assert outside.status == 7  # no connection
    assert box.exec("pushrod", "host", "metrics", "off").stdout
    assert not scraped()


def test_metrics_on_a_port_of_another_program_are_refused(shop: Shop) -> None:
    taken = ("python3", "-m", "http.server", "--bind=127.0.0.1", "9181")
    shop.box.exec("systemd-run", "--quiet", "--unit=taken", *taken)
    listening = ("curl", "--silent", "--output", "/dev/null", "http://127.0.0.1:9181")
    eventually(lambda: shop.box.exec(*listening, check=False).status == 0, "the other program")
    done = shop.box.exec("pushrod", "host", "metrics", "on", "--port", "9181", check=False)
    assert complaint(Done(*done)).what == "another program listens on port 9181 of 127.0.0.1"
    assert done.status == 10
    shop.box.exec("systemctl", "stop", "taken")


def test_routes_work_after_a_power_cut(shop: Shop) -> None:
    shop.box.power_cut()
    eventually(lambda: _status(shop) == 200, "the app answers", 90)
    check(shop)


def test_an_open_page_finds_its_scripts_after_the_next_release(shop: Shop) -> None:
    other = "index-C0ffee12.js"
    shop.tree.reset(shop.tree.head())
    shop.tree.git("rm", "--quiet", f"dist/{ASSET}")
    shop.tree.commit(tree(other), "another script")
    pushed = shop.push()
    assert pushed.ok, pushed.err
    assert [ask(shop, f"/assets/{name}").status for name in (ASSET, other)] == [200, 200]
    assert ask(shop, "/kept/?a").headers["x-cache-status"] == "MISS"
    shop.box.ssh("restart", "--app", "routed", user="pushrod")
    assert [ask(shop, f"/assets/{name}").status for name in (ASSET, other)] == [404, 200]


BARE = """\
  bare:
    build: {context: ., dockerfile: bare.Dockerfile}
    environment: {NAME: bare}
    x-pushrod: {routes: {/bare/: {}}}
"""


def test_a_route_to_a_service_without_a_port_is_refused(shop: Shop) -> None:
    good, before = shop.tree.head(), shop.footprint()
    bare = {"bare.Dockerfile": DOCKERFILE.replace("EXPOSE 8080\n", "")}
    shop.tree.commit(tree("index-C0ffee12.js", BARE) | bare, "a route to nowhere")
    try:
        refused = complaint(shop.push())
    finally:
        shop.tree.reset(good)
    assert refused.what == "the port of bare is unknown"
    assert refused.where == "services.bare"
    assert "expose" in refused.to_do
    assert shop.footprint() == before


def test_a_snippet_beyond_its_app_needs_the_owners_permission(
    shop: Shop,
) -> None:
    good, before = shop.tree.head(), shop.footprint()
    shop.tree.commit({"docker/edge/own.conf": "root /etc;\n"}, "somebody else's files")
    try:
        refused = complaint(shop.push())
    finally:
        shop.tree.reset(good)
    assert "pushrod apps allow routed nginx" in refused.to_do
    assert shop.footprint() == before


def test_a_destroyed_app_leaves_nothing_at_the_edge(shop: Shop) -> None:
    shop.ground.pushrod("apps", "destroy", "routed", "--yes")
    left = shop.box.exec("find", f"{ROOT}/edge", "-name", "*routed*").stdout.split()
    assert not [path for path in left if "/trees/" not in path], left
    assert json.loads(shop.box.get(f"{ROOT}/edge/current/sites.json")) == {}


def _status(shop: Shop) -> int:
    try:
        return ask(shop, "/").status
    except OSError:
        return 0
