"""Whatever is killed at any moment: an old release serves, and the next command finishes or undoes the rest."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from devtools import apps
from devtools.apps import App, Machine, Running, command_of, eventually
from devtools.load import Load
from tests.conftest import spread

pytestmark = pytest.mark.integration

BACK = 20.0  # seconds within which whatever was killed must be back

# Each step of a push, and the line that shows the previous step is done.
STEPS = {
    "prepare": "",
    "stores": r"^  plan .* s$",
    "release": r"^  stores .* s$",
    "start": r"^  release .* s$",
    "ready": r"^  start .* s$",
    "switch": r"^  ready .* s$",
    "live": r"^  switch .* s$",
    "drain": r"^  live .* s$",
}
SLOW_BOOT = "import time; time.sleep(0.3)\n"
SLOW_END = "import os, signal, time\nsignal.signal(signal.SIGTERM, lambda *_: (time.sleep(2), os._exit(0)))\n"


@pytest.fixture(scope="module")
def shop(machine: Machine) -> App:
    """An app with stores whose release command and start take long enough to be interrupted."""
    own = {"health": {"path": "/healthz", "deadline": "15s"}, "release": "sleep 0.3"}
    compose = apps.manifest_with_stores(**{"x-pushrod": own})
    app = machine.app("shop", {"app.py": apps.APP, "compose.yaml": compose})
    app.must("run", "sh", "-c", '"$PSQL" -X -q -d "$DATABASE_URL" -c "create table things (id int)"')
    return app


@pytest.fixture(autouse=True)
def settled(shop: App) -> Iterator[None]:
    """After each test the app is live and consistent."""
    yield
    shop.restore()
    shop.settled()


def pushing(shop: App) -> tuple[Running, int]:
    """A push in progress, and its hook's process once the journal knows of it."""
    shop.restore()
    known = len(shop.journal())
    version = f"v{time.time_ns()}"
    shop.tree.commit({"app.py": SLOW_BOOT + apps.changed(version)}, version)
    push = shop.tree.pushing()
    eventually(lambda: len(shop.journal()) > known, "the journal says that it prepares")
    return push, hook(shop)


def hook(shop: App) -> int:
    """The process that deploys; the hook itself only waits for it."""
    return apps.hooks_of(shop)[1]


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def reached_live(shop: App, release: int) -> bool:
    return any(e["event"] == "live" and e["release"] == release for e in shop.journal())


def last_number(shop: App) -> int:
    return max(int(e["release"]) for e in shop.journal())


# ---- the process that deploys -----------------------------------------------------------------------------------


@pytest.mark.parametrize("step", spread(STEPS, 4))
def test_a_killed_push_is_finished_or_undone(shop: App, step: str) -> None:
    old = shop.live
    with Load(f"{shop.url}/", rate=50.0) as load:
        push, pid = pushing(shop)
        try:
            if STEPS[step]:
                push.until(STEPS[step])
            os.kill(pid, signal.SIGKILL)
            done = push.done()
        finally:
            push.end()
        new = last_number(shop)
        assert done.ok == reached_live(shop, new), "accepted, if and only if it is live"
        answers = [shop.get() for _ in range(5)]
        assert all(a.status == 200 and a.release in (old, new) for a in answers), answers

        live = reached_live(shop, new)
        result = shop.pushrod("deploy", shop.tree.head() if live else shop.good)
        assert result.ok, result.err
        assert f"already live: release {new if live else old}" in result.out
        assert ("finishing" if live else "removed" if step == "prepare" else "undone") in result.err
        shop.settled()
    assert load.report.total.failed == 0, load.report.table()
    assert shop.live == (new if live else old)
    assert live or new not in shop.kept(), "nobody can roll back to what never was live"
    assert (step == "drain") <= live, "what comes after the commit point is finished"
    assert (step in ("live", "drain")) >= live, "what comes before it is undone"


