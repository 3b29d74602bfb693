"""From a bare server to an app on it, over SSH: pushes that go live, and pushes that are refused."""

import contextlib
import json
import re
import shutil
import time
from collections.abc import Iterator

import pytest

from devtools.apps import complaint, eventually
from devtools.lab import images
from devtools.lab.box import Box
from devtools.lab.ground import COMPOSE, DOCKERFILE, ROOT, Ground, Shop, code
from devtools.load import Load
from tests.conftest import needs_lab, spread

pytestmark = pytest.mark.lab

RATE = 200  # requests a second, half on kept connections, half on new ones
ROLLBACK = 5.0  # seconds


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A bare server that `pushrod host init` has made a host, with another user's image in use."""
    needs_lab(images.box_problem())
    box = Box()
    made = Ground(box, tmp_path_factory.mktemp("desk"))
    try:
        box.create(images.BARE, ports=[made.published])
        assert box.exec("sh", "-c", "command -v docker || command -v git", check=False).status != 0
        began = time.monotonic()
        made.init()
        print(f"bare server → host: {time.monotonic() - began:.1f} s")
        yield made
        print(box.journal())
    finally:
        box.remove()


@pytest.fixture(scope="module")
def others(ground: Ground) -> str:
    """An image and a container made by hand; returns what Docker reports of them."""
    ground.box.docker("tag", "python:3.13-slim", "shop/web:mine")
    ground.box.docker("run", "--detach", "--init", "--name=shop-r1-mine", "shop/web:mine", "sleep", "3600")
    return _others(ground)


def _others(ground: Ground) -> str:
    container = ground.box.docker(
        "inspect", "--format={{.Id}} {{.State.StartedAt}} {{.State.Running}}", "shop-r1-mine"
    )
    return f"{container} {ground.box.docker('image', 'inspect', '--format={{.Id}}', 'shop/web:mine')}"


@pytest.fixture(scope="module")
def blog(ground: Ground, others: str) -> Shop:
    """A second app with the same service names, pushed once."""
    app = ground.app("blog")
    pushed = app.push()
    assert pushed.ok, pushed.err
    return app


@pytest.fixture(scope="module")
def shop(ground: Ground, blog: Shop) -> Shop:
    """The app of these tests, pushed once."""
    app = ground.app("shop")
    began = time.monotonic()
    pushed = app.push()
    assert pushed.ok, pushed.err
    print(f"first push: {time.monotonic() - began:.1f} s")
    return app


# ---- pushes that go live ----------------------------------------------------------------------------------------


def test_a_push_to_a_new_host_serves_with_its_stores(shop: Shop, blog: Shop) -> None:
    first = shop.state()
    assert (first["app"], first["version"], first["release"]) == ("shop", "one", 1)
    rows = first["rows"]
    shop.post("a row")
    then = shop.state()
    assert (then["rows"], then["redis"]) == (rows + 1, first["redis"] + 1)
    assert blog.state()["app"] == "blog"
    assert blog.rows() == []
    assert shop.box.get_page(site="nobody.localhost").status == 404


def test_pushes_under_load_fail_no_request(shop: Shop) -> None:
    first = shop.live
    with Load(shop.url, f"{shop.url}api/", rate=RATE, seconds=120) as load:
        for number in range(first + 1, first + 4):
            began = time.monotonic()
            shop.push_version(f"under load {number}")
            print(f"push → live, under {RATE} requests a second: {time.monotonic() - began:.1f} s")
    actual = load.report.total
    print(load.report.table())
    assert actual.failed == 0, load.report.table()
    assert {str(number) for number in range(first, first + 4)} == set(actual.releases)
    assert shop.live == shop.journal_live == first + 3


# ---- pushes that are refused ------------------------------------------------------------------------------------

