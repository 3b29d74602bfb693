"""Every deployment, rollback and restart in an app's journal, with its steps. Pure."""

from collections.abc import Iterable, Sequence
from typing import Literal

from pushrod.core.values import Value
from pushrod.state.journal import Entry

Result = Literal["live", "failed", "under way"]


class Step(Value, frozen=True):
    """A finished step and its duration in seconds."""

    name: str
    took: float


class Promotion(Value, frozen=True):
    """One attempt to make a release live, from its begin `at` to its end.

    `fresh` is false if an older sealed release was promoted again: by a rollback, or because it did not run. `took`
    are the seconds until it was live, or had failed. `left` are the final steps that failed.
    """

    release: int
    at: str
    by: str
    commit: str
    fresh: bool
    result: Result
    steps: tuple[Step, ...] = ()
    live_at: str = ""
    why: str = ""
    left: str = ""
    migrated: bool = False


def of(entries: Iterable[Entry]) -> list[Promotion]:
    """The promotions of a journal, newest first. One without an end, followed by another, was interrupted."""
    groups: list[list[Entry]] = []
    for entry in entries:
        begins = entry.event == "prepare" or (entry.event == "promote" and not _continues(groups, entry))
        if begins:
            groups.append([entry])
        elif groups and groups[-1][0].release == entry.release:
            groups[-1].append(entry)
    return [_promotion(own, last=own is groups[-1]) for own in reversed(groups)]


def _continues(groups: Sequence[Sequence[Entry]], entry: Entry) -> bool:
    """Whether a `promote` belongs to the `prepare` before it."""
    if not groups or groups[-1][0].release != entry.release:
        return False
    return groups[-1][0].event == "prepare" and not any(
        e.event in ("promote", "done", "failed") for e in groups[-1]
    )


def _promotion(entries: Sequence[Entry], *, last: bool) -> Promotion:
    first = entries[0]
    live = next((e for e in entries if e.event == "live"), None)
    failed = next((e for e in entries if e.event == "failed"), None)
    ended = next((e for e in reversed(entries) if e.event in ("done", "failed")), None)
    result: Result = "live" if live else "failed" if ended or not last else "under way"
    return Promotion(
        release=first.release,
        at=first.at,
        by=next((e.by for e in entries if e.by), ""),
        commit=next((e.commit for e in entries if e.commit), ""),
        fresh=first.event == "prepare",
        result=result,
        steps=tuple(Step(e.step, e.took) for e in entries if e.event == "step"),
        live_at=live.at if live else "",
        why=failed.why if failed else "" if live or result == "under way" else "interrupted",
        left=ended.left if ended else "",
        migrated=any(e.migrated for e in entries),
    )