@pytest.mark.parametrize("step", ["prepare", "ready"])
def test_killing_the_hook_undoes_the_deployment(shop: App, step: str) -> None:
    """As when a session is cleaned up: the deployment is undone, and the next push says so."""
    old = shop.live
    push, pid = pushing(shop)
    try:
        if STEPS[step]:
            push.until(STEPS[step])
        os.kill(apps.hooks_of(shop)[0], signal.SIGKILL)
        done = push.done()
    finally:
        push.end()
    assert not done.ok
    eventually(lambda: gone(pid), "what deploys has ended too")
    new = last_number(shop)
    assert not reached_live(shop, new)
    assert shop.serves(old)
    assert shop.journal()[-1]["event"] == "failed", "nothing is left for the next command"
    again = shop.tree.push()
    assert again.ok, again.err
    assert f"release {new} of this commit was interrupted by SIGTERM" in again.err
    assert f"(release {new + 1})" in again.err
    shop.good = shop.tree.head()
    shop.settled()


def test_the_hook_has_succeeded_once_the_release_is_live(shop: App) -> None:
    """From then on, killing something can no longer make Git reject what serves."""
    push, pid = pushing(shop)
    try:
        push.until(STEPS["drain"])
        eventually(lambda: apps.hooks_of(shop)[0] == 0 or gone(pid), "nobody waits")
        os.kill(pid, signal.SIGKILL)
        done = push.done()
    finally:
        push.end()
    assert done.ok, done.err
    new = last_number(shop)
    assert reached_live(shop, new)
    result = shop.pushrod("deploy")
    assert f"already live: release {new}" in result.out
    shop.good = shop.tree.head()
    shop.settled()


@pytest.mark.parametrize("step", ["ready", "drain"])
def test_a_read_only_command_finishes_or_undoes_a_killed_push(shop: App, step: str) -> None:
    old = shop.live
    push, pid = pushing(shop)
    try:
        push.until(STEPS[step])
        os.kill(pid, signal.SIGKILL)
        push.done()
    finally:
        push.end()
    new = last_number(shop)
    live = reached_live(shop, new)
    result = shop.pushrod("status", "--json")
    assert ("finishing" if live else "undone") in result.err
    seen = json.loads(result.out)[0]
    assert (seen["release"], seen["under_way"]) == (new if live else old, "")
    assert shop.groups() == {new if live else old}
    shop.good = shop.branch()


@pytest.mark.parametrize(
    ("step", "name"),
    [
        *spread([("prepare", "TERM"), ("release", "TERM"), ("switch", "TERM")], 1),
        *spread([(step, name) for step in ("ready", "drain") for name in ("TERM", "INT", "HUP")], 2),
    ],
)
def test_a_push_stopped_by_a_signal_is_finished_or_undone(shop: App, step: str, name: str) -> None:
    old = shop.live
    push, pid = pushing(shop)
    try:
        if STEPS[step]:
            push.until(STEPS[step])
        os.kill(pid, apps.signal_of(name))
        done = push.done()
    finally:
        push.end()
    new = last_number(shop)
    live = reached_live(shop, new)
    assert done.ok == live, done.err
    assert live == (step == "drain"), (
        "what comes before the commit point is undone, what comes after it finished"
    )
    if not live:
        assert f"interrupted by SIG{name}" in apps.complaint(done).what
        assert shop.serves(old)
    shop.settled()
    assert shop.live == (new if live else old)


def test_control_c_in_a_terminal_undoes_a_deployment(shop: App) -> None:
    """The signal goes to all foreground processes, including the release command."""
    old = shop.live
    shop.restore()
    shop.tree.commit({"app.py": apps.changed("never")}, "never")
    command = shop.running("deploy")
    try:
        command.until(STEPS["release"])
        os.killpg(command.child.pid, signal.SIGINT)
        done = command.done()
    finally:
        command.end()
    assert done.status == 130
    assert "interrupted by SIGINT" in apps.complaint(done).what
    assert shop.live == old
    shop.settled()


@pytest.mark.parametrize("how", ["the client is killed", "the terminal is closed"])
def test_a_client_that_disconnects_leaves_a_consistent_app(shop: App, how: str) -> None:
    push, pid = pushing(shop)
    try:
        push.until(STEPS["ready"])
        if how == "the client is killed":
            push.child.kill()
        else:
            os.killpg(push.child.pid, signal.SIGHUP)
        eventually(lambda: gone(pid), "the hook has ended")
    finally:
        push.end()
    shop.settled()


