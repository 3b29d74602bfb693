"""Taking, verifying and restoring backups."""

import contextlib
import dataclasses
import io
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
import pytest

from pushrod.adapters import dumps
from pushrod.backups import catalogue, operations
from pushrod.backups.destination import Draft, Record
from pushrod.cli.output import Steps
from pushrod.core.errors import PushrodError, StateError, StoreError
from pushrod.core.values import Release, Schedule
from pushrod.engines import registry
from pushrod.state.apps import App, Root
from pushrod.state.journal import Journal
from pushrod.stores.backup_drivers import Archive
from pushrod.system import locks
from pushrod.system.streams import Measured, Sink, Source
from tests.unit.backups.test_catalogue import HOUR, make, make_live
from tests.unit.engines.memory import Memory, NoStores
from tests.unit.samples import release

# ---- small things -------------------------------------------------------------------------------------------------


def test_a_difference_is_reported_by_table() -> None:
    reported = dumps.difference({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4})
    assert reported == "b 3 instead of 2, c 4 instead of none"


def test_two_backups_of_one_second_have_different_names(app: App, tmp_path: Path) -> None:
    at = "2026-11-23T05:56:45.515+00:00"
    maker = operations.Backups(app, None, None)  # type: ignore[arg-type]
    assert maker._free_name(at) == "2026-11-23T05-56-45Z"
    (app.backups / "2026-11-23T05-56-45Z").mkdir(parents=True)
    assert maker._free_name(at) == "2026-11-23T05-56-46Z"


# ---- all of them --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hours", "reported"), [(25, []), (49, [13])])
def test_a_busy_app_fails_the_round_only_if_its_backup_is_late(
    app: App,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    hours: int,
    reported: list[int],
) -> None:
    """The timer runs again in an hour, so only a backup that is already late is an error."""
    monkeypatch.setattr(operations, "_BUSY", 0.0)
    make_live(app, since=99 * 24 * HOUR, backups=Schedule("day"))
    make(app, hours * HOUR)
    with locks.lock(app.lock, purpose="deploying", timeout=0):
        result = list(operations.all_due(registry.of(app.root), [app], Steps()))
    assert [e.exit_code for e in result if isinstance(e, PushrodError)] == reported
    assert [e.app for e in result if isinstance(e, PushrodError)] == ["shop" for _ in reported]
    assert "shop is skipped until the next run" in capsys.readouterr().err


def test_an_error_of_a_round_names_its_app(app: App) -> None:
    app.journal.write_text("garbage\n")
    (error,) = operations.all_due(registry.of(app.root), [app], Steps())
    assert isinstance(error, StateError)
    assert error.app == "shop"
    assert error.where.startswith("app shop: ")


