"""How long the watchdog waits between restarts, when it gives up, and when the edge may send requests."""

import json
import time
from functools import partial
from operator import add
from pathlib import Path

import pytest

from pushrod.engines.docker import (
    bring_up,
    calls,
    container_health,
    gates,
    watch_checks,
    watch_repairs,
)
from tests.unit.engines.docker import places
from tests.unit.engines.docker.watched import container, live


@pytest.mark.slow
def test_the_restart_of_an_app_has_a_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = tmp_path / "bring_up.py"
    waits.write_text("import time; print('begun', flush=True); time.sleep(600)")
    monkeypatch.setattr(watch_repairs, "__file__", str(tmp_path / "watchdog.py"))
    with pytest.raises(calls.Trouble, match=r"not up after 0\.2 s"):
        watch_repairs.up(bring_up.App(str(tmp_path), "shop"), 0.2)
    waits.write_text("import sys; print('shop: no'); sys.exit(1)")
    with pytest.raises(calls.Trouble, match="shop: no"):
        watch_repairs.up(bring_up.App(str(tmp_path), "shop"), 60)


def test_waits_double_up_to_ten_minutes() -> None:
    assert [watch_repairs.wait_after(n) for n in range(8)] == [0, 10, 20, 40, 80, 160, 320, 600]


@pytest.mark.slow
def test_after_the_limit_a_container_is_left_alone_and_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = places.live(tmp_path)
    done: list[str] = []
    monkeypatch.setattr(
        calls, "inspect", lambda _names: {"shop-r7-backend-1": container("exited", ExitCode=1)}
    )
    monkeypatch.setattr(watch_repairs, "fix", lambda _app, name, _why, act: done.append(f"{act} {name}"))
    memory, now = watch_checks.Memory(tmp_path / "watch.json"), 1e9
    for second in range(0, 3500, 10):
        watch_repairs.repair(live(app), memory, partial(add, now, second))
    assert done == ["start shop-r7-backend-1"] * watch_repairs.LIMIT
    lines = (app.directory / "watch.log").read_text().splitlines()
    assert [json.loads(line)["did"][:10] for line in lines] == ["left alone"]
    watch_repairs.repair(live(app), memory, lambda: now + 7300)
    assert len(done) == watch_repairs.LIMIT + 1


@pytest.mark.parametrize(
    ("instance", "worker", "opened"),
    [("running", "running", True), ("restarting", "running", False), ("running", "restarting", True)],
)
def test_the_edge_gate_opens_once_all_reachable_instances_are_healthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instance: str, worker: str, opened: bool
) -> None:
    """For example if an app takes longer than its unit waits, or a worker does not return."""
    instances = [
        {"name": "backend-1", "service": "backend", "address": "10.213.0.2", "port": 8080},
        {"name": "worker-1", "service": "worker", "address": "10.213.0.3", "port": 0},
    ]
    app = places.live(tmp_path, instances=instances)
    places.served(tmp_path)
    monkeypatch.setattr(gates, "GATES", tmp_path / "run")
    result = {"shop-r7-backend-1": container(instance), "shop-r7-worker-1": container(worker)}
    monkeypatch.setattr(calls, "inspect", lambda _names: result)
    memory = watch_checks.Memory(tmp_path / "watch.json")
    watch_repairs.repair(live(app), memory)  # its stores are not up: there is no gate
    (tmp_path / "run" / "shop").mkdir(parents=True)
    assert not gates.is_open(app.name, 7)
    watch_repairs.repair(live(app), memory)
    assert gates.is_open(app.name, 7) is opened


def test_slow_checks_share_one_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a boot, for an app with many instances: a run that waited for all of them would check no other app."""
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
    watch_repairs.repair(live(app), watch_checks.Memory(tmp_path / "watch.json"))
    assert 0 < len(asked) < len(names)
    assert clock[0] - 1000.0 < watch_repairs.REPAIR + 10
    assert not gates.is_open(app.name, 7)


def test_the_edge_is_not_opened_for_a_release_that_it_does_not_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = places.live(tmp_path)
    places.served(tmp_path, release=6)
    monkeypatch.setattr(gates, "GATES", tmp_path / "run")
    (tmp_path / "run" / "shop").mkdir(parents=True)
    monkeypatch.setattr(calls, "inspect", lambda _names: {"shop-r7-backend-1": container()})
    watch_repairs.repair(live(app), watch_checks.Memory(tmp_path / "watch.json"))
    assert not gates.is_open(app.name, 7)