CUTS: dict[str, Callable[[Running, int], list[int]]] = {
    "the connection": lambda push, pid: [push.child.pid],
    "Git on the server": lambda push, pid: gits(push),
    "all that works for the push": lambda push, pid: [*gits(push), *hooks_above(pid), pid],
}


def gits(push: Running) -> list[int]:
    """Git's own processes on the server."""
    pids = []
    for child in psutil.Process(push.child.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # one that has ended
            if any("receive-pack" in word for word in child.cmdline()[:3]):
                pids.append(child.pid)
    return pids


def hooks_above(pid: int) -> list[int]:
    """The hook that waits for the process that deploys, if it still does."""
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid).parent()
        if parent is not None and "pre-receive" in parent.cmdline():
            return [parent.pid]
    return []


@pytest.mark.parametrize("step", ["live", "drain"])
@pytest.mark.parametrize("cut", spread(CUTS, 1))
def test_after_a_cut_between_switch_and_answer_everything_says_what_became_of_it(
    shop: App, cut: str, step: str
) -> None:
    """`status`, a second push of the same commit and `deploy`: no second release of a commit that is live."""
    old = shop.live
    push, pid = pushing(shop)
    try:
        push.until(STEPS[step])
        victims = CUTS[cut](push, pid)
        assert victims
        for victim in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        eventually(lambda: gone(pid), "what deploys has ended")
    finally:
        push.end()
    new = last_number(shop)
    live = reached_live(shop, new)
    assert live or step == "live"
    seen = json.loads(shop.must("status", "--json"))[0]
    assert (seen["release"], seen["under_way"]) == (new if live else old, "")
    again = shop.tree.push()
    assert again.ok, again.err
    if live:
        answers = ("Everything up-to-date", f"live: {shop.url} (release {new})")
        assert any(answer in again.err for answer in answers), again.err
    else:
        assert f"release {new} of this commit was " in again.err
        new += 1
    assert f"already live: release {new}" in shop.pushrod("deploy").out
    assert (shop.live, last_number(shop)) == (new, new)
    shop.good = shop.tree.head()
    shop.settled()


@pytest.mark.parametrize("verb", ["rollback", "restart", "down"])
def test_another_killed_verb_leaves_a_consistent_app(shop: App, verb: str) -> None:
    shop.push_change()
    command = shop.running(verb)
    try:
        command.until(r"^  (ready|edge) .* s$")
        command.child.kill()
        command.child.wait()
    finally:
        command.end()
    if verb == "down":
        assert shop.json("status", "--app", "shop")[0]["condition"] == "down"
    shop.must("up")
    shop.settled()
    assert shop.branch() == shop.good, "neither had reached its commit point"


@pytest.mark.parametrize("verb", ["down", "push"])
def test_stopping_instances_are_remembered_after_a_kill(shop: App, verb: str) -> None:
    """Instances being removed are not forgotten: the next command removes them, or starts them again."""
    shop.restore()
    shop.tree.commit({"app.py": SLOW_END + apps.changed("slow to end")}, "slow to end")
    pushed = shop.tree.push()
    assert pushed.ok, pushed.err
    shop.good = shop.tree.head()
    old = shop.live
    shop.tree.commit({"app.py": apps.changed("next")}, "next")
    command = shop.running(*(("down",) if verb == "down" else ("deploy",)))
    conf = shop.machine.root / "supervisor" / "conf.d" / f"shop-r{old}.conf"
    try:
        eventually(lambda: not conf.exists(), "the old release is being taken away")
        command.child.kill()
        command.child.wait()
    finally:
        command.end()
    shop.must("deploy")
    assert shop.live > old
    shop.settled()
    mine = shop.directory / "checkouts" / str(old)
    eventually(lambda: not list(apps.processes_below(mine)), "nothing of the old release lives")
    shop.good = shop.tree.head()


# ---- the parts of the app ---------------------------------------------------------------------------------------