def test_what_nobody_expected_of_one_app_does_not_end_the_round(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    def due(which: App) -> bool:
        if which.name == "shop":
            raise ZeroDivisionError("answers of its image")
        raise StoreError("its record is damaged")

    monkeypatch.setattr(catalogue, "due", due)
    other = App(app.root, "zoo")
    errors = list(operations.all_due(registry.of(app.root), [app, other], Steps()))
    assert all(isinstance(error, PushrodError) for error in errors)
    assert [error.app for error in errors] == ["shop", "zoo"]
    assert "ZeroDivisionError: answers" in str(errors[0])


# ---- a destination elsewhere --------------------------------------------------------------------------------------


class Elsewhere:
    """A destination without any file on this machine: `kept` maps each backup to its files and its record."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, bytes]] = {}

    def names(self) -> list[str]:
        """As `Destination.names`."""
        return sorted(self.kept, reverse=True)

    def taken(self, name: str) -> bool:
        """As `Destination.taken`."""
        return name in self.kept

    def record(self, name: str, shape: type[Record]) -> Record:
        """As `Destination.record`."""
        return msgspec.json.decode(self.kept[name]["record"], type=shape)

    def where(self, name: str, file: str) -> str:
        """As `Destination.where`."""
        return f"elsewhere:{name}/{file}"

    @contextlib.contextmanager
    def read(self, name: str, file: str) -> Iterator[Source]:
        """As `Destination.read`."""
        yield io.BytesIO(self.kept[name][file])

    @contextlib.contextmanager
    def begin(self) -> Iterator[Draft]:
        """As `Destination.begin`."""
        yield Unfinished(self.kept)

    def remove(self, name: str) -> None:
        """As `Destination.remove`."""
        del self.kept[name]


class Unfinished:
    """A backup that is being written to `Elsewhere`."""

    def __init__(self, kept: dict[str, dict[str, bytes]]) -> None:
        self._kept = kept
        self._files: dict[str, bytes] = {}

    @contextlib.contextmanager
    def write(self, file: str) -> Iterator[Measured]:
        """As `Draft.write`."""
        content = io.BytesIO()
        yield Measured(content)
        self._files[file] = content.getvalue()

    @contextlib.contextmanager
    def read(self, file: str) -> Iterator[Source]:
        """As `Draft.read`."""
        yield io.BytesIO(self._files[file])

    def finish(self, name: str, record: bytes) -> None:
        """As `Draft.finish`."""
        self._kept[name] = {**self._files, "record": record}


class Counter:
    """A store with one table."""

    store, suffix, logged = "counter", "txt", None

    def __init__(self) -> None:
        self.rows = 3

    def version(self) -> str:
        """As `Archive.version`."""
        return "1"

    def save(self, sink: Sink) -> dict[str, int]:
        """As `Archive.save`."""
        sink.write(b"row\n" * self.rows)
        return {"rows": self.rows}

    def check(self, source: Source) -> None:
        """As `Archive.check`."""

    def rehearse(self, source: Source) -> dict[str, int]:
        """As `Archive.rehearse`."""
        return {"rows": source.read(1 << 16).count(b"\n")}

    def restore(self, source: Source, rows: dict[str, int]) -> str:
        """As `Archive.restore`."""
        self.rows = source.read(1 << 16).count(b"\n")
        return "the previous counter"


class Stores(NoStores):
    """One counter."""

    def __init__(self) -> None:
        self.counter = Counter()

    def archives(self, app: App, release: Release, *, ddl: bool) -> Sequence[Archive]:
        """The counter."""
        return (self.counter,)


@pytest.mark.parametrize(
    ("first", "migrated", "command", "expected"),
    [
        (1, [3], True, "release 3 changed the schema after this backup of release 2"),
        (1, [2], True, None),
        (3, [], True, None),
        (4, [], True, "releases before 4 are no longer in the journal"),
        (4, [], False, None),
    ],
)
def test_a_restored_backup_may_be_older_than_the_schema(
    root: Root, app: App, first: int, migrated: list[int], command: bool, expected: str | None
) -> None:
    """The journal is shortened, so it may no longer list the releases that followed the backup."""
    maker = operations.Backups(app, Memory(root).engine, Steps())
    for number in range(first, 7):
        Journal(app.journal).append("live", number, migrated=number in migrated)
    service = msgspec.structs.replace(release(6).services[0], release=("migrate",) if command else ())
    live = release(6, services=(service,))
    backup = catalogue.find(app, make(app, release=2))
    messages = maker._migrated(backup, live)
    assert [m.startswith(expected or "") for m in messages] == ([True] if expected else [])


def test_a_destination_needs_no_file_on_this_machine(
    root: Root, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, stores = Elsewhere(), Stores()
    monkeypatch.setattr(catalogue, "place", lambda _app: elsewhere)
    engine = dataclasses.replace(Memory(root).engine, stores=stores)
    make_live(app, backups=Schedule("day", keep=2))
    backups = operations.Backups(app, engine, Steps())

    first = backups.take()
    assert catalogue.listed(app) == [first]
    (verified,) = backups.verify()
    assert (verified.rows, verified.tables) == (3, 1)

    stores.counter.rows = 5
    backups.restore(first.name)
    assert stores.counter.rows == 3
    assert [b.files[0].rows["rows"] for b in catalogue.listed(app)] == [5, 3]

    backups.take()
    assert [b.files[0].rows["rows"] for b in catalogue.listed(app)] == [3, 5]
    newest = catalogue.listed(app)[0].name
    elsewhere.kept[newest]["counter.txt"] += b"row\n"
    with pytest.raises(StoreError, match="the file has changed since the backup") as caught:
        backups.verify()
    assert caught.value.where == f"elsewhere:{newest}/counter.txt"
    assert not app.backups.exists()


def test_a_store_that_says_too_much_of_itself_is_not_backed_up(
    root: Root, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The records of all backups are read for metrics, every few seconds."""
    stores = Stores()
    engine = dataclasses.replace(Memory(root).engine, stores=stores)
    make_live(app, backups=Schedule("day"))
    for version in ("x" * (5 << 20), "1"):
        monkeypatch.setattr(stores.counter, "version", lambda version=version: version)
        monkeypatch.setattr(operations, "_RECORD", 4 << 20 if version != "1" else 10)
        with pytest.raises(StoreError, match="too much for the backup's record"):
            operations.Backups(app, engine, Steps()).take()
    assert catalogue.listed(app) == []


@pytest.mark.parametrize(
    ("taken", "here", "is_newer"),
    [("99.1", "18.6", True), ("18.7", "18.6", False), ("17.2", "18.6", False), ("0a1b2c", "0a1b2d", False)],
)
def test_a_file_of_a_newer_major_version_that_cannot_be_read_is_named_so(
    root: Root, app: App, monkeypatch: pytest.MonkeyPatch, taken: str, here: str, is_newer: bool
) -> None:
    stores = Stores()
    make_live(app, backups=Schedule("day"))
    backups = operations.Backups(app, dataclasses.replace(Memory(root).engine, stores=stores), Steps())
    monkeypatch.setattr(stores.counter, "version", lambda: taken)
    backups.take()
    monkeypatch.setattr(stores.counter, "version", lambda: here)
    newer = f"counter.txt is from version {taken}, and the store runs {here}, which cannot read it"
    for command, step in ((backups.verify, "rehearse"), (partial(backups.restore, ""), "restore")):
        with monkeypatch.context() as patch:
            patch.setattr(stores.counter, step, _unreadable)
            with pytest.raises(StoreError) as caught:
                command()
        assert caught.value.what == (newer if is_newer else "unsupported version in file header")


def _unreadable(*_: object) -> None:
    raise StoreError("unsupported version in file header")