REFUSED = {
    "build": ({"Dockerfile": DOCKERFILE + "RUN exit 7\n"}, 5, "exit code: 7"),
    "migration": (
        {"compose.yaml": COMPOSE.replace("app.py migrate", "app.py migrate --fail")},
        7,
        "the release command `python app.py migrate --fail` ended with status 1",
    ),
    "crash": (
        {"compose.yaml": COMPOSE.replace('TROUBLE: ""', "TROUBLE: crash")},
        8,
        "web-1 is not healthy: ended while starting",
    ),
    "sick": (
        {"compose.yaml": COMPOSE.replace('TROUBLE: ""', "TROUBLE: sick").replace("20s", "3s")},
        8,
        "web-1 is not healthy: after 3 s",
    ),
    "claim": (
        {"compose.yaml": COMPOSE.replace("DOMAIN", "blog.localhost")},
        9,
        "the domain blog.localhost is blog's",
    ),
}


@pytest.mark.parametrize("kind", spread(REFUSED, 1))
def test_a_push_that_cannot_serve_is_refused_and_leaves_nothing(shop: Shop, blog: Shop, kind: str) -> None:
    changes, status, words = REFUSED[kind]
    before, stores = shop.footprint(), shop.stores()
    everything = _everything(shop.box)
    good = shop.tree.head()
    changed = {name: text.replace("DOMAIN", shop.domain) for name, text in changes.items()}
    shop.tree.commit({"app.py": code(kind), **changed}, kind)
    try:
        with Load(shop.url, rate=20, seconds=60) as load:
            done = shop.push()
            deployed = shop.deploy_there()  # Git tells the pusher only that it was refused
    finally:
        shop.tree.reset(good)
    assert done.status == 1
    error = complaint(done)
    assert words in error, error
    assert deployed.status == status, deployed.stderr
    assert words in deployed.stderr
    assert load.report.total.failed == 0, load.report.table()
    assert set(load.report.total.releases) == {str(before["live"])}
    after = shop.footprint()
    assert after == before, {k: (before[k], after[k]) for k in before if before[k] != after[k]}
    assert _everything(shop.box) == everything
    assert shop.stores() == stores
    assert shop.journal()[-1]["event"] == "failed"
    assert shop.serves(shop.live)
    assert blog.serves(blog.live)


def _everything(box: Box) -> list[str]:
    """Everything that Docker has on the server, whoever owns it."""
    actual = []
    for argv in (
        ("ps", "--all", "--no-trunc", "--format={{.ID}}"),
        ("network", "ls", "--no-trunc", "--format={{.ID}}"),
        ("volume", "ls", "--format={{.Name}}"),
        ("image", "ls", "--all", "--no-trunc", "--format={{.ID}} {{.Repository}}:{{.Tag}}"),
    ):
        actual += sorted(box.docker(*argv).split("\n"))
    return actual


# ---- rollbacks, and kept releases --------------------------------------------------------------------------------


def test_a_rollback_takes_seconds_and_loses_no_row(shop: Shop) -> None:
    live = shop.live
    version = shop.state()["version"]
    shop.push_version("to be rolled back")
    shop.post("a row of the newer release")
    rows = shop.rows()
    with Load(shop.url, rate=RATE, seconds=60) as load:
        began = time.monotonic()
        done = shop.ssh("rollback")
        wall = time.monotonic() - began
    took = shop.until_live(live)
    print(f"rollback → live: {took:.2f} s; with the drain and the way there and back: {wall:.2f} s")
    assert "release" in done.stdout + done.stderr
    assert shop.state()["version"] == version
    assert shop.live == shop.journal_live == live
    assert shop.rows() == rows
    assert took <= ROLLBACK
    assert load.report.total.failed == 0, load.report.table()