def pid_of(shop: App, part: str) -> int:
    root = shop.machine.root
    match part:
        case "nginx":
            return int((root / "edge" / "run" / "nginx.pid").read_text())
        case "postgres":
            return int(
                (shop.directory / "stores" / "postgres" / "data" / "postmaster.pid").read_text().split()[0]
            )
        case "valkey":
            return command_of(shop.directory / "stores" / "redis", "valkey-server")
        case "instance":
            answer = shop.get("/process")
            return int(json.loads(answer.body)["pid"]) if answer.status == 200 else 0
        case "supervisord":
            return int((root / "supervisor" / "supervisord.pid").read_text())
        case _:
            return command_of(root, "keeper.py")


@pytest.mark.parametrize("part", ["nginx", "postgres", "valkey", "instance", "supervisord", "keeper"])
def test_a_killed_part_restarts(shop: App, part: str) -> None:
    mark = str(time.time_ns() % 10**9)
    release = shop.live
    assert shop.get(f"/sql?q=insert+into+things+values+({mark})").status == 200
    assert "+OK" in shop.get(f"/redis?q=SET+mark+{mark}").body
    before = pid_of(shop, part)
    others = {p: pid_of(shop, p) for p in ("supervisord", "keeper")}
    assert before > 0
    os.kill(before, signal.SIGKILL)
    eventually(lambda: pid_of(shop, part) not in (0, before), f"{part} runs again", BACK)
    eventually(lambda: whole(shop, release, mark), "the app serves with its data", BACK)
    if part not in ("supervisord", "keeper"):
        assert others == {p: pid_of(shop, p) for p in others}, "the rest was left alone"
    eventually(lambda: shop.json("status", "--app", "shop")[0]["condition"] == "live", "status says so", BACK)
    eventually(lambda: pid_of(shop, "keeper") > 0, "the keeper is there", BACK)


def whole(shop: App, release: int, mark: str) -> bool:
    """Whether the app serves from that release, and both stores have their data."""
    stored = shop.get(f"/sql?q=select+count(*)+from+things+where+id={mark}")
    cached = shop.get("/redis?q=GET+mark")
    return stored == (200, release, "1") and cached.status == 200 and mark in cached.body


def test_an_app_recovers_after_everything_is_killed_at_once(shop: App, machine: Machine) -> None:
    """As in a power cut, except for data that was not on disk yet."""
    mark = str(time.time_ns() % 10**9)
    release = shop.live
    assert shop.get(f"/sql?q=insert+into+things+values+({mark})").status == 200
    assert "+OK" in shop.get(f"/redis?q=SET+mark+{mark}").body
    victims = machine.processes()
    for send in (
        psutil.Process.suspend,
        psutil.Process.kill,
    ):  # suspended, so that none notices another's end
        for process in victims:
            with contextlib.suppress(
                psutil.NoSuchProcess
            ):  # a health check's program, for example, has ended
                send(process)
    psutil.wait_procs(victims, timeout=10)
    assert shop.json("status", "--app", "shop")[0]["condition"] == "degraded"
    doctor = shop.pushrod("doctor")
    assert doctor.status == 10
    assert "nothing runs" in doctor.out
    assert shop.url in shop.must("up")
    assert whole(shop, release, mark)
    assert shop.pushrod("doctor").status == 0


def test_an_instance_that_keeps_ending_is_reported(shop: App) -> None:
    """It was healthy when it went live; a later failure is shown, and the next push fixes it."""
    shop.push_change()
    checkout: Path = shop.directory / "checkouts" / str(shop.live)
    (checkout / "app.py").write_text("raise SystemExit('broken by hand')\n")
    os.kill(pid_of(shop, "instance"), signal.SIGKILL)
    eventually(lambda: shop.pushrod("doctor").status == 10, "doctor finds it")
    shown = shop.json("status", "--app", "shop")[0]
    assert shown["condition"] in ("degraded", "live"), "it is started again and again"
    eventually(lambda: "broken by hand" in shop.must("logs", "web"), "the log says why")
    shop.push_change()
    assert shop.json("status", "--app", "shop")[0]["condition"] == "live"
