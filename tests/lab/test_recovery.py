"""What a host recovers from, and how long that takes: reboots, power cuts, and every process on it being killed."""

import contextlib
import functools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from devtools.apps import eventually
from devtools.lab import images
from devtools.lab.box import PUSHROD, Box
from devtools.lab.ground import COMPOSE, ROOT, Ground, Shop, unwatched
from devtools.lab.witness import Listener, Witness
from devtools.load import Load
from tests.conftest import needs_lab, spread

pytestmark = pytest.mark.lab

# Seconds within which an app must serve again: limits, far above the printed durations.
BOOT = 90.0
WATCHED = 120.0  # the watchdog looks every 10 s, and acts when a container was silent three times
AT_ONCE = 15.0


class Hosted(NamedTuple):
    """A host with two apps, which differ only in their names."""

    ground: Ground
    shop: Shop
    blog: Shop

    @property
    def box(self) -> Box:
        return self.ground.box


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Iterator[Hosted]:
    """The host, with its apps pushed once."""
    needs_lab(images.box_problem())
    box = Box()
    ground = Ground(box, tmp_path_factory.mktemp("desk"))
    try:
        box.create(ports=[ground.published]).install(wheel)
        box.exec(f"{PUSHROD}/bin/pushrod", "host", "init")
        ground.add_key()
        apps = [ground.app(name) for name in ("shop", "blog")]
        for app in apps:
            pushed = app.push()
            assert pushed.ok, pushed.err
        yield Hosted(ground, *apps)
    finally:
        box.remove()


@pytest.fixture
def hosted(made: Hosted) -> Iterator[Hosted]:
    """The host, started, both apps serving. A failure shows the host's journal."""
    made.box.power_on()
    for app in (made.shop, made.blog):
        app.back(app.journal_live, "before the test", BOOT)
    try:
        yield made
    finally:
        print(made.box.journal(120, "--unit=pushrod*"))


def settled(app: Shop) -> None:
    """Assert that journal, pointer and what serves agree, and that nothing else of the app runs or is left over."""
    live = app.journal_live
    assert app.live == live
    assert app.serves(live)
    assert set(app.running()) == {app.container(s) for s in ("postgres", "redis")} | {
        app.container("web", live)
    }
    assert app.names("state/releases") == app.names("checkouts")
    assert {name.removesuffix(".json") for name in app.names("secrets/releases")} == set(
        app.names("checkouts")
    )


def record(app: Shop, container: str) -> list[str]:
    """What the watchdog has recorded about a container."""
    lines = app.box.exec("cat", f"{app.directory}/watch.log", check=False).stdout.splitlines()
    return [line for line in lines if json.loads(line)["container"] == container]


@contextlib.contextmanager
def without_pushrod(box: Box) -> Iterator[None]:
    """Remove the package during the block."""
    gone = ("/usr/local/bin/pushrod", "/root/gone-link"), (PUSHROD, "/root/gone")
    for here, there in gone:
        box.exec("mv", here, there)
    try:
        yield
    finally:
        for here, there in gone:
            box.exec("mv", there, here)


@contextlib.contextmanager
def watched(
    hosted: Hosted, broken: dict[str, Shop], what: str, did: str
) -> Iterator[dict[str, dict[str, str]]]:
    """Break containers, each of another app, in the block; then wait until the watchdog has restarted and recorded
    each, and the apps serve. Yields the records."""
    seen = {name: len(record(app, name)) for name, app in broken.items()}
    events: dict[str, dict[str, str]] = {}
    with Witness(*broken.values()) as witness:
        eventually(lambda: all(len(rows) > 5 for rows in witness.promised.values()), "rows are stored")
        yield events
        for name, app in broken.items():
            grown = functools.partial(lambda of, name: len(record(of, name)) > seen[name], app, name)
            eventually(grown, f"{name} is mended", WATCHED)
            app.back(app.live, f"after {what} of {name}", AT_ONCE)
    for name, app in broken.items():
        print(f"{what} of {name}: no answer for {witness.silence(app):.1f} s")
        events[name] = json.loads(record(app, name)[-1])
        assert did in events[name]["did"]
    witness.check()


def pid(app: Shop, container: str) -> str:
    return app.box.docker("inspect", "--format={{.State.Pid}}", container)