@pytest.mark.long
def test_three_releases_are_kept_and_other_apps_are_untouched(
    ground: Ground, shop: Shop, blog: Shop, others: str
) -> None:
    theirs = blog.footprint()
    for n in range(4):
        shop.push_version(f"kept {n}")
    newest = shop.live
    kept = [newest - 2, newest - 1, newest]
    assert sorted(int(n) for n in shop.names("state/releases")) == kept
    assert sorted(int(n) for n in shop.names("checkouts")) == kept
    commits = {shop.release(number)["commit"] for number in kept}
    built = {tag.partition(":")[2] for tag in shop.images() if "/web:" in tag}
    assert built == commits
    label = '--format={{index .Config.Labels "org.opencontainers.image.revision"}}'
    assert {shop.box.docker("image", "inspect", label, f"pushrod/shop/web:{c}") for c in commits} == commits
    ground.box.exec(
        "systemctl", "start", "pushrod-prune.service"
    )  # the service started by its timer finds nothing to add
    assert {tag.partition(":")[2] for tag in shop.images() if "/web:" in tag} == commits
    assert _others(ground) == others
    assert blog.footprint() == theirs
    assert {n for n in shop.running() if re.match(r"shop-r\d", n)} == {shop.container("web", newest)}


# ---- between deployments -----------------------------------------------------------------------------------------


def test_a_deployment_is_announced_by_its_own_unit(shop: Shop) -> None:
    box, output = shop.box, "/var/lib/pushrod/told"
    box.put("/usr/local/bin/tell", f"#!/bin/sh\ncat >> {output}\necho >> {output}\n", 0o755)
    box.exec("pushrod", "host", "notify", "add", "team", "/usr/local/bin/tell")
    shop.ssh("restart")
    number = shop.state()["release"]

    def announced() -> list[tuple[str, str, bool]]:
        done = box.exec("cat", output, check=False)
        notices = [json.loads(line) for line in done.stdout.splitlines()]
        return [(n["state"], n["release"], bool(n["by"])) for n in notices]

    eventually(lambda: announced() == [("live", str(number), True)], "the deployment is announced", 60)
    ask = ("systemctl", "is-failed", "pushrod-notify.path", "pushrod-notify.service")
    eventually(
        lambda: box.exec(*ask, check=False).stdout.split() == ["active", "inactive"], "the units are idle", 30
    )
    box.exec("pushrod", "host", "notify", "remove", "team")


def test_no_pushrod_process_stays_in_memory_between_deployments(shop: Shop) -> None:
    """The edge is nginx. The watchdog runs briefly every few seconds, so two looks never find the same process."""

    def of_pushrod() -> dict[str, str]:
        listed = shop.box.exec("ps", "-eo", "pid=,args=", "--no-headers").stdout.splitlines()
        actual = dict(line.strip().split(" ", 1) for line in listed)
        return {pid: words for pid, words in actual.items() if "pushrod" in words and "nginx" not in words}

    first = of_pushrod()
    with contextlib.suppress(AssertionError):
        eventually(lambda: not first.keys() & of_pushrod().keys(), "what ran is gone", 15)
    assert not first.keys() & of_pushrod().keys(), first


# ---- isolation from pushes --------------------------------------------------------------------------------------


def test_a_build_is_bounded(shop: Shop) -> None:
    """Its processes are in the slice, with less processor time than what serves, and not all of the memory."""
    slow = DOCKERFILE.replace("USER nobody", "RUN sleep 5 # bounded\nUSER nobody")
    shop.tree.commit({"Dockerfile": slow}, "a slow build")
    push = shop.pushing()
    try:
        actual: list[str] = []

        def building() -> bool:
            pids = shop.box.exec("pgrep", "--full", "^sleep 5", check=False).stdout.split()
            actual[:] = [shop.box.exec("cat", f"/proc/{pid}/cgroup", check=False).stdout for pid in pids]
            return any(actual)

        eventually(building, "the build sleeps", 30.0)
        assert "/pushrodbuild.slice/" in "".join(actual), actual
        shown = shop.box.exec(
            "systemctl", "show", "pushrodbuild.slice", "-p", "MemoryMax", "-p", "CPUWeight"
        ).stdout
        assert "MemoryMax=infinity" not in shown, shown
        assert "CPUWeight=20" in shown, shown
    finally:
        assert push.done().ok
    shop.push_version("no longer slow")


