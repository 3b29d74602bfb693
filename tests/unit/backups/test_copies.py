"""The record of copies in a vault, and what is due or late."""

import datetime
from pathlib import Path

import pytest

from pushrod.backups import copies
from pushrod.backups.catalogue import PERIODS
from pushrod.backups.copies import Copy
from pushrod.core.errors import StoreError
from pushrod.core.values import Schedule
from pushrod.state.apps import App, Root, Settings
from pushrod.state.vaults import Vault, Vaults
from tests.unit import samples

NAME = "2026-11-23T05-56-45Z"


def ago(days: float) -> str:
    at = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)
    return at.isoformat(timespec="milliseconds")


def a_copy(days: float = 0, backup: str = NAME, *, proved: bool = True) -> Copy:
    at = ago(days)
    return Copy("shop", "default", f"s{days}", at, backup, 10, 1, at, at if proved else "")


@pytest.fixture
def app(tmp_path: Path) -> App:
    made = App(Root(tmp_path), "shop")
    Vaults(made.root).save(Vault(name="default", url="/mnt/far", password="p", created=""))
    made.directory.mkdir(parents=True)
    made.save(Settings("shop", 8000, "embedded", ""))
    return made


def test_the_newest_is_first_and_a_failure_lasts_until_the_next_success(app: App) -> None:
    copies.succeeded(app, a_copy(2))
    copies.failed(app, StoreError("no room", where="vault default"))
    first = copies.ledger(app).failure
    copies.failed(app, StoreError("still no room", where="vault default"))
    later = copies.ledger(app).failure
    assert first and later and (later.at, later.what) == (first.at, "still no room")
    copies.succeeded(app, a_copy(0, proved=False))
    assert copies.ledger(app).failure is None
    assert [c.proved for c in copies.ledger(app).copies] == ["", copies.proved(app)]
    assert copies.of(copies.ledger(app), NAME) == copies.ledger(app).copies[0]


@pytest.mark.parametrize(
    ("schedule", "last", "newest", "due"),
    [
        ({}, None, "", True),
        ({}, a_copy(0.1), NAME, False),
        ({}, a_copy(0.1), "2026-11-23T06-00-00Z", True),  # there is a newer backup
        ({}, a_copy(1.1), NAME, True),
        ({}, a_copy(-5), NAME, True),  # the clock was set back since
        ({"every": "week"}, a_copy(1.1), NAME, False),
        ({"every": "never"}, None, "", False),
        ({"to": "none"}, None, "", False),
        ({"to": "far"}, a_copy(0.1), NAME, True),  # in another vault, named before that took a grant
    ],
)
def test_when_the_next_is_due(
    app: App, schedule: dict[str, str], last: Copy | None, newest: str, due: bool
) -> None:
    if last:
        copies.succeeded(app, last)
    release = samples.release(1, stores=(samples.store(),), backups=Schedule(**schedule))  # type: ignore[arg-type]
    assert copies.due(app, release, PERIODS, newest) is due
    copies.failed(app, StoreError("no room"))
    assert copies.due(app, release, PERIODS, newest) is (
        schedule.get("every") != "never" and schedule.get("to") != "none"
    )


def test_an_app_without_a_store_is_copied_daily(app: App) -> None:
    release = samples.release(1, stores=(), backups=Schedule("never"))
    copies.succeeded(app, a_copy(0.5, ""))
    assert not copies.due(app, release, PERIODS, "")
    copies.succeeded(app, a_copy(1.5, ""))
    assert copies.due(app, release, PERIODS, "")


def test_another_place_of_the_same_name_has_no_copy_yet(app: App) -> None:
    """Neither of an app nor of the host's own files."""
    release = samples.release(1, stores=(samples.store(),), backups=Schedule())
    for whose in (app, app.root):
        copies.succeeded(whose, a_copy(0.2))
    assert not copies.due(app, release, PERIODS, NAME) and not copies.host_due(app.root)
    Vaults(app.root).save(Vault(name="default", url="/mnt/other", password="p", created=ago(0.1)))
    assert copies.due(app, release, PERIODS, NAME) and copies.host_due(app.root)


@pytest.mark.parametrize(
    ("last", "state", "detail"),
    [
        (None, "warning", "no backup has been copied to a vault and proved yet"),
        (a_copy(0.1, proved=False), "warning", "no backup has been copied to a vault and proved yet"),
        (a_copy(1.9), "", ""),
        (a_copy(2.1), "broken", "the last proven backup is from "),
    ],
)
def test_a_proof_of_more_than_two_periods_ago_is_late(
    app: App, last: Copy | None, state: str, detail: str
) -> None:
    release = samples.release(1, stores=(samples.store(),), backups=Schedule())
    if last:
        copies.succeeded(app, last)
    result = [(d.what, d.state, d.detail[: len(detail)]) for d in copies.examine(app, release, PERIODS)]
    assert result == ([("app shop", state, detail)] if state else [])
