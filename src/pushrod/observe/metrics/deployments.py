"""How deployments ended, from the apps' journals.

A journal keeps the last releases only, so the counts are kept in a file between runs, with the time of the last event
that was counted.
"""

from collections.abc import Sequence

import msgspec

from pushrod.core.values import Value
from pushrod.state.journal import Entry


class Outcomes(msgspec.Struct):
    """The deployments of one app that went live, and those that failed; `last` is the time of the last one."""

    live: int = 0
    failed: int = 0
    last: str = ""


class Step(Value, frozen=True):
    """A step of a deployment and its duration in seconds."""

    name: str
    took: float


def count(outcomes: Outcomes, entries: Sequence[Entry]) -> Outcomes:
    """The counts with the events that are newer than the last one counted. Rollbacks and restarts count as well."""
    for entry in entries:
        if entry.event in ("live", "failed") and entry.at > outcomes.last:
            setattr(outcomes, entry.event, getattr(outcomes, entry.event) + 1)
            outcomes.last = entry.at
    return outcomes


def last_steps(entries: Sequence[Entry]) -> list[Step]:
    """The steps of the last deployment that went live. A step that ran twice counts with both times."""
    number = next((e.release for e in reversed(entries) if e.event == "live"), 0)
    began = max((n for n, e in enumerate(entries) if e.release == number and e.event == "prepare"), default=0)
    took: dict[str, float] = {}
    for entry in entries[began:]:
        if entry.release == number and entry.event == "step":
            took[entry.step] = took.get(entry.step, 0.0) + entry.took
    return [Step(name, seconds) for name, seconds in took.items()]