def test_root_deploys_from_a_clone_owned_by_the_account(shop: Shop) -> None:
    """Git would refuse it to root: root becomes the account first."""
    done = shop.deploy_there(user="root")
    assert (done.status, done.stdout.startswith("already live: ")) == (0, True), done
    planned = shop.box.exec(
        "env", f"--chdir=/var/tmp/{shop.name}", "pushrod", "plan", "--app", shop.name, check=False
    )
    assert planned.status == 0, planned.stderr


def test_root_on_the_host_imports_secrets_from_stdin(shop: Shop) -> None:
    result = shop.box.exec("pushrod", "secret", "import", "-", "--app", shop.name, stdin="A_KEY=1\n").stdout
    assert result.startswith("1 set: A_KEY"), result
    assert shop.box.exec("pushrod", "secret", "list", "--app", shop.name).stdout == "A_KEY\n"
    shop.box.exec("pushrod", "secret", "unset", "A_KEY", "--app", shop.name)


# ---- maintenance -------------------------------------------------------------------------------------------------


def test_maintenance_survives_a_reboot(shop: Shop, blog: Shop) -> None:
    """The edge has it in its tree, which is loaded before the app is up."""
    release = shop.live
    shop.ssh("maintenance", "on", "--allow", "203.0.113.0/24", "--retry-after", "60")
    assert (shop.get().status, shop.get().headers["retry-after"]) == (503, "60")
    shop.box.reboot()
    eventually(lambda: shop.get(timeout=3.0).status == 503, "the edge answers", 60.0)
    assert "is closed for maintenance" in str(shop.get().body)
    blog.back(blog.live, "after a reboot")
    assert "is closed for maintenance" in str(shop.get().body)
    result = shop.ground.pushrod("maintenance", "off", "--app", shop.name)
    assert result.stdout == "shop is open\n"
    shop.back(release, "opened again")


def test_a_key_sees_only_the_requests_of_its_app(shop: Shop, blog: Shop) -> None:
    blog.get("/of-the-blog")
    shop.get("/of-the-shop")

    def shown(*words: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in shop.ssh("logs", "--json", *words).stdout.splitlines()]

    eventually(
        lambda: shown("--status", "404", "-n", "1")[0]["path"] == "/of-the-shop", "the request is in the log"
    )
    last = shown("--edge", "-n", "1")[0]
    assert (last["path"], last["status"], last["instance"]) == ("/of-the-shop", 404, "web-1")
    assert {r["app"] for r in shown("--edge", "-n", "100000")} == {"shop"}
    assert "/of-the-shop" in shop.ground.pushrod("logs", "--edge", "--app", shop.name).stdout


def test_the_logs_of_the_edge_are_rotated(shop: Shop) -> None:
    logs = f"{ROOT}/edge/logs"
    shop.box.exec("truncate", "--size=11M", f"{logs}/access.log")

    def moved() -> bool:
        return int(shop.box.exec("stat", "--format=%s", f"{logs}/access.log.1", check=False).stdout) > 10**7

    eventually(moved, "the watch has moved the log aside", 40.0)
    eventually(lambda: shop.get("/after-that").status == 404, "the edge answers")
    eventually(lambda: b"/after-that" in shop.box.get(f"{logs}/access.log"), "and writes to a new log")


@pytest.mark.long
def test_a_sha_256_repository_goes_live_over_ssh(ground: Ground) -> None:
    app = ground.app("long")
    shutil.rmtree(app.tree.path / ".git")
    app.tree.git("init", "--quiet", "--initial-branch=main", "--object-format=sha256")
    app.tree.git("remote", "add", "pushrod", f"pushrod@{ground.box.address}:long")
    app.tree.commit({"note": "x"}, "first")
    assert (
        "unexpected capabilities^{}" in app.push().err
    )  # Git's message for an empty repository of another format
    ground.box.ssh("apps", "destroy", "long", "--yes", user="pushrod")
    ground.box.ssh("apps", "create", "long", "--sha256", user="pushrod")
    done = app.push()
    assert done.ok, done.err
    assert len(app.tree.head()) == 64
    assert app.live == 1
    ground.box.ssh("apps", "destroy", "long", "--yes", user="pushrod")
