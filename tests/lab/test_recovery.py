"""What a host comes back from, and how long that takes: reboots, power cuts, and everything on it being killed."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.integration.apps import eventually
from tests.lab import images
from tests.lab.box import PUSHROD, Box
from tests.lab.ground import Ground, Shop
from tests.lab.witness import Witness
from tests.load import Load

pytestmark = pytest.mark.lab

# Seconds within which an app serves again. They are bounds, far above what is printed.
BOOT = 90.0
WATCHED = 120.0  # the watch looks every 10 s; what is silent must be seen so three times
AT_ONCE = 15.0


class Hosted(NamedTuple):
    """A host with two apps, which differ in nothing but their names."""

    ground: Ground
    shop: Shop
    blog: Shop

    @property
    def box(self) -> Box:
        return self.ground.box


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Iterator[Hosted]:
    """The host, its apps pushed once."""
    if problem := images.box_problem():
        pytest.skip(f"{problem}; this prepares it, as root: make lab")
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
    """The host, started, both apps serving. Beside a failure stands what the host has to say."""
    made.box.power_on()
    for app in (made.shop, made.blog):
        app.back(app.journal_live, "before the test", BOOT)
    try:
        yield made
    finally:
        print(made.box.journal(120, "--unit=pushrod*"))


def settled(app: Shop) -> None:
    """Journal, pointer and what serves agree; nothing else of the app runs or lies about."""
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
    """What the watch has written down about a container."""
    lines = app.box.exec("cat", f"{app.directory}/watch.log", check=False).stdout.splitlines()
    return [line for line in lines if json.loads(line)["container"] == container]


@contextlib.contextmanager
def watched(
    hosted: Hosted, broken: dict[str, Shop], what: str, did: str
) -> Iterator[dict[str, dict[str, str]]]:
    """Break containers, each of another app, in the block; then wait until the watch has mended and recorded each,
    and the apps serve. Gives what it has recorded."""
    seen = {name: len(record(app, name)) for name, app in broken.items()}
    told: dict[str, dict[str, str]] = {}
    with Witness(*broken.values()) as witness:
        eventually(lambda: all(len(rows) > 5 for rows in witness.promised.values()), "rows are stored")
        yield told
        for name, app in broken.items():
            eventually(lambda n=name, a=app: len(record(a, n)) > seen[n], f"{name} is mended", WATCHED)
            app.back(app.live, f"after {what} of {name}", AT_ONCE)
    for name, app in broken.items():
        print(f"{what} of {name}: no answer for {witness.silence(app):.1f} s")
        told[name] = json.loads(record(app, name)[-1])
        assert did in told[name]["did"]
    witness.check()


def pid(app: Shop, container: str) -> str:
    return app.box.docker("inspect", "--format={{.State.Pid}}", container)


# ---- the machine ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", [Box.reboot, Box.power_cut])
def test_both_apps_come_back_each_under_its_name(hosted: Hosted, ends: Callable[[Box], None]) -> None:
    apps = (hosted.shop, hosted.blog)
    hosted.shop.push_version(f"before a {ends.__name__}")
    before = {app.name: app.journal_live for app in apps}
    with Witness(*apps) as witness:
        eventually(lambda: all(len(rows) > 5 for rows in witness.promised.values()), "rows are stored")
        ends(hosted.box)
        for app in apps:
            app.back(before[app.name], f"after a {ends.__name__}", BOOT)
    for app in apps:
        print(
            f"{app.name}: a {ends.__name__}, from the last answer to the next: {witness.silence(app):.1f} s"
        )
        assert {h.release for h in witness.heard if h.asked == app.name} == {before[app.name]}
        settled(app)
        stores = [app.inspect(name)["State"]["StartedAt"] for name in ("postgres", "redis")]
        assert max(stores) < app.inspect("web", before[app.name])["State"]["StartedAt"]
    witness.check()


MOMENTS = {"build": r"COPY app\.py", "start": r"^ *start ", "ready": r"^ *ready ", "live": r"^ *live "}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_power_cut_in_the_middle_of_a_push(hosted: Hosted, moment: str) -> None:
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


# ---- Docker -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [("restart", "docker"), ("kill", "--signal=KILL", "docker")])
def test_apps_do_not_notice_what_happens_to_dockerd(hosted: Hosted, argv: tuple[str, ...]) -> None:
    box = hosted.box
    box.exec(
        "systemctl", "reset-failed", "docker"
    )  # its unit allows three starts a minute, which tests use up
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


def test_an_instance_whose_process_is_killed(hosted: Hosted) -> None:
    shop = hosted.shop
    with Witness(shop) as witness:
        eventually(lambda: len(witness.promised["shop"]) > 5, "rows are stored")
        hosted.box.exec("kill", "-KILL", pid(shop, shop.container("web", shop.live)))
        shop.back(shop.live, "after kill -9 of its process", AT_ONCE)
    print(f"kill -9 of an instance's process: no answer for {witness.silence(shop):.1f} s")
    witness.check()


def test_a_container_that_is_killed_is_started_by_the_watch(hosted: Hosted) -> None:
    """`docker kill` counts as a person's wish: Docker leaves such a container alone."""
    shop, blog = hosted.shop, hosted.blog
    web, store = shop.container("web", shop.live), blog.container("redis")
    with watched(hosted, {web: shop, store: blog}, "docker kill", "started in") as told:
        hosted.box.docker("kill", web)
        hosted.box.docker("kill", store)
    journal = hosted.box.journal(40, "--unit=pushrod-watch")
    for name in (web, store):
        assert told[name]["why"] == "is exited (status 137)"
        assert f"{name} is exited (status 137): {told[name]['did']}" in journal


def test_what_is_frozen_is_restarted_by_the_watch(hosted: Hosted) -> None:
    """An instance without a health check of its own, and a PostgreSQL, each with all its processes."""
    shop, blog = hosted.shop, hosted.blog
    web, store = shop.container("web", shop.live), blog.container("postgres")
    with watched(hosted, {web: shop, store: blog}, "SIGSTOP", "restarted in") as told:
        for container in (web, store):
            pids = hosted.box.docker("top", container, "-eo", "pid").split()[1:]
            hosted.box.exec("kill", "-STOP", *pids)
    assert "does not answer at" in told[web]["why"]
    assert told[store]["why"] == "is unhealthy"


# ---- without pushrod --------------------------------------------------------------------------------------------


def test_without_pushrod_it_serves_reboots_and_is_watched(hosted: Hosted) -> None:
    box, apps = hosted.box, (hosted.shop, hosted.blog)
    gone = ("/usr/local/bin/pushrod", "/root/gone-link"), (PUSHROD, "/root/gone")
    try:
        for here, there in gone:
            box.exec("mv", here, there)
        box.reboot()
        for app in apps:
            app.back(app.live, "after a reboot without pushrod", BOOT)
        box.docker("kill", hosted.shop.container("web", hosted.shop.live))
        hosted.shop.back(hosted.shop.live, "after docker kill, without pushrod", WATCHED)
        assert box.units("--failed", "--no-legend", "pushrod*") == ""
    finally:
        for here, there in gone:
            box.exec("mv", there, here)
    hosted.shop.push_version("with pushrod again")
