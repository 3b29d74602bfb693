"""Existing backups, due backups, and missed ones."""

import datetime
from typing import Any

import msgspec
import pytest

from pushrod.backups import catalogue
from pushrod.core.errors import StateError, UnknownNameError
from pushrod.core.values import Schedule
from pushrod.observe import diagnostics, status
from pushrod.state import releases
from pushrod.state.apps import App
from pushrod.state.journal import Journal
from pushrod.state.releases import Releases
from pushrod.system import files
from tests.unit.samples import COMMIT, release, store

HOUR = 3600.0


def ago(seconds: float) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds)


def make(app: App, seconds: float = 0.0, **changes: Any) -> str:
    """A backup of that age, as files; returns its name."""
    at = ago(seconds)
    name = f"{at:%Y-%m-%dT%H-%M-%SZ}"
    file = catalogue.File("postgres", "postgres.dump", "18.6", 3, "digest", {"public.goods": 3})
    given: dict[str, Any] = {
        "app": app.name,
        "name": name,
        "at": at.isoformat(),
        "release": 1,
        "commit": COMMIT,
    }
    result = catalogue.Backup(**(given | {"engine": "docker", "files": (file,)} | changes))
    files.write(app.backups / name / "backup.json", msgspec.json.encode(result))
    return name


def make_live(app: App, *, since: float = 0.0, **changes: Any) -> None:
    Releases(app).seal(release(1, **{"engine": "docker", **changes}))
    for event in ("prepare", "promote", "live", "done"):
        Journal(app.journal).append(event, 1, commit=COMMIT)
    text = app.journal.read_text()
    (at,) = {line["at"] for line in map(msgspec.json.decode, text.splitlines()) if line["event"] == "live"}
    app.journal.write_text(text.replace(at, ago(since).isoformat(timespec="milliseconds")))
    app.save(msgspec.structs.replace(app.settings, down=False))


# ---- what there is ------------------------------------------------------------------------------------------------


def test_the_newest_backup_is_first_and_incomplete_ones_are_omitted(app: App) -> None:
    assert catalogue.listed(app) == []
    names = [make(app, seconds) for seconds in (2 * HOUR, 0.0, HOUR)]
    (app.backups / ".new").mkdir()
    (app.backups / "2026-01-01T00-00-00Z").mkdir()
    (app.backups / "notes").mkdir()
    assert [b.name for b in catalogue.listed(app)] == [names[1], names[2], names[0]]


def test_a_backup_is_found_by_the_beginning_of_its_name(app: App) -> None:
    with pytest.raises(UnknownNameError, match=r"^no backup$"):
        catalogue.find(app)
    old, new = make(app, 800 * 24 * HOUR), make(app)
    assert catalogue.find(app).name == new
    assert catalogue.find(app, old[:4]).name == old
    assert catalogue.find(app, new).name == new
    with pytest.raises(UnknownNameError, match="2 backups begin with `2`"):
        catalogue.find(app, "2")
    with pytest.raises(UnknownNameError, match=r"no backup `\.\./"):
        catalogue.find(app, "../secrets")


@pytest.mark.parametrize("name", ["../../zoo/backups/2026-11-23T05-56-45Z", "/etc", "..", "a/b", ""])
def test_a_record_names_no_file_elsewhere(app: App, name: str) -> None:
    """It may have come back from a vault; what it names would be restored into the app's database."""
    file = catalogue.File(store="postgres", name=name, version="18.6", bytes=3, sha256="digest")
    for changes in ({"files": (file,)}, {"name": name}):
        made = make(app)
        record = catalogue.Backup(**msgspec.structs.asdict(catalogue.find(app)) | changes)
        files.write(app.backups / made / "backup.json", msgspec.json.encode(record))
        with pytest.raises(StateError, match="cannot be read"):
            catalogue.find(app)
        files.remove_tree(app.backups / made)  # a later second gives the next one another name


