"""What the watch finds wrong, how long it lets a container be, and when it leaves it alone."""

import json
import threading
import time
from functools import partial
from operator import add
from pathlib import Path
from typing import Any

import pytest

from pushrod.engines import health_rule
from pushrod.engines.docker import bring_up, calls, container_health, gates, watchdog
from tests.unit.engines.docker import places


def container(status: str = "running", **changes: Any) -> dict[str, Any]:
    state = {"Status": status, "ExitCode": 0, "StartedAt": "2026-01-01T00:00:00Z"}
    state |= {k: v for k, v in changes.items() if k in ("ExitCode", "StartedAt", "Health")}
    labels = {"pushrod.probe": changes["probe"]} if "probe" in changes else None
    policy = {"RestartPolicy": {"Name": changes.get("policy", "unless-stopped")}}
    return {"State": state, "HostConfig": policy, "Config": {"Labels": labels}}


def live(app: bring_up.App) -> watchdog.Live:
    found = watchdog.live(app)
    assert found is not None
    return found


def seen(root: Path, monkeypatch: pytest.MonkeyPatch, probe: str) -> Any:
    """An app that is live and let through, whose one container runs."""
    app = places.live(root)
    monkeypatch.setattr(
        watchdog, "listed", lambda: {"shop-r7-backend-1": watchdog.Listed("Up 2 hours", probe)}
    )
    monkeypatch.setattr(gates, "is_open", lambda _app, _number: True)
    return watchdog.live(app)


@pytest.mark.parametrize(
    ("found", "act"),
    [
        (None, "up"),
        (container(), ""),
        (container("exited", ExitCode=1), "start"),
        (container("exited"), "start"),
        (container("created", StartedAt="0001-01-01T00:00:00Z"), "start"),
        (container("exited", policy="on-failure"), ""),
        (container("exited", ExitCode=1, policy="on-failure"), "start"),
        (container("exited", ExitCode=1, policy="no"), ""),
        (container("created", policy="no", StartedAt="0001-01-01T00:00:00Z"), "start"),
        (container(Health={"Status": "unhealthy"}), "restart"),
        (container(Health={"Status": "starting"}), ""),
        (container(Health={"Status": "unhealthy"}, probe="tcp://1:2"), "restart"),
        (container(Health={"Status": "unhealthy"}, probe="http://1:2/up"), ""),
        (container("paused"), ""),
        (container("restarting", ExitCode=1), ""),
    ],
)  # fmt: skip
def test_trouble(tmp_path: Path, found: dict[str, Any] | None, act: str) -> None:
    assert watchdog.diagnose(found, watchdog.Memory(tmp_path / "none").of("c"))[1] == act


def test_one_that_does_not_answer_is_given_some_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, name = seen(tmp_path, monkeypatch, probe="tcp://1:2"), "shop-r7-backend-1"
    answers = [False, False, True, False, False, False]
    problems = lambda probes: dict.fromkeys(probes, "" if answers.pop(0) else "no answer")  # noqa: E731
    monkeypatch.setattr(health_rule, "problems", problems)
    memory = watchdog.Memory(tmp_path / "none")
    found = [
        list(watchdog.failing([one], memory))
        and watchdog.diagnose(container(probe="tcp://1:2"), memory.of(name))[1]
        for _ in range(6)
    ]
    assert found == [[], [], [], [], [], "restart"]


def test_whoever_had_help_longest_ago_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apps = [
        watchdog.Live(bring_up.App(str(tmp_path), name), {"number": 1}, (f"{name}-r1-web-1",))
        for name in ("late", "never", "early", "well")
    ]
    monkeypatch.setattr(watchdog, "listed", lambda: {"well-r1-web-1": watchdog.Listed("Up 2 hours")})
    monkeypatch.setattr(gates, "is_open", lambda _app, _number: True)
    memory = watchdog.Memory(tmp_path / "none")
    memory.of("late-r1-web-1")["restarts"] = [1.0, 9.0]
    memory.of("early-r1-web-1")["restarts"] = [2.0]
    assert [one.app.name for one in watchdog.failing(apps, memory)] == ["never", "early", "late"]


def test_what_docker_knows_is_mended_before_anybody_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, slow = (bring_up.App(str(tmp_path), name) for name in ("gone", "slow"))
    apps = [watchdog.Live(slow, {"number": 1}, ("slow",)), watchdog.Live(gone, {"number": 1}, ("gone",))]
    monkeypatch.setattr(watchdog, "listed", lambda: {"slow": watchdog.Listed("Up 2 hours", "tcp://1:2")})
    monkeypatch.setattr(gates, "is_open", lambda _app, _number: True)
    monkeypatch.setattr(health_rule, "problems", lambda _probes: pytest.fail("asked first"))
    assert next(watchdog.failing(apps, watchdog.Memory(tmp_path / "none"))).app is gone