# ---- the machine ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", spread([Box.reboot, Box.power_cut], 1))
def test_both_apps_restart_with_their_names(hosted: Hosted, ends: Callable[[Box], None]) -> None:
    apps = (hosted.shop, hosted.blog)
    hosted.shop.push_version(f"before a {ends.__name__}")
    before = {app.name: app.journal_live for app in apps}
    addresses = {app.name: app.addresses() for app in apps}
    with Witness(*apps) as witness:
        eventually(lambda: all(len(rows) > 5 for rows in witness.promised.values()), "rows are stored")
        ends(hosted.box)
        for app in apps:
            app.back(before[app.name], f"after a {ends.__name__}", BOOT)
    for app in apps:
        print(
            f"{app.name}: a {ends.__name__}, from the last answer to the next: {witness.silence(app):.1f} s"
        )
        assert {h.release for h in witness.answers if h.app == app.name} == {before[app.name]}
        settled(app)
        assert _without_own(app.addresses(), app) == _without_own(addresses[app.name], app)
        stores = [app.inspect(name)["State"]["StartedAt"] for name in ("postgres", "redis")]
        assert max(stores) < app.inspect("web", before[app.name])["State"]["StartedAt"]
    witness.check()


def _without_own(addresses: dict[str, dict[str, str]], app: Shop) -> dict[str, dict[str, str]]:
    """The addresses without those of the stores' own network, through which nothing reaches them."""
    return {
        name: {network: at for network, at in result.items() if network != app.name}
        for name, result in addresses.items()
    }


MOMENTS = {"build": r"COPY app\.py", "start": r"^ *start ", "ready": r"^ *ready ", "live": r"^ *live "}


@pytest.mark.parametrize("moment", spread(MOMENTS, 1))
def test_a_power_cut_during_a_push_is_recovered(hosted: Hosted, moment: str) -> None:
    shop, blog = hosted.shop, hosted.blog
    before, others = shop.journal_live, blog.journal_live
    shop.tree.commit({"app.py": f"{shop.code()}\n# cut at {moment}\n"}, f"cut at {moment}")
    with Witness(shop, blog) as witness:
        eventually(lambda: all(len(rows) > 5 for rows in witness.promised.values()), "rows are stored")
        push = shop.pushing()
        push.until(MOMENTS[moment])
        hosted.box.power_off()
        push.end()
        hosted.box.power_on()
        live = shop.journal_live
        shop.back(live, f"after a power cut at {moment}", BOOT)
        blog.back(others, f"after a power cut at {moment}", BOOT)
    print(
        f"a power cut at {moment}: no answer for {witness.silence(shop):.1f} s, {witness.silence(blog):.1f} s"
    )
    assert live == (before + 1 if moment == "live" else before)
    witness.check()
    eventually(
        lambda: shop.journal()[-1]["event"] in ("done", "failed"), "the push is finished or undone", 30
    )
    settled(shop)
    settled(blog)
    done = shop.push()
    assert done.ok, done.err
    settled(shop)


# ---- the edge waits ---------------------------------------------------------------------------------------------

COLD = {"compose.yaml": COMPOSE.replace("DOMAIN", "shop.localhost").replace('TROUBLE: ""', "TROUBLE: cold")}


@pytest.fixture(scope="module")
def cold(made: Hosted) -> Shop:
    """The shop in a version that at first answers 500. Its next version does not."""
    made.box.power_on()
    made.shop.back(made.shop.journal_live, "before the test", BOOT)
    with Listener(made.shop) as listener:
        made.shop.push_version("cold", COLD)
    assert set(listener.statuses) == {200}, listener.statuses
    return made.shop


def _unit(box: Box) -> None:
    box.exec("systemctl", "restart", "pushrod-app@shop")


def _target(box: Box) -> None:
    """Restart the target, which includes the watchdog and the edge."""
    box.exec("systemctl", "stop", "pushrod.target")
    try:
        eventually(lambda: box.docker("ps", "--quiet") == "", "nothing runs", 60)
    finally:
        box.exec("systemctl", "start", "pushrod.target")


def _without_pushrod(box: Box) -> None:
    with without_pushrod(box):
        box.reboot()


@pytest.mark.parametrize("ends", spread([Box.reboot, Box.power_cut, _unit, _target, _without_pushrod], 2))
def test_the_edge_waits_until_instances_have_proved_healthy(
    hosted: Hosted, cold: Shop, ends: Callable[[Box], None]
) -> None:
    """Until then it answers 503 itself; the app's own answer would be 500, that of a lost connection 502."""
    with Listener(cold) as listener:
        eventually(lambda: 200 in listener.statuses, "the listener is answered")
        ends(hosted.box)
        cold.back(cold.journal_live, f"after {ends.__name__}, cold", BOOT)
    print(f"{ends.__name__}: {listener.statuses}")
    starting = [answer for answer in listener.answers if "is starting" in answer.body]
    assert starting, listener.statuses
    assert {(answer.status, answer.retry_after) for answer in starting} == {(503, "1")}
    others = {
        answer for answer in listener.answers if answer not in starting and answer.status not in (0, 200)
    }
    assert not others, others