def test_an_unreadable_record_is_an_error_with_its_place(app: App) -> None:
    name = make(app)
    (app.backups / name / "backup.json").write_text("{")
    with pytest.raises(StateError, match="cannot be read"):
        catalogue.listed(app)


# ---- what is due --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("every", "seconds", "due"),
    [
        ("hour", 0.5 * HOUR, False),
        ("hour", 0.9 * HOUR, True),  # the timer runs some minutes early or late
        ("day", 23 * HOUR, False),
        ("day", 24 * HOUR, True),
        ("week", 6.9 * 24 * HOUR, False),
        ("week", 7 * 24 * HOUR, True),
        ("never", 9000 * HOUR, False),
    ],
)
def test_an_app_is_due_when_its_last_backup_is_a_period_ago(
    app: App, every: Any, seconds: float, due: bool
) -> None:
    make_live(app, backups=Schedule(every))
    assert catalogue.due(app) is (every != "never")
    make(app, seconds)
    assert catalogue.due(app) is due


def test_a_clock_that_was_set_back_delays_no_backup_and_hides_none(app: App) -> None:
    make_live(app, backups=Schedule("day", 2))
    assert catalogue.newest(app) is None
    future = make(app, -99 * 24 * HOUR)
    assert catalogue.due(app)
    assert [d.state for d in catalogue.examine(app, releases.live(app))] == ["warning"]
    assert catalogue.newest(app) == catalogue.listed(app)[0]
    older, present = make(app, HOUR), make(app)
    assert not list(catalogue.examine(app, releases.live(app)))
    assert [b.name for b in catalogue.listed(app)] == [present, older, future]
    assert catalogue.newest(app) == catalogue.listed(app)[0]
    assert catalogue.find(app).name == present
    assert not catalogue.due(app)


def test_an_app_without_data_to_back_up_is_never_due(app: App) -> None:
    assert not catalogue.due(app)  # nothing is live
    make_live(app, stores=(store("db", image="mongo:8", store=None),))
    assert not catalogue.due(app)


def test_an_app_that_is_down_is_not_due_and_not_late(app: App) -> None:
    make_live(app, since=99 * 24 * HOUR)
    assert catalogue.due(app)
    app.save(msgspec.structs.replace(app.settings, down=True))
    assert not catalogue.due(app)
    assert not list(catalogue.examine(app, releases.live(app)))


# ---- what is missed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hours", "late"), [(47, False), (49, True)])
def test_a_backup_of_more_than_two_periods_ago_is_late(app: App, hours: int, late: bool) -> None:
    make_live(app, since=99 * 24 * HOUR)
    make(app, hours * HOUR)
    result = list(catalogue.examine(app, releases.live(app)))
    assert [f.state for f in result] == (["warning"] if late else [])


@pytest.mark.parametrize(("hours", "late"), [(47, False), (49, True)])
def test_a_first_backup_that_never_ran_is_late(app: App, hours: int, late: bool) -> None:
    make_live(app, since=hours * HOUR)
    result = list(catalogue.examine(app, releases.live(app)))
    assert [f.detail for f in result] == (
        ["there is no backup; the manifest asks for one every day"] if late else []
    )


def test_on_the_embedded_engine_only_an_app_with_backups_can_be_late(app: App) -> None:
    make_live(app, since=99 * 24 * HOUR, engine="embedded")
    assert not list(catalogue.examine(app, releases.live(app)))
    make(app, 49 * HOUR, engine="embedded")
    assert len(list(catalogue.examine(app, releases.live(app)))) == 1


@pytest.mark.slow
def test_doctor_and_status_report_a_late_backup(app: App) -> None:
    make_live(app, since=99 * 24 * HOUR, engine="embedded")
    make(app, 49 * HOUR)
    details = [
        f.detail for f in diagnostics.examine(app.root) if f.what == "app shop" and "backup" in f.detail
    ]
    assert len(details) == 1
    (warning,) = status.of(app, ()).warnings
    assert warning.startswith(details[0])
    make(app)
    assert status.of(app, ()).warnings == ()