@pytest.mark.parametrize(
    ("status", "probe", "fine", "asked"),
    [
        ("Up 1 hour", "tcp://10.213.0.2:80", True, True),
        ("Up 1 hour (healthy)", "tcp://10.213.0.2:80", True, False),
        ("Up 1 hour (health: starting)", "tcp://10.213.0.2:80", True, False),
        ("Up 1 hour (unhealthy)", "tcp://10.213.0.2:80", False, False),
        ("Up 1 hour (unhealthy)", "http://10.213.0.2:80/up", True, True),
        ("Up 1 hour (healthy)", "http://10.213.0.2:80/up", True, True),
        ("Up 1 hour", "", True, False),
    ],
)
def test_a_path_goes_before_the_own_check_and_that_before_a_port(
    status: str, probe: str, fine: bool, asked: bool
) -> None:
    glance = watchdog.Listed(status, probe, "localhost")
    assert (glance.fine, glance.asked is not None) == (fine, asked)


@pytest.mark.parametrize(
    ("status", "fine"),
    [
        ("Up 5 seconds", True),
        ("Up 3 minutes (healthy)", True),
        ("Up Less than a second (health: starting)", True),
        ("Up 2 days (unhealthy)", False),
        ("Exited (0) 3 days ago", False),
        ("Restarting (1) 2 seconds ago", False),
        ("Created", False),
        ("Up 2 hours (Paused)", True),
    ],
)
def test_what_docker_lists(status: str, fine: bool) -> None:
    assert watchdog.Listed(status).fine is fine


def test_all_containers_are_listed_by_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = (
        '"a-r1-web-1" "Up 2 hours" "http://10.0.0.1:80/a \\"b\\"" "localhost x"\n"a-db" "Created" "" ""\n'
    )
    monkeypatch.setattr(calls, "run", lambda _argv, _timeout: printed)
    assert watchdog.listed() == {
        "a-r1-web-1": watchdog.Listed("Up 2 hours", 'http://10.0.0.1:80/a "b"', "localhost x"),
        "a-db": watchdog.Listed("Created", ""),
    }


