"""Which apps the watchdog repairs first, and what it finds wrong with a container."""

from pathlib import Path
from typing import Any

import pytest

from pushrod.engines import health_rule
from pushrod.engines.docker import (
    bring_up,
    calls,
    gates,
    watch_checks,
)
from tests.unit.engines.docker import places
from tests.unit.engines.docker.watched import container, seen


@pytest.mark.parametrize(
    ("result", "act"),
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
def test_the_action_for_a_problem_is_chosen(tmp_path: Path, result: dict[str, Any] | None, act: str) -> None:
    assert watch_checks.diagnose(result, watch_checks.Memory(tmp_path / "none").of("c"))[1] == act


def test_a_restart_needs_several_failed_probes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, name = seen(tmp_path, monkeypatch, probe="tcp://1:2"), "shop-r7-backend-1"
    answers = [False, False, True, False, False, False]
    problems = lambda probes: dict.fromkeys(probes, "" if answers.pop(0) else "no answer")  # noqa: E731
    monkeypatch.setattr(health_rule, "problems", problems)
    memory = watch_checks.Memory(tmp_path / "none")
    result = [
        list(watch_checks.failing([one], memory))
        and watch_checks.diagnose(container(probe="tcp://1:2"), memory.of(name))[1]
        for _ in range(6)
    ]
    assert result == [[], [], [], [], [], "restart"]


def test_apps_helped_longest_ago_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apps = [
        watch_checks.Live(bring_up.App(str(tmp_path), name), {"number": 1}, (f"{name}-r1-web-1",))
        for name in ("late", "never", "early", "well")
    ]
    monkeypatch.setattr(watch_checks, "listed", lambda: {"well-r1-web-1": watch_checks.Listed("Up 2 hours")})
    monkeypatch.setattr(gates, "is_open", lambda _app, _number: True)
    memory = watch_checks.Memory(tmp_path / "none")
    memory.of("late-r1-web-1")["restarts"] = [1.0, 9.0]
    memory.of("early-r1-web-1")["restarts"] = [2.0]
    assert [one.app.name for one in watch_checks.failing(apps, memory)] == ["never", "early", "late"]


def test_problems_known_to_docker_are_repaired_before_any_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, slow = (bring_up.App(str(tmp_path), name) for name in ("gone", "slow"))
    apps = [
        watch_checks.Live(slow, {"number": 1}, ("slow",)),
        watch_checks.Live(gone, {"number": 1}, ("gone",)),
    ]
    monkeypatch.setattr(
        watch_checks, "listed", lambda: {"slow": watch_checks.Listed("Up 2 hours", "tcp://1:2")}
    )
    monkeypatch.setattr(gates, "is_open", lambda _app, _number: True)
    monkeypatch.setattr(health_rule, "problems", lambda _probes: pytest.fail("asked first"))
    assert next(watch_checks.failing(apps, watch_checks.Memory(tmp_path / "none"))).app is gone


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
def test_a_path_is_probed_before_the_own_check_and_that_before_a_port(
    status: str, probe: str, fine: bool, asked: bool
) -> None:
    glance = watch_checks.Listed(status, probe, "localhost")
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
def test_dockers_status_decides_whether_a_container_is_fine(status: str, fine: bool) -> None:
    assert watch_checks.Listed(status).fine is fine


def test_all_containers_are_listed_by_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = (
        '"a-r1-web-1" "Up 2 hours" "http://10.0.0.1:80/a \\"b\\"" "localhost x"\n"a-db" "Created" "" ""\n'
    )
    monkeypatch.setattr(calls, "run", lambda _argv, _timeout: printed)
    assert watch_checks.listed() == {
        "a-r1-web-1": watch_checks.Listed("Up 2 hours", 'http://10.0.0.1:80/a "b"', "localhost x"),
        "a-db": watch_checks.Listed("Created", ""),
    }


def test_an_app_whose_unit_was_stopped_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = places.live(tmp_path)
    monkeypatch.setattr(gates, "GATES", tmp_path / "run")
    (tmp_path / "run" / "shop").mkdir(parents=True)
    (tmp_path / "run" / "shop" / "stopped").touch()
    assert watch_checks.live(app) is None


def test_only_existing_containers_are_remembered(tmp_path: Path) -> None:
    memory = watch_checks.Memory(tmp_path / "watch.json")
    memory.of("a")["bad"] = 2
    memory.of("b")
    memory.save({"a"})
    assert watch_checks.Memory(tmp_path / "watch.json").seen == {
        "a": {"bad": 2, "restarts": [], "reported": False}
    }
    (tmp_path / "watch.json").write_text("{")
    assert watch_checks.Memory(tmp_path / "watch.json").seen == {}
