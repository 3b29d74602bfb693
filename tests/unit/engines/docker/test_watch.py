"""What the watch finds wrong, how long it lets a container be, and when it leaves it alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from pushrod.engines.docker import names, reconcile
from tests.unit.engines.docker import places

watch = places.watch()


def container(status: str = "running", **changes: Any) -> dict[str, Any]:
    state = {"Status": status, "ExitCode": 0, "StartedAt": "2026-01-01T00:00:00Z"}
    state |= {k: v for k, v in changes.items() if k in ("ExitCode", "StartedAt", "Health")}
    labels = {"pushrod.probe": changes["probe"]} if "probe" in changes else None
    policy = {"RestartPolicy": {"Name": changes.get("policy", "unless-stopped")}}
    return {"State": state, "HostConfig": policy, "Config": {"Labels": labels}}


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
        (container("paused"), ""),
        (container("restarting", ExitCode=1), ""),
    ],
)  # fmt: skip
def test_trouble(tmp_path: Path, found: dict[str, Any] | None, act: str) -> None:
    assert watch.trouble("c", found, watch.Memory(tmp_path / "none"))[1] == act


def test_one_that_does_not_answer_is_given_some_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [False, False, True, False, False, False]
    monkeypatch.setattr(watch.reconcile, "probe", lambda _target: answers.pop(0))
    memory = watch.Memory(tmp_path / "none")
    found = [watch.trouble("c", container(probe="tcp://1:2"), memory)[1] for _ in range(6)]
    assert found == ["", "", "", "", "", "restart"]


def test_waits_double_up_to_ten_minutes() -> None:
    assert [watch.wait_after(n) for n in range(8)] == [0, 10, 20, 40, 80, 160, 320, 600]


def test_after_the_limit_it_is_left_alone_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = places.live(tmp_path)
    done: list[str] = []
    monkeypatch.setattr(
        watch.reconcile, "inspect", lambda _names: {"shop-r7-backend-1": container("exited", ExitCode=1)}
    )
    monkeypatch.setattr(watch, "mend", lambda _app, name, _why, act: done.append(f"{act} {name}"))
    memory, now = watch.Memory(tmp_path / "watch.json"), 1e9
    for second in range(0, 3500, 10):
        watch.look(app, memory, now + second)
    assert done == ["start shop-r7-backend-1"] * watch.LIMIT
    lines = (app.directory / "watch.log").read_text().splitlines()
    assert [json.loads(line)["did"][:10] for line in lines] == ["left alone"]
    watch.look(app, memory, now + 7300)
    assert len(done) == watch.LIMIT + 1


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
    monkeypatch.setattr(watch.reconcile, "GATES", tmp_path / "run")
    found = {"shop-r7-backend-1": container(instance), "shop-r7-worker-1": container(worker)}
    monkeypatch.setattr(watch.reconcile, "inspect", lambda _names: found)
    memory = watch.Memory(tmp_path / "watch.json")
    watch.look(app, memory, 1e9)  # its stores are not up: there is no gate
    (tmp_path / "run" / "shop").mkdir(parents=True)
    assert not watch.reconcile.is_open(app, 7)
    watch.look(app, memory, 1e9)
    assert watch.reconcile.is_open(app, 7) is opened


def test_the_edge_is_not_opened_for_a_release_that_it_does_not_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = places.live(tmp_path)
    places.served(tmp_path, release=6)
    monkeypatch.setattr(watch.reconcile, "GATES", tmp_path / "run")
    (tmp_path / "run" / "shop").mkdir(parents=True)
    monkeypatch.setattr(watch.reconcile, "inspect", lambda _names: {"shop-r7-backend-1": container()})
    watch.look(app, watch.Memory(tmp_path / "watch.json"), 1e9)
    assert not watch.reconcile.is_open(app, 7)


def test_an_app_whose_unit_was_stopped_is_let_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = places.live(tmp_path)
    monkeypatch.setattr(watch.reconcile, "GATES", tmp_path / "run")
    (tmp_path / "run" / "shop").mkdir(parents=True)
    (tmp_path / "run" / "shop" / "stopped").touch()
    assert watch.look(app, watch.Memory(tmp_path / "watch.json"), 1e9) == set()


def test_what_is_remembered_is_of_containers_that_are_there(tmp_path: Path) -> None:
    memory = watch.Memory(tmp_path / "watch.json")
    memory.of("a")["bad"] = 2
    memory.of("b")
    memory.save({"a"})
    assert watch.Memory(tmp_path / "watch.json").seen == {"a": {"bad": 2, "restarts": [], "told": False}}
    (tmp_path / "watch.json").write_text("{")
    assert watch.Memory(tmp_path / "watch.json").seen == {}


def test_the_copies_agree_with_the_package() -> None:
    assert names.GATES == reconcile.GATES
    assert (names.UP, names.STOPPED) == (reconcile.UP, reconcile.STOPPED)
    assert names.UNITS == watch.UNITS
