"""Which deployments send notices, when, and how."""

from pathlib import Path

import pytest

from pushrod.observe import announcements
from pushrod.observe.alarms import Alarm
from pushrod.observe.outbox import Outbox
from pushrod.observe.recipients import Recipient, Recipients
from pushrod.state.apps import App, Root
from pushrod.state.journal import Entry, Journal
from pushrod.state.secrets import Secrets


def entry(second: int, event: str, release: int = 1, **more: str) -> Entry:
    return Entry(f"2026-11-01T10:00:{second:02}.000+00:00", event, release, **more)  # type: ignore[arg-type]


DEPLOYED = [
    entry(1, "prepare", by="ann"),
    entry(5, "promote"),
    entry(9, "step"),
    entry(11, "live"),
    entry(12, "done"),
]
ROLLED_BACK = [entry(20, "promote", by="bob"), entry(21, "live")]


@pytest.fixture
def announced(root: Root, app: App) -> list[str]:
    """There is a recipient; returns what it gets, by each call of `collected`."""
    Recipients(root).add(Recipient("team", "https://hooks.example.com/x"))
    announcements.begin(root)
    return []


def collected(root: Root) -> list[dict[str, str]]:
    announcements.collect(root)
    notices = [n.facts for n in Outbox(root).waiting()]
    (root.path / "alarm" / "waiting.json").unlink(missing_ok=True)
    return notices


def test_a_deployment_lasts_from_its_first_event_to_live() -> None:
    (one, other) = announcements.ended(DEPLOYED + ROLLED_BACK, "")
    assert (one.began.at[17:19], one.began.by, one.end.event) == ("01", "ann", "live")
    assert (other.began.at[17:19], other.began.by) == ("20", "bob")
    assert list(announcements.ended(DEPLOYED, DEPLOYED[3].at)) == []
    assert list(announcements.ended([entry(1, "live")], "")) == []  # a journal that was begun again


def test_each_deployment_is_told_once(root: Root, app: App, announced: list[str]) -> None:
    journal = Journal(app.journal)
    journal.append("prepare", 1, commit="c" * 40, by="ann")
    assert collected(root) == []
    journal.append("live", 1, commit="c" * 40)
    (facts,) = collected(root)
    assert (facts["state"], facts["release"], facts["by"], facts["commit"]) == ("live", "1", "ann", "c" * 40)
    assert facts["text"].startswith(f"[{facts['host']}] shop: release 1 (ccccccc) by ann is live after ")
    assert collected(root) == []


def test_a_failure_is_told_with_its_reason_and_without_secrets(
    root: Root, app: App, announced: list[str]
) -> None:
    Secrets(app).store({"TOKEN": "very-secret-value"})
    journal = Journal(app.journal)
    journal.append("prepare", 2, commit="d" * 40)
    journal.append("failed", 2, why="it printed very-secret-value")
    (facts,) = collected(root)
    assert (facts["state"], "it printed" in facts["why"]) == ("failed", True)
    assert all("very-secret" not in value for value in facts.values())


def test_what_was_before_is_not_told(root: Root, app: App) -> None:
    journal = Journal(app.journal)
    journal.append("prepare", 1, commit="c" * 40)
    journal.append("live", 1)
    Recipients(root).add(Recipient("team", "https://hooks.example.com/x"))
    assert collected(root) == []


def test_a_damaged_journal_does_not_hide_other_apps(root: Root, app: App, announced: list[str]) -> None:
    other = App(root, "aaa")
    other.directory.mkdir()
    other.journal.write_text("garbage\n")
    journal = Journal(app.journal)
    journal.append("prepare", 1, commit="c" * 40)
    journal.append("live", 1)
    assert [facts["app"] for facts in collected(root)] == ["shop"]


def test_whether_there_are_recipients(root: Root, app: App, tmp_path: Path) -> None:
    assert not announcements.has_recipients(root, app)
    Recipients(root).add(Recipient("team", "https://hooks.example.com/x", apps=("blog",)))
    assert not announcements.has_recipients(root, app)
    Recipients(root).add(Recipient("all", "https://hooks.example.com/x"))
    assert announcements.has_recipients(root, app)


def test_the_recipient_of_alarms_gets_no_deployments(root: Root, app: App) -> None:
    Alarm(root).set("mailto:ann@example.com")
    announcements.begin(root)
    assert not announcements.has_recipients(root, app)
    journal = Journal(app.journal)
    journal.append("prepare", 1, commit="c" * 40)
    journal.append("live", 1)
    assert collected(root) == []
    assert Outbox(root).put({"kind": "alarm", "text": "x"}, "shop") == 1