def test_one_app_that_takes_long_to_mend_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run goes on looking: another app that needs help later has it while the first still has its turn."""
    slow, quick = (
        watchdog.Live(bring_up.App(str(tmp_path), n), {"number": 1}, (n,)) for n in ("slow", "quick")
    )
    turns, helped, release = iter([[slow], [quick], [quick]]), [], threading.Event()
    monkeypatch.setattr(watchdog, "apps_to_watch", lambda _root: [slow, quick])
    monkeypatch.setattr(watchdog, "failing", lambda _apps, _memory: next(turns, []))
    monkeypatch.setattr(watchdog, "EVERY", 0.05)
    monkeypatch.setattr(gates, "GATES", tmp_path)

    def attend(one: Any, _memory: Any) -> bool:
        helped.append(one.app.name)
        if one.app.name == "slow":
            assert release.wait(60)
        elif helped.count("quick") == 2:
            release.set()
        return False

    monkeypatch.setattr(watchdog, "repair", attend)
    assert watchdog.main([str(tmp_path)]) == 0
    assert helped == ["slow", "quick", "quick"]


def test_an_app_that_does_not_come_up_has_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = tmp_path / "bring_up.py"
    waits.write_text("import time; print('begun', flush=True); time.sleep(600)")
    monkeypatch.setattr(watchdog, "__file__", str(tmp_path / "watchdog.py"))
    with pytest.raises(calls.Trouble, match=r"not up after 0\.2 s"):
        watchdog.up(bring_up.App(str(tmp_path), "shop"), 0.2)
    waits.write_text("import sys; print('shop: no'); sys.exit(1)")
    with pytest.raises(calls.Trouble, match="shop: no"):
        watchdog.up(bring_up.App(str(tmp_path), "shop"), 60)


def test_waits_double_up_to_ten_minutes() -> None:
    assert [watchdog.wait_after(n) for n in range(8)] == [0, 10, 20, 40, 80, 160, 320, 600]


@pytest.mark.slow
def test_after_the_limit_it_is_left_alone_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = places.live(tmp_path)
    done: list[str] = []
    monkeypatch.setattr(
        calls, "inspect", lambda _names: {"shop-r7-backend-1": container("exited", ExitCode=1)}
    )
    monkeypatch.setattr(watchdog, "fix", lambda _app, name, _why, act: done.append(f"{act} {name}"))
    memory, now = watchdog.Memory(tmp_path / "watch.json"), 1e9
    for second in range(0, 3500, 10):
        watchdog.repair(live(app), memory, partial(add, now, second))
    assert done == ["start shop-r7-backend-1"] * watchdog.LIMIT
    lines = (app.directory / "watch.log").read_text().splitlines()
    assert [json.loads(line)["did"][:10] for line in lines] == ["left alone"]
    watchdog.repair(live(app), memory, lambda: now + 7300)
    assert len(done) == watchdog.LIMIT + 1


@pytest.mark.parametrize(
    ("instance", "worker", "opened"),
    [("running", "running", True), ("restarting", "running", False), ("running", "restarting", True)],
)
def test_the_edge_is_opened_once_all_that_it_asks_are_healthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instance: str, worker: str, opened: bool
) -> None:
    """As where an app takes longer than its unit waits, or its worker does not come back."""
    instances = [
        {"name": "backend-1", "service": "backend", "address": "10.213.0.2", "port": 8080},
        {"name": "worker-1", "service": "worker", "address": "10.213.0.3", "port": 0},
    ]
    app = places.live(tmp_path, instances=instances)
    places.served(tmp_path)
    monkeypatch.setattr(gates, "GATES", tmp_path / "run")
    found = {"shop-r7-backend-1": container(instance), "shop-r7-worker-1": container(worker)}
    monkeypatch.setattr(calls, "inspect", lambda _names: found)
    memory = watchdog.Memory(tmp_path / "watch.json")
    watchdog.repair(live(app), memory)  # its stores are not up: there is no gate
    (tmp_path / "run" / "shop").mkdir(parents=True)
    assert not gates.is_open(app.name, 7)
    watchdog.repair(live(app), memory)
    assert gates.is_open(app.name, 7) is opened


def test_checks_that_take_long_have_one_time_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a boot, of an app with many instances: a run that waited for it would look at nobody else meanwhile."""
    named = [
        {"name": f"backend-{n}", "service": "backend", "address": f"10.213.0.{n}", "port": 8080}
        for n in range(2, 40)
    ]
    app = places.live(tmp_path, instances=named)
    monkeypatch.setattr(gates, "GATES", tmp_path / "run")
    (tmp_path / "run" / "shop").mkdir(parents=True)
    names = [f"shop-r7-{one['name']}" for one in named]
    monkeypatch.setattr(bring_up, "reached", lambda _app, _release: names)
    monkeypatch.setattr(calls, "inspect", lambda _names: dict.fromkeys(names, container()))
    clock, asked = [1000.0], []

    def problem(_container: object) -> str:
        asked.append(clock[0])
        clock[0] += 9.9
        return ""

    monkeypatch.setattr(container_health, "problem", problem)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    watchdog.repair(live(app), watchdog.Memory(tmp_path / "watch.json"))
    assert 0 < len(asked) < len(names)
    assert clock[0] - 1000.0 < watchdog.REPAIR + 10
    assert not gates.is_open(app.name, 7)


def test_the_edge_is_not_opened_for_a_release_that_it_does_not_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = places.live(tmp_path)
    places.served(tmp_path, release=6)
    monkeypatch.setattr(gates, "GATES", tmp_path / "run")
    (tmp_path / "run" / "shop").mkdir(parents=True)
    monkeypatch.setattr(calls, "inspect", lambda _names: {"shop-r7-backend-1": container()})
    watchdog.repair(live(app), watchdog.Memory(tmp_path / "watch.json"))
    assert not gates.is_open(app.name, 7)


def test_an_app_whose_unit_was_stopped_is_let_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = places.live(tmp_path)
    monkeypatch.setattr(gates, "GATES", tmp_path / "run")
    (tmp_path / "run" / "shop").mkdir(parents=True)
    (tmp_path / "run" / "shop" / "stopped").touch()
    assert watchdog.live(app) is None


def test_what_is_remembered_is_of_containers_that_are_there(tmp_path: Path) -> None:
    memory = watchdog.Memory(tmp_path / "watch.json")
    memory.of("a")["bad"] = 2
    memory.of("b")
    memory.save({"a"})
    assert watchdog.Memory(tmp_path / "watch.json").seen == {"a": {"bad": 2, "restarts": [], "told": False}}
    (tmp_path / "watch.json").write_text("{")
    assert watchdog.Memory(tmp_path / "watch.json").seen == {}
