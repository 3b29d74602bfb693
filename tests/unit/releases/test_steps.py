"""Steps of a promotion: each is told when it begins and how it ends, and a release's are in the journal."""

from pathlib import Path

import pytest

from pushrod.core.errors import ReadyError
from pushrod.releases.steps import FAILURES, Steps
from pushrod.state.journal import Journal


class Heard:
    """Whoever watches."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    def begin(self, step: str, detail: str) -> None:
        self.told.append(("begin", step, detail))

    def end(self, step: str, detail: str, took: float) -> None:
        assert took >= 0
        self.told.append(("end", step, detail))

    def fail(self, step: str, took: float) -> None:
        assert took >= 0
        self.told.append(("fail", step))

    def line(self, text: str) -> None:
        self.told.append(("line", text))

    def note(self, text: str) -> None:
        self.told.append(("note", text))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


def test_a_step_of_a_release_is_told_and_recorded(journal: Journal) -> None:
    heard = Heard()
    with Steps(heard, journal).step("release", "alembic", 7) as step:
        step.detail, step.migrated = "alembic upgrade head", True
    assert heard.told == [("begin", "release", "alembic"), ("end", "release", "alembic upgrade head")]
    (entry,) = journal.entries()
    assert (entry.event, entry.release, entry.step, entry.migrated) == ("step", 7, "release", True)


def test_a_step_of_no_release_leaves_the_journal_alone(journal: Journal) -> None:
    with Steps(Heard(), journal).step("plan", "nothing changed"):
        pass
    assert journal.entries() == []


@pytest.mark.parametrize("kind", [ReadyError, OSError, KeyboardInterrupt])
def test_a_step_that_fails_says_so_and_is_not_recorded(journal: Journal, kind: type[BaseException]) -> None:
    assert issubclass(kind, FAILURES)
    heard = Heard()
    with pytest.raises(kind), Steps(heard, journal).step("ready", "1 of 1", 7):
        raise kind("ended at boot")
    assert heard.told == [("begin", "ready", "1 of 1"), ("fail", "ready")]
    assert journal.entries() == []
