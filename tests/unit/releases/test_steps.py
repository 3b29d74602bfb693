"""Steps of a promotion: each is reported when it begins and when it ends, and a release's are in the journal."""

from pathlib import Path

import pytest

from pushrod.core.errors import Expired, Interrupted, ReadyError
from pushrod.releases.steps import FAILURES, Steps
from pushrod.state.journal import Journal


class Heard:
    """Whoever watches."""

    def __init__(self) -> None:
        self.events: list[tuple[str, ...]] = []

    def begin(self, step: str, detail: str) -> None:
        self.events.append(("begin", step, detail))

    def end(self, step: str, detail: str, took: float) -> None:
        assert took >= 0
        self.events.append(("end", step, detail))

    def fail(self, step: str, took: float) -> None:
        assert took >= 0
        self.events.append(("fail", step))

    def line(self, text: str) -> None:
        self.events.append(("line", text))

    def note(self, text: str) -> None:
        self.events.append(("note", text))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


def test_a_step_of_a_release_is_reported_and_recorded(journal: Journal) -> None:
    recorder = Heard()
    with Steps(recorder, journal).step("release", "alembic", 7) as step:
        step.detail, step.migrated = "alembic upgrade head", True
    assert recorder.events == [("begin", "release", "alembic"), ("end", "release", "alembic upgrade head")]
    (entry,) = journal.entries()
    assert (entry.event, entry.release, entry.step, entry.migrated) == ("step", 7, "release", True)


def test_a_step_without_a_release_is_not_recorded(journal: Journal) -> None:
    with Steps(Heard(), journal).step("plan", "nothing changed"):
        pass
    assert journal.entries() == []


@pytest.mark.parametrize("kind", [ReadyError, OSError, KeyboardInterrupt, Interrupted, Expired])
def test_a_failed_step_is_reported_and_not_recorded(journal: Journal, kind: type[BaseException]) -> None:
    assert issubclass(kind, FAILURES)
    recorder = Heard()
    with pytest.raises(kind), Steps(recorder, journal).step("ready", "1 of 1", 7):
        raise kind("ended at boot")
    assert recorder.events == [("begin", "ready", "1 of 1"), ("fail", "ready")]
    assert journal.entries() == []
