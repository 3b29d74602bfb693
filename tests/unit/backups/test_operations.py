"""What is done with backups."""

from pathlib import Path

import pytest

from pushrod.backups import operations
from pushrod.cli.output import Steps
from pushrod.core.errors import PushrodError, StateError
from pushrod.core.values import Schedule
from pushrod.engines import registry
from pushrod.state.apps import App
from pushrod.system import locks
from tests.unit.backups.test_catalogue import HOUR, make, make_live

# ---- small things -------------------------------------------------------------------------------------------------


def test_a_difference_is_told_by_table() -> None:
    told = operations._difference({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4})
    assert told == "b 3 instead of 2, c 4 instead of none"


def test_the_names_of_one_second_are_different(app: App, tmp_path: Path) -> None:
    at = "2026-11-23T05:56:45.515+00:00"
    maker = operations.Backups(app, None, None)  # type: ignore[arg-type]
    assert maker._free_name(at) == "2026-11-23T05-56-45Z"
    (app.backups / "2026-11-23T05-56-45Z").mkdir(parents=True)
    assert maker._free_name(at) == "2026-11-23T05-56-46Z"


# ---- all of them --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hours", "told"), [(25, []), (49, [13])])
def test_an_app_that_is_busy_fails_the_round_only_once_its_backup_is_late(
    app: App, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], hours: int, told: list[int]
) -> None:
    """The timer runs again in an hour; whoever monitors it wants to know about what cannot be made up for."""
    monkeypatch.setattr(operations, "_BUSY", 0.0)
    make_live(app, since=99 * 24 * HOUR, backups=Schedule("day"))
    make(app, hours * HOUR)
    with locks.lock(app.lock, purpose="deploying", timeout=0):
        found = list(operations.all_due(registry.of(app.root), [app], Steps()))
    assert [e.exit_code for e in found if isinstance(e, PushrodError)] == told
    assert [e.app for e in found if isinstance(e, PushrodError)] == ["shop" for _ in told]
    assert "shop is skipped until the next run" in capsys.readouterr().err


def test_an_error_of_a_round_says_whose_it_is(app: App) -> None:
    app.journal.write_text("garbage\n")
    (error,) = operations.all_due(registry.of(app.root), [app], Steps())
    assert isinstance(error, StateError)
    assert error.app == "shop"
    assert error.where.startswith("app shop: ")
