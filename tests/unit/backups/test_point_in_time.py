"""Which base backup and which part of the log lead to a time, and which times cannot be restored."""

import dataclasses
import datetime
from pathlib import Path

import msgspec
import pytest

from pushrod.backups import point_in_time, wal, wal_receiving
from pushrod.backups.point_in_time import PointInTime
from pushrod.backups.wal import Base, Gap, State, Turn
from pushrod.cli.output import Steps
from pushrod.core.errors import StoreError, UnknownNameError
from pushrod.core.values import Release, Schedule
from pushrod.state import releases
from pushrod.state.apps import App, Root
from pushrod.system import files
from tests.unit.backups.test_catalogue import make_live
from tests.unit.backups.test_wal_receiving import Server, Stores
from tests.unit.engines.memory import Memory
from tests.unit.samples import store

SIZE = 16 << 20
FIRST, SECOND = (
    Base(name, f"2026-11-22T{hour}:00:00.000000+00:00", begin * SIZE + 40, 3, "")
    for name, hour, begin in (("a", 10, 2), ("b", 14, 7))
)
STATE = State(
    system="7",
    timeline=1,
    segment_size=SIZE,
    major="18",
    end=9 * SIZE + 5,
    at="2026-11-22T16:00:00.000000+00:00",
    bases=(FIRST, SECOND),
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "bases").mkdir()
    for base in STATE.bases:
        (tmp_path / "bases" / f"{base.name}.tar").touch()
    return tmp_path


def chosen(state: State, place: Path, until: str) -> tuple[str, list[int]]:
    """The base backup, and the numbers of the segments."""
    result = point_in_time.choose(Server(), state, place, "db", until)
    return result.base.stem, [int(name[16:], 16) for name, _ in result.log]


@pytest.mark.parametrize(
    ("until", "base", "segments"),
    [
        ("2026-11-22T10:00:00.000000+00:00", "a", [2, 3, 4, 5, 6, 7, 8, 9]),
        ("2026-11-22T13:59:59.999999+00:00", "a", [2, 3, 4, 5, 6, 7, 8, 9]),
        ("2026-11-22T14:00:00.000000+00:00", "b", [7, 8, 9]),
        ("2026-11-22T16:00:00.000000+00:00", "b", [7, 8, 9]),
        ("", "b", [7, 8, 9]),
    ],
)
def test_the_newest_base_backup_before_a_time_is_chosen(
    place: Path, until: str, base: str, segments: list[int]
) -> None:
    assert chosen(STATE, place, until) == (base, segments)


def test_a_base_backup_that_is_not_there_is_not_chosen(place: Path) -> None:
    (place / "bases" / "b.tar").unlink()
    assert chosen(STATE, place, "")[0] == "a"


@pytest.mark.parametrize(
    ("until", "words"),
    [
        ("2026-11-22T09:59:59.000000+00:00", "is before the first base backup, of 2026-11-22 10:00:00 UTC"),
        ("2026-11-22T16:00:01.000000+00:00", "up to 2026-11-22 16:00:00 UTC only"),
    ],
)
def test_a_time_outside_the_log_is_refused(place: Path, until: str, words: str) -> None:
    with pytest.raises(StoreError, match=words):
        point_in_time.choose(Server(), STATE, place, "db", until)
    with pytest.raises(StoreError, match="no base backup"):
        point_in_time.choose(Server(), msgspec.structs.replace(STATE, bases=()), place, "db", until)


def test_a_gap_ends_what_the_base_backup_before_it_can_restore(place: Path) -> None:
    gap = Gap(4 * SIZE + 9, 6 * SIZE, "2026-11-22T12:00:00.000000+00:00", "2026-11-22T13:00:00.000000+00:00")
    state = msgspec.structs.replace(STATE, gaps=(gap,))
    assert chosen(state, place, "2026-11-22T12:00:00.000000+00:00") == ("a", [2, 3, 4])
    for until in ("2026-11-22T12:30:00.000000+00:00", "2026-11-22T13:30:00.000000+00:00"):
        with pytest.raises(
            StoreError,
            match="gap after the base backup, from 2026-11-22 12:00:00 UTC to 2026-11-22 13:00:00 UTC",
        ):
            point_in_time.choose(Server(), state, place, "db", until)
    assert chosen(state, place, "2026-11-22T15:00:00.000000+00:00") == ("b", [7, 8, 9])


def test_a_time_that_the_log_has_twice_is_refused_until_there_is_a_base_backup_after_the_clock_was_set_back(
    place: Path,
) -> None:
    turn = Turn(6 * SIZE, "2026-11-22T18:00:00.000000+00:00", "2026-11-22T12:00:00.000000+00:00")
    state = msgspec.structs.replace(STATE, turn=turn)
    assert chosen(state, place, "2026-11-22T11:59:59.000000+00:00")[0] == "a"
    with pytest.raises(StoreError, match="set back from 2026-11-22 18:00:00 UTC to 2026-11-22 12:00:00 UTC"):
        point_in_time.choose(Server(), state, place, "db", "2026-11-22T13:00:00.000000+00:00")
    for until in ("2026-11-22T15:00:00.000000+00:00", ""):
        assert chosen(state, place, until)[0] == "b"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-01-22 14:03:07", "2026-01-22T14:03:07.000000+00:00"),
        ("2026-01-22T14:03", "2026-01-22T14:03:00.000000+00:00"),
        ("2026-01-22 14:03:07.5+01:00", "2026-01-22T13:03:07.500000+00:00"),
        ("latest", ""),
    ],
)
def test_a_time_is_in_utc_unless_it_says_otherwise(text: str, at: str) -> None:
    assert point_in_time.moment(text) == at


