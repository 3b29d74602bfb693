"""`pushrod maintenance`: the edge answers instead of the app, instances keep running, no request is dropped."""

import collections
import http.client
import json
import threading
from collections.abc import Callable

import pytest

from devtools import apps
from devtools.apps import App, Machine, eventually
from pushrod.system import processes
from tests.integration.edges import Answer, ask
from tests.integration.test_upkeep import power_cut

pytestmark = pytest.mark.integration

ALLOWED = {"X_Forwarded_For": "203.0.113.9"}


@pytest.fixture(scope="module")
def shop(machine: Machine) -> App:
    return machine.app("shop")


@pytest.fixture(autouse=True)
def opened(shop: App) -> None:
    """Each test begins with an app that is open."""
    shop.must("maintenance", "off")


def asked(app: App, path: str = "/", **headers: str) -> Answer:
    return ask(app.settings["port"], path, Connection="close", **headers)


def process(app: App) -> int:
    """The process id of the app's instance, asked from an address that maintenance admits."""
    result: int = json.loads(asked(app, "/process", **ALLOWED).body)["pid"]
    return result


def test_an_app_is_closed_and_opened_without_restarting_instances(shop: App) -> None:
    release, pid = shop.live, process(shop)
    output = shop.must("maintenance", "on", "--allow", "203.0.113.0/24", "--retry-after", "60")
    summary = "closed for maintenance; 203.0.113.0/24 may pass; others are asked to retry after 60 s"
    assert output == f"shop is {summary}\n"
    answer = asked(shop)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "60")
    assert answer.body.startswith("503: shop is closed for maintenance.")
    assert process(shop) == pid
    assert f"\n  {summary}\n" in shop.must("status")
    (status,) = shop.json("status")
    assert status["maintenance"] == {"allow": ["203.0.113.0/24"], "retry_after": 60}
    assert status["condition"] == "live"
    assert shop.must("maintenance", "off") == "shop is open\n"
    assert asked(shop).status == 200
    assert shop.json("status")[0]["maintenance"] is None
    assert (process(shop), shop.live) == (pid, release)


def test_maintenance_is_idempotent_and_the_last_call_counts(shop: App) -> None:
    shop.must("maintenance", "on", "--allow", "203.0.113.9", "--allow", "2001:db8::/32")
    assert asked(shop, **ALLOWED).status == 200
    assert shop.json("status")[0]["maintenance"]["allow"] == ["203.0.113.9/32", "2001:db8::/32"]
    shop.must("maintenance", "on")
    assert (asked(shop, **ALLOWED).status, asked(shop).headers["Retry-After"]) == (503, "300")
    shop.must("maintenance", "on")
    for _ in range(2):
        assert shop.must("maintenance", "off") == "shop is open\n"
    assert asked(shop).status == 200


def test_maintenance_survives_deployments_rollbacks_and_a_power_cut(shop: App) -> None:
    shop.must("maintenance", "on", "--allow", "203.0.113.0/24")
    before = shop.live
    shop.tree.commit({"app.py": apps.changed("behind")})
    pushed = shop.tree.push()
    assert pushed.ok, pushed.err
    shop.good = shop.tree.head()
    assert "closed for maintenance: `pushrod maintenance off` opens it" in pushed.err
    assert (asked(shop).status, asked(shop, **ALLOWED).body) == (503, "behind")
    assert "closed for maintenance" in shop.pushrod("rollback").err
    assert (asked(shop).status, asked(shop).headers["X-Pushrod-Release"]) == (503, str(before))
    power_cut(shop.machine)
    processes.run([shop.machine.root / "supervisor" / "start"], cwd=shop.machine.root)
    eventually(lambda: asked(shop).status == 503, "nginx is there again, and the app is closed")
    eventually(lambda: asked(shop, **ALLOWED).status == 200, "the app is there again")
    shop.must("down")
    assert shop.must("maintenance", "off") == "shop is open; it is down now: `pushrod up` starts it\n"
    shop.must("maintenance", "on")
    shop.must("up")
    assert asked(shop).status == 503
    shop.must("maintenance", "off")
    shop.must("deploy")
    assert shop.get().body == "behind"


def test_an_app_can_be_closed_before_its_first_release(machine: Machine) -> None:
    app = machine.app("young", push=False)
    app.must("maintenance", "on")
    assert app.tree.push().ok
    assert asked(app).status == 503
    app.must("maintenance", "off")
    assert asked(app).status == 200


def test_no_request_is_dropped_while_closing_or_opening(shop: App) -> None:
    """Continuous answers that take 0.4 s, on new connections; whatever was begun is finished."""
    over, failed = threading.Event(), list[str]()
    seen: collections.Counter[int] = collections.Counter()

    def client() -> None:
        while not over.is_set():
            try:
                answer = asked(shop, "/slow")
            except (OSError, http.client.HTTPException) as e:
                failed.append(repr(e))
                continue
            seen[answer.status] += 1

    def above(status: int, count: int) -> Callable[[], bool]:
        return lambda: seen[status] > count

    clients = [threading.Thread(target=client, daemon=True) for _ in range(4)]
    for thread in clients:
        thread.start()
    for _ in range(3):
        eventually(above(200, seen[200]), "requests reach the app")
        shop.must("maintenance", "on")
        titles = [" ".join(p.cmdline()) for p in shop.machine.processes()]
        assert not [t for t in titles if "is shutting down" in t], "no request is with the app any more"
        eventually(above(503, seen[503] + 8), "requests meet the page")
        shop.must("maintenance", "off")
    over.set()
    for thread in clients:
        thread.join(15)
    assert failed == []
    assert set(seen) == {200, 503}


@pytest.mark.parametrize(
    "words", [("--allow", "203.0.113.9/24"), ("--allow", "everyone"), ("--retry-after", "0")]
)
def test_a_wrong_call_changes_nothing(shop: App, words: tuple[str, ...]) -> None:
    done = shop.pushrod("maintenance", "on", *words)
    assert done.status == 2
    assert words[1] in done.err
    assert asked(shop).status == 200


def test_an_edge_that_cannot_be_switched_leaves_the_app_open(shop: App) -> None:
    sites = shop.machine.root / "edge" / "current" / "sites.json"
    text = sites.read_text()
    sites.write_text("{")
    try:
        done = shop.pushrod("maintenance", "on")
    finally:
        sites.write_text(text)
    assert done.status == 11
    assert "sites cannot be read" in apps.complaint(done).what
    assert shop.json("status")[0]["maintenance"] is None
    assert asked(shop).status == 200