def test_an_app_taken_down_is_not_served_until_deployed_again(hosted: Hosted, cold: Shop) -> None:
    with Listener(cold) as listener:
        hosted.ground.pushrod("down", "--app", "shop")
        eventually(lambda: 404 in listener.statuses, "the edge no longer answers for it")
        cold.push_version("cold", COLD | {"again": ""})
    assert set(listener.statuses) == {200, 404}, listener.statuses


@pytest.mark.long
def test_a_rollback_to_a_slow_starting_release_fails_no_request(hosted: Hosted, cold: Shop) -> None:
    live = cold.live
    with Listener(cold) as listener:
        cold.push_version("between")
        cold.ssh("rollback")
        cold.back(live, "after the rollback", AT_ONCE)
    assert set(listener.statuses) == {200}, listener.statuses


@pytest.mark.long
def test_a_failed_first_deployment_receives_no_request(hosted: Hosted) -> None:
    """Without a release there is nothing to wait for: the edge does not know the name until one is live."""
    green = hosted.ground.app("green")
    slow = {"compose.yaml": COLD["compose.yaml"].replace("shop.", "green.")}
    with Listener(green) as listener:
        green.tree.commit({"compose.yaml": slow["compose.yaml"].replace("20s", "2s")}, "too cold")
        assert "web-1 is not healthy: after 2 s" in green.push().err
        assert set(listener.statuses) == {404}
        green.push_version("cold", slow)
    hosted.ground.pushrod("apps", "destroy", "green", "--yes")
    assert set(listener.statuses) == {404, 200}, listener.statuses


def test_the_watchdog_opens_the_edge_for_an_app_slower_than_its_unit(hosted: Hosted) -> None:
    shop = hosted.shop
    mark = f"/run/pushrod/shop/up-{shop.live}"
    with unwatched(hosted.box):
        hosted.box.exec("rm", mark)  # as if the unit had given up before the app was healthy
        assert (shop.get().status, shop.get().headers["retry-after"]) == (503, "1")
    shop.back(shop.live, "after its unit gave up", WATCHED)
    hosted.box.exec("test", "-e", mark)


def test_an_app_whose_unit_is_stopped_stays_stopped(hosted: Hosted) -> None:
    """The watchdog looks every 10 s."""
    box, shop = hosted.box, hosted.shop
    look = ("systemctl", "show", "--value", "--property=ExecMainExitTimestampMonotonic", "pushrod-watch")
    box.exec("systemctl", "stop", "pushrod-app@shop")
    seen = {box.exec(*look).stdout}

    def looked() -> bool:
        seen.add(box.exec(*look).stdout)
        return len(seen) > 2

    try:
        eventually(looked, "the watch has looked twice", 90)
        assert shop.running() == [""]
        assert (shop.get().status, "is starting" in shop.get().body.decode()) == (503, True)
        assert hosted.blog.serves(hosted.blog.live)
    finally:
        box.exec("systemctl", "start", "pushrod-app@shop")
    shop.back(shop.live, "after its unit was started", AT_ONCE)


@pytest.mark.long
def test_an_app_deployed_by_an_older_version_keeps_serving(hosted: Hosted) -> None:
    """Its site names no ready marker, and none exists. The next change of the site names one, made by the
    watchdog."""
    box, shop = hosted.box, hosted.shop
    tree = box.exec("readlink", "-f", f"{ROOT}/edge/current").stdout.strip()
    sites = json.loads(box.get(f"{tree}/sites.json"))
    for site in sites.values():
        del site["present"]
    with unwatched(box):
        box.exec("sh", "-c", "rm /run/pushrod/*/up-*")
        assert shop.get().status == 503
        box.put(f"{tree}/sites.json", json.dumps(sites))
        box.exec("sed", "--in-place", "/if (!-f/,/}/d", f"{tree}/sites/shop.conf", f"{tree}/sites/blog.conf")
        box.exec("systemctl", "reload", "pushrod-edge")
        shop.back(shop.live, "without a mark", AT_ONCE)
    marks = ("sh", "-c", "ls /run/pushrod/shop/up-* /run/pushrod/blog/up-*")
    eventually(lambda: box.exec(*marks, check=False).status == 0, "the watch has looked", WATCHED)
    with Listener(shop) as listener:
        hosted.blog.push_version("of the newer pushrod")
        assert shop.push().ok  # of the live commit
        assert shop.deploy_there().status == 0
        assert "present" in json.loads(box.get(f"{ROOT}/edge/current/sites.json"))["shop"]
    assert set(listener.statuses) == {200}, listener.statuses
    box.reboot()
    for app in (shop, hosted.blog):
        app.back(app.live, "after a reboot", BOOT)