def test_text_that_is_no_time_and_a_time_to_come_are_refused() -> None:
    edges = ("0001-01-01 00:00:00+23:00", "9999-12-31 23:59:59-23:00")
    for text in ("yesterday", "", "14:03", "2026-13-01 00:00:00", *edges):
        with pytest.raises(UnknownNameError, match="is not a time"):
            point_in_time.moment(text)
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=2)
    with pytest.raises(UnknownNameError, match="in the future"):
        point_in_time.moment(f"{soon:%Y-%m-%d %H:%M:%S}")


# ---- recovering ---------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def stores(server: Server) -> Stores:
    return Stores(server)


@pytest.fixture
def recovery(app: App, root: Root, stores: Stores) -> tuple[PointInTime, Release]:
    """An app with a base backup and a log."""
    make_live(app, stores=(store("db"),), backups=Schedule("day", wal=True))
    release = releases.live(app)
    assert release is not None
    engine = dataclasses.replace(Memory(root).engine, stores=stores)
    wal_receiving.receive(app, engine, release)
    wal_receiving.take_bases(app, engine, release)
    return PointInTime(app, engine, Steps()), release


def test_a_database_is_recovered_in_place_or_beside(
    app: App, recovery: tuple[PointInTime, Release], stores: Stores
) -> None:
    made, release = recovery
    at = wal.state(app, "db").at
    stores.counter.rows = 9
    (message,) = made.recover(release, at, "scratch")
    assert (message[:19], stores.logged.added, stores.counter.rows) == ("database scratch of", ["scratch"], 9)
    (message,) = made.recover(release, at)
    assert (stores.counter.rows, stores.logged.targets) == (3, [at, at])
    assert "the previous counter keeps the previous data" in message
    assert not list(app.backups.iterdir())


def test_a_time_after_the_last_transaction_is_the_end_of_the_log(
    app: App, recovery: tuple[PointInTime, Release], stores: Stores
) -> None:
    made, release = recovery
    stores.logged.short = True
    at = wal.state(app, "db").at
    made.recover(release, at)
    assert stores.logged.targets == [at, ""]


def test_another_major_version_is_refused(recovery: tuple[PointInTime, Release], server: Server) -> None:
    made, release = recovery
    server.major = "19"
    with pytest.raises(StoreError, match="is from PostgreSQL 18, and the store runs 19"):
        made.recover(release, "")


@pytest.mark.parametrize("disk", ["the root's", "the store's"])
def test_a_recovery_that_does_not_fit_on_the_disk_is_refused(
    recovery: tuple[PointInTime, Release],
    stores: Stores,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    disk: str,
) -> None:
    made, release = recovery
    if disk == "the root's":
        monkeypatch.setattr(files, "free_space", lambda _: 200 << 20)
    else:
        server.room = 200 << 20
    with pytest.raises(StoreError, match="MB are free"):
        made.recover(release, "")
    assert not stores.logged.targets


def test_a_log_that_ends_before_the_dump_does_not_replace_it(
    app: App, recovery: tuple[PointInTime, Release], stores: Stores
) -> None:
    made, release = recovery
    end = wal.state(app, "db").at
    (message,) = made.catch_up(release, end)
    assert ("ends before that backup" in message, stores.logged.targets) == (True, [])
    (message,) = made.catch_up(release, "2026-01-01T00:00:00.000000+00:00")
    assert ("db is as of the end of its log" in message, stores.logged.targets) == (True, [""])


def test_a_restore_that_has_no_log_is_no_success(
    app: App, root: Root, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_live(app, stores=(store("db"),), backups=Schedule("day", wal=True))
    monkeypatch.setattr(stores.counter, "logged", None)  # another kind of store
    made = PointInTime(app, dataclasses.replace(Memory(root).engine, stores=stores), Steps())
    with pytest.raises(StoreError, match="no log of its databases is kept"):
        made.restore_to("latest")


@pytest.mark.parametrize("name", ["shop_restoring", "shop_before_restore", "Shop", "1st"])
def test_names_for_a_database_beside_that_are_refused(
    recovery: tuple[PointInTime, Release], name: str
) -> None:
    made, _ = recovery
    with pytest.raises(UnknownNameError, match=name):
        made.restore_to("latest", name)


def test_damage_to_the_log_leaves_the_times_before_it(
    app: App, recovery: tuple[PointInTime, Release], stores: Stores, server: Server
) -> None:
    made, release = recovery
    at = wal.state(app, "db").at
    server.written += b"y" * (1 << 18)
    wal_receiving.receive(app, made.engine, release)
    log = sorted((wal.place(app, "db") / "log").iterdir())
    log[-1].write_bytes(b"other bytes")
    made.recover(release, at)
    assert stores.logged.targets == [at]
    with pytest.raises(StoreError, match="has changed since it was copied") as caught:
        made.recover(release, "")
    assert caught.value.where == str(log[-1])
    stores.logged.short = True  # the time is after the damage
    with pytest.raises(StoreError, match="has changed since it was copied"):
        made.recover(release, at)
    assert stores.logged.targets == [at, at]
    next((wal.place(app, "db") / "bases").iterdir()).write_bytes(b"other bytes")
    with pytest.raises(StoreError, match="has changed since it was copied"):
        made.recover(release, at)
