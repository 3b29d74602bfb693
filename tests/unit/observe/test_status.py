"""The status of an app, from a journal and a state repository as deployments write them."""

import msgspec
import pytest

from pushrod.core.values import ProcessState
from pushrod.observe import status
from pushrod.state.apps import App
from pushrod.state.journal import Journal
from pushrod.state.releases import Releases
from tests.unit.samples import COMMIT, release

RUNS = ProcessState("shop-r1", "backend-1", "running", pid=7)


@pytest.fixture
def journal(app: App) -> Journal:
    return Journal(app.journal)


def deploy(app: App, number: int, previous: int = 0) -> None:
    """The records of a successful deployment."""
    journal = Journal(app.journal)
    Releases(app).seal(release(number))
    journal.append("prepare", number, commit=COMMIT)
    journal.append("promote", number, commit=COMMIT, previous=previous)
    journal.append("live", number, commit=COMMIT)
    journal.append("done", number)


def rows(app: App) -> list[tuple[int, str, str, str]]:
    return [(r.number, r.state, r.subject, r.why) for r in status.history(app)]


def test_a_new_app_has_an_empty_status(app: App) -> None:
    result = status.of(app, [])
    assert (result.condition, result.release, result.url) == ("new", 0, "http://127.0.0.1:8123")
    assert (result.commit, result.since, result.under_way) == ("", "", "")
    assert rows(app) == []


def test_a_live_app_has_its_release_and_processes(app: App, journal: Journal) -> None:
    deploy(app, 1)
    result = status.of(app, [RUNS])
    assert (result.condition, result.release, result.commit, result.subject) == (
        "live",
        1,
        COMMIT,
        "change 1",
    )
    assert result.since == next(e.at for e in journal.entries() if e.event == "live")
    assert result.processes == (RUNS,)


def test_an_app_with_domains_is_shown_with_the_first(app: App) -> None:
    Releases(app).seal(release(1, domains=("shop.example", "www.shop.example")))
    for event in ("prepare", "promote", "live", "done"):
        Journal(app.journal).append(event, 1, commit=COMMIT)
    app.save(msgspec.structs.replace(app.settings, port=80, allowed=("privileged",)))
    result = status.of(app, [RUNS])
    assert (result.url, result.allowed) == ("http://shop.example", ("privileged",))


@pytest.mark.parametrize("state", ["backoff", "failed", "stopping", "stopped"])
def test_one_process_that_does_not_run_makes_it_degraded(state: str, app: App) -> None:
    deploy(app, 1)
    bad = msgspec.structs.replace(RUNS, state=state)
    assert status.of(app, [RUNS, bad]).condition == "degraded"


def test_an_app_without_processes_is_degraded_or_down(app: App) -> None:
    deploy(app, 1)
    assert status.of(app, []).condition == "degraded"
    app.save(msgspec.structs.replace(app.settings, down=True))
    assert status.of(app, []).condition == "down"


@pytest.mark.parametrize(
    ("event", "expected"), [("prepare", "prepare of release 2"), ("promote", "promote of release 2")]
)
def test_a_running_operation_is_shown_while_the_old_release_serves(
    event: str, expected: str, app: App, journal: Journal
) -> None:
    deploy(app, 1)
    journal.append(event, 2)  # type: ignore[arg-type]
    result = status.of(app, [RUNS])
    assert (result.under_way, result.release, result.condition) == (expected, 1, "live")
    assert rows(app)[0] == (2, "under way", "", "")


def test_the_history_shows_the_outcome_of_each_release(app: App, journal: Journal) -> None:
    deploy(app, 1)
    journal.append("prepare", 2, commit="b" * 40)
    journal.append("failed", 2, step="prepare", why="no lock file")
    deploy(app, 3, previous=1)
    deploy(app, 4, previous=3)
    Releases(app).remove(1)
    assert rows(app) == [
        (4, "live", "change 4", ""),
        (3, "kept", "change 3", ""),
        (2, "failed", "", "no lock file"),
        (1, "pruned", "", ""),
    ]
    assert [r.commit for r in status.history(app)] == [COMMIT, COMMIT, "b" * 40, COMMIT]


def test_a_release_that_is_live_again_has_its_new_time(app: App, journal: Journal) -> None:
    deploy(app, 1)
    deploy(app, 2, previous=1)
    journal.append("promote", 1, previous=2, fresh=False, commit=COMMIT)
    journal.append("live", 1, commit=COMMIT)
    journal.append("done", 1)
    assert [(n, s) for n, s, *_ in rows(app)] == [(2, "kept"), (1, "live")]
    again = [e.at for e in journal.entries() if e.event == "live"][-1]
    assert status.of(app, [RUNS]).since == status.history(app)[1].at == again


def test_a_failed_rollback_does_not_mark_the_release_as_failed(app: App, journal: Journal) -> None:
    deploy(app, 1)
    deploy(app, 2, previous=1)
    journal.append("promote", 1, previous=2, fresh=False)
    journal.append("failed", 1, why="not healthy")
    assert [(n, s) for n, s, *_ in rows(app)] == [(2, "live"), (1, "kept")]
