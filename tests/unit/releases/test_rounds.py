"""Whose turn is next, and how long it may take."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pushrod.core.errors import HostError
from pushrod.releases.rounds import Round
from pushrod.state.apps import App, Root
from pushrod.system import processes, signals


@pytest.fixture
def root(tmp_path: Path) -> Root:
    for name in "abcd":
        (tmp_path / "apps" / name).mkdir(parents=True)
        (tmp_path / "apps" / name / "app.json").write_text("{}")
    return Root(tmp_path)


def names(apps: list[App]) -> str:
    return "".join(app.name for app in apps)


def test_apps_not_reached_come_first_and_failed_ones_last(root: Root) -> None:
    apps, turns = list(root.apps()), Round(root, "work", 60)
    with turns.turn(apps[0]):
        pass
    with pytest.raises(ValueError, match="no"), turns.turn(apps[1]):
        raise ValueError("no")
    assert names(turns.order(apps)) == "cdab"
    with turns.turn(apps[2]):
        pass
    assert names(Round(root, "work", 60).order(apps)) == "dacb"
    assert names(Round(root, "other", 60).order(apps)) == "abcd"


def test_after_a_kill_the_round_continues_with_the_next_app(root: Root) -> None:
    apps, turns = list(root.apps()), Round(root, "work", 60)
    with turns.turn(apps[0]):
        assert names(Round(root, "work", 60).order(apps)) == "bcda"  # as another process finds it


@pytest.mark.slow
def test_the_turn_of_an_app_has_a_time_limit(root: Root) -> None:
    app, turns = next(root.apps()), Round(root, "work", 0.2)
    with (
        signals.handled(),
        pytest.raises(HostError, match=r"app a: work has taken longer than 0\.2 s"),
        turns.turn(app),
    ):
        processes.run(["sleep", "600"], timeout=600)


@pytest.mark.slow
def test_an_uninterruptible_step_completes_before_the_deadline_ends_it() -> None:
    done = []
    with (
        signals.handled(),
        pytest.raises(HostError, match="longer than"),
        signals.deadline(0.1, "it"),
    ):
        with signals.uninterrupted():
            time.sleep(0.3)
            done.append("half")
        time.sleep(600)
    assert done == ["half"]
    time.sleep(0.01)  # nothing is left that would end this


def test_a_damaged_file_resets_only_the_order(root: Root) -> None:
    (root.path / "rounds.json").write_text("{")
    assert names(Round(root, "work", 60).order(root.apps())) == "abcd"


def test_a_turn_works_outside_the_main_thread(root: Root) -> None:
    apps, turns = list(root.apps()), Round(root, "work", 60)

    def take() -> None:
        with turns.turn(apps[0]):
            pass

    with ThreadPoolExecutor(1) as beside:
        beside.submit(take).result()
    assert names(turns.order(apps)) == "bcda"