# ---- Docker -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv", [("restart", "docker"), pytest.param(("kill", "--signal=KILL", "docker"), marks=pytest.mark.long)]
)
def test_apps_are_not_affected_by_a_restart_of_dockerd(hosted: Hosted, argv: tuple[str, ...]) -> None:
    box = hosted.box
    box.exec(
        "systemctl", "reset-failed", "docker"
    )  # its unit allows three starts a minute, which the tests exceed
    before = box.exec("systemctl", "show", "--value", "--property=MainPID", "docker").stdout
    with Load(hosted.shop.url, hosted.blog.url, rate=100, seconds=60) as load:
        began = time.monotonic()
        box.exec("systemctl", *argv)

        def back() -> bool:
            now = box.exec("systemctl", "show", "--value", "--property=MainPID", "docker").stdout
            return now not in ("0\n", before) and box.exec("docker", "info", check=False).status == 0

        eventually(back, "dockerd answers", 60)
        print(f"systemctl {' '.join(argv)}: dockerd answers after {time.monotonic() - began:.1f} s")
    print(load.report.table())
    assert load.report.total.failed == 0, load.report.table()
    hosted.shop.push_version(f"after {argv[0]}")
    settled(hosted.shop)


# ---- containers -------------------------------------------------------------------------------------------------


def test_an_instance_whose_process_is_killed_restarts(hosted: Hosted) -> None:
    shop = hosted.shop
    with Witness(shop) as witness:
        eventually(lambda: len(witness.promised["shop"]) > 5, "rows are stored")
        hosted.box.exec("kill", "-KILL", pid(shop, shop.container("web", shop.live)))
        shop.back(shop.live, "after kill -9 of its process", AT_ONCE)
    print(f"kill -9 of an instance's process: no answer for {witness.silence(shop):.1f} s")
    witness.check()


def test_the_watchdog_starts_a_killed_container(hosted: Hosted) -> None:
    """`docker kill` counts as a user's intent: Docker does not restart such a container."""
    shop, blog = hosted.shop, hosted.blog
    web, store = shop.container("web", shop.live), blog.container("redis")
    with watched(hosted, {web: shop, store: blog}, "docker kill", "started in") as events:
        hosted.box.docker("kill", web)
        hosted.box.docker("kill", store)
    journal = hosted.box.journal(40, "--unit=pushrod-watch")
    for name in (web, store):
        assert events[name]["why"] == "is exited (status 137)"
        assert f"{name} is exited (status 137): {events[name]['did']}" in journal


@pytest.mark.long
def test_the_watchdog_restarts_a_frozen_container(hosted: Hosted) -> None:
    """An instance without a health check, and a PostgreSQL, each with all its processes."""
    shop, blog = hosted.shop, hosted.blog
    web, store = shop.container("web", shop.live), blog.container("postgres")
    # One that was never healthy may use the whole start period of its check, as after a power cut.
    eventually(
        lambda: blog.inspect("postgres")["State"]["Health"]["Status"] == "healthy", "it is healthy", 60
    )
    with watched(hosted, {web: shop, store: blog}, "SIGSTOP", "restarted in") as events:
        for container in (web, store):
            # By namespace: `docker top` reads a devices cgroup, which systemd may empty with cgroup v1.
            hosted.box.exec("pkill", "-STOP", "--ns", pid(hosted.shop, container), "--nslist", "pid")
    assert "does not answer at" in events[web]["why"]
    assert events[store]["why"] == "is unhealthy"


# ---- without pushrod --------------------------------------------------------------------------------------------


def test_a_host_without_pushrod_serves_reboots_and_is_watched(hosted: Hosted) -> None:
    box, apps = hosted.box, (hosted.shop, hosted.blog)
    with without_pushrod(box):
        box.reboot()
        for app in apps:
            app.back(app.live, "after a reboot without pushrod", BOOT)
        box.docker("kill", hosted.shop.container("web", hosted.shop.live))
        hosted.shop.back(hosted.shop.live, "after docker kill, without pushrod", WATCHED)
        assert box.units("--failed", "--no-legend", "pushrod*") == ""
    hosted.shop.push_version("with pushrod again")
