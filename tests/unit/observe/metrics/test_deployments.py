"""Deployments are counted once each, although a journal keeps only the last of them."""

from pushrod.observe.metrics.deployments import Outcomes, Step, count, last_steps
from pushrod.state.journal import Entry


def entry(minute: int, event: str, release: int, **fields: object) -> Entry:
    return Entry(at=f"2026-11-22T10:{minute:02}:00.000+00:00", event=event, release=release, **fields)  # type: ignore[arg-type]


def test_outcomes_are_counted_once() -> None:
    first = [entry(1, "prepare", 1), entry(2, "live", 1), entry(3, "done", 1), entry(4, "failed", 2)]
    outcomes = count(Outcomes(), first)
    assert (outcomes.live, outcomes.failed) == (1, 1)
    shortened = [*first[3:], entry(5, "prepare", 3), entry(6, "live", 3)]
    outcomes = count(outcomes, shortened)
    assert (outcomes.live, outcomes.failed) == (2, 1)
    assert count(outcomes, shortened) == outcomes


def test_the_steps_are_those_of_the_last_live_release() -> None:
    entries = [
        entry(1, "prepare", 1),
        entry(2, "step", 1, step="start", took=9.0),
        entry(3, "live", 1),
        entry(4, "prepare", 2),
        entry(5, "step", 2, step="start", took=1.5),
        entry(6, "step", 2, step="switch", took=0.25),
        entry(7, "live", 2),
        entry(8, "step", 2, step="drain", took=0.5),
        entry(9, "prepare", 3),
        entry(10, "step", 3, step="start", took=7.0),
    ]
    assert last_steps(entries) == [Step("start", 1.5), Step("switch", 0.25), Step("drain", 0.5)]
    assert last_steps([]) == []
