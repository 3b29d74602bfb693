"""Deployments, rollbacks and restarts, from a journal as the pipeline writes it."""

from pushrod.observe import promotions
from pushrod.observe.promotions import Promotion, Step
from pushrod.state.apps import App
from pushrod.state.journal import Journal
from tests.unit.samples import COMMIT, make_live


def listed(app: App) -> list[Promotion]:
    return promotions.of(Journal(app.journal).entries())


def test_a_deployment_has_its_steps_author_and_result(app: App) -> None:
    journal = Journal(app.journal)
    journal.append("prepare", 1, commit=COMMIT, by="ann")
    journal.append("step", 1, step="prepare", took=1.5)
    journal.append("promote", 1, commit=COMMIT, by="ann")
    journal.append("step", 1, step="release", took=0.5, migrated=True)
    journal.append("live", 1, commit=COMMIT)
    journal.append("done", 1, left="prune")
    (one,) = listed(app)
    assert (one.release, one.by, one.commit, one.fresh, one.result) == (1, "ann", COMMIT, True, "live")
    assert one.steps == (Step("prepare", 1.5), Step("release", 0.5))
    assert (one.migrated, one.left, one.live_at != "") == (True, "prune", True)


def test_a_rollback_is_a_promotion_of_its_own(app: App) -> None:
    journal = Journal(app.journal)
    make_live(app, 1, 2)
    for event in ("promote", "live", "done"):
        journal.append(event, 1, commit=COMMIT)
    assert [(p.release, p.fresh, p.result) for p in listed(app)] == [
        (1, False, "live"),
        (2, True, "live"),
        (1, True, "live"),
    ]


def test_a_release_that_is_promoted_again_at_once_is_two_promotions(app: App) -> None:
    journal = Journal(app.journal)
    for event in ("prepare", "promote", "live", "done", "promote", "live", "done"):
        journal.append(event, 1, commit=COMMIT)
    assert [p.fresh for p in listed(app)] == [False, True]


def test_an_attempt_ends_failed_interrupted_or_is_under_way(app: App) -> None:
    journal = Journal(app.journal)
    journal.append("prepare", 1, commit=COMMIT)
    journal.append("failed", 1, why="no disk")
    journal.append("prepare", 2, commit=COMMIT)
    journal.append("prepare", 3, commit=COMMIT)
    assert [(p.release, p.result, p.why) for p in listed(app)] == [
        (3, "under way", ""),
        (2, "failed", "interrupted"),
        (1, "failed", "no disk"),
    ]


def test_events_before_the_first_beginning_are_left_out(app: App) -> None:
    journal = Journal(app.journal)
    journal.append("live", 4, commit=COMMIT)
    journal.append("done", 4)
    assert listed(app) == []
