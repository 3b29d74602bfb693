"""Copying a database's log: what is copied, what a gap is, when a base backup is due, and what protects the disk."""

import contextlib
import dataclasses
import io
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from pushrod.adapters.logs import Position, TooShort
from pushrod.adapters.postgres.base_backups import inspect
from pushrod.adapters.postgres.wal import segment, segment_number
from pushrod.backups import wal, wal_receiving
from pushrod.core.errors import StoreError
from pushrod.core.times import now
from pushrod.core.values import Release, Schedule
from pushrod.engines.protocols import Engine
from pushrod.state import releases
from pushrod.state.apps import App, Root
from pushrod.state.vaults import Vault, Vaults
from pushrod.stores.backup_drivers import Archive
from pushrod.system import files
from pushrod.system.streams import Sink, Source
from tests.unit.backups.test_catalogue import make_live
from tests.unit.backups.test_operations import Counter
from tests.unit.engines.memory import Memory, NoStores
from tests.unit.samples import store

SIZE = 1 << 16  # bytes of a segment here


class Server:
    """The log of a server, byte by byte; `first` is the first segment that it still has."""

    product = "PostgreSQL"
    segment = staticmethod(segment)
    number = staticmethod(segment_number)

    def __init__(self) -> None:
        self.written = b"x" * (2 * SIZE + 100)
        self.first, self.slot, self.kept, self.system = 0, "", 0, "7"
        self.problem, self.major = "", "18"
        self.problem_of_bases, self.large = "", 0
        self.room: int | None = None

    def position(self) -> Position:
        """As `Log.position`."""
        if self.problem:
            raise StoreError(self.problem)
        end = len(self.written)
        return Position(
            self.system, now(), end, 1, SIZE, self.major, "/data", self.slot == "reserved", self.kept
        )

    def hold(self, most: int) -> None:
        """As `Log.hold`."""
        assert most > 0
        self.slot, self.kept = "reserved", max(self.first * SIZE, len(self.written) - SIZE)

    def advance(self, position: int) -> None:
        """As `Log.advance`."""
        self.kept = max(self.kept, position)

    def release(self) -> None:
        """As `Log.release`."""
        self.slot, self.kept = "", 0

    def copy(self, position: Position, name: str, sink: Sink) -> None:
        """As `Log.copy`."""
        at = segment_number(name, SIZE) * SIZE
        assert at >= self.first * SIZE
        sink.write(self.written[at : min(at + SIZE, position.end)])

    def size(self) -> int:
        """As `Log.size`."""
        return self.large or len(self.written)

    def free(self, _: Position) -> int | None:
        """As `Log.free`."""
        return self.room

    def begin(self, base: Path) -> int:
        """As `Log.begin`."""
        return inspect(base).begin

    def base(self, sink: Sink) -> None:
        """As `Log.base`."""
        if self.problem_of_bases:
            raise StoreError(self.problem_of_bases)
        out = io.BytesIO()
        begin = len(self.written)
        with tarfile.open(fileobj=out, mode="w") as tar:
            label = f"START WAL LOCATION: 0/{begin:X} (file x)\nSTART TIMELINE: 1\n"
            for name, text in (("backup_label", label), ("postgresql.auto.conf", "")):
                head = tarfile.TarInfo(name)
                head.size = len(text)
                tar.addfile(head, io.BytesIO(text.encode()))
        self.written += b"b" * 10
        sink.write(out.getvalue())


class Logged:
    """A store with that log; `targets` are the times to which it was recovered."""

    store = "db"

    def __init__(self, server: Server) -> None:
        self.log = server
        self.short = False
        self.targets: list[str] = []
        self.added: list[str] = []

    @contextlib.contextmanager
    def recovered(self, base: Path, log: Iterable[tuple[str, Path]], until: str) -> Iterator[Archive]:
        """As `Logged.recovered`: a counter."""
        assert base.exists() and all(path.exists() for _, path in log)
        self.targets.append(until)
        if until and self.short:
            raise TooShort
        yield Counter()

    def add(self, source: Source, rows: dict[str, int], name: str) -> None:
        """As `Logged.add`."""
        assert source.read(100) == b"row\n" * rows["rows"]
        self.added.append(name)


class Stores(NoStores):
    """One such store."""

    def __init__(self, server: Server) -> None:
        self.counter, self.logged = Counter(), Logged(server)
        self.counter.store = "db"
        self.counter.logged = self.logged  # type: ignore[assignment]

    def archives(self, app: App, release: Release, *, ddl: bool) -> Sequence[Archive]:
        """The store."""
        return (self.counter,)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def engine(root: Root, server: Server) -> Engine:
    return dataclasses.replace(Memory(root).engine, stores=Stores(server))


@pytest.fixture
def release(app: App) -> Release:
    make_live(app, stores=(store("db"),), backups=Schedule("day", wal=True))
    result = releases.live(app)
    assert result is not None
    return result


def copied(app: App, number: int) -> bytes:
    return (wal.place(app, "db") / "log" / segment(1, number, SIZE)).read_bytes()


def test_what_was_written_since_the_last_run_is_copied(
    app: App, engine: Engine, release: Release, server: Server
) -> None:
    wal_receiving.receive(app, engine, release)
    first = wal.state(app, "db")
    assert (first.end, sorted(first.segments)) == (2 * SIZE + 100, [segment(1, n, SIZE) for n in (1, 2)])
    assert copied(app, 2) == b"x" * 100 + bytes(SIZE - 100)
    assert server.kept == 2 * SIZE  # the server keeps the segment that is not full
    server.written += b"y" * SIZE
    wal_receiving.receive(app, engine, release)
    assert copied(app, 2) == b"x" * 100 + b"y" * (SIZE - 100)
    second = wal.state(app, "db")
    assert second.at > first.at and not second.gaps
    assert second.segments[segment(1, 2, SIZE)] == files.digest(
        wal.place(app, "db") / "log" / segment(1, 2, SIZE)
    )
    wal_receiving.receive(app, engine, release)  # nothing was written; the log is as good for a later time
    third = wal.state(app, "db")
    assert third.at > second.at and msgspec.structs.replace(third, at="") == msgspec.structs.replace(
        second, at=""
    )


def test_a_base_backup_is_due_at_first_weekly_after_much_log_and_after_a_gap(
    app: App, engine: Engine, release: Release, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal_receiving.receive(app, engine, release)
    taken: list[str] = []
    for change in ("first", "week", "log", "gap"):
        if change == "week":
            monkeypatch.setattr(wal, "WEEK", 0.0)
        if change == "log":
            monkeypatch.setattr(wal, "_LOG", 5 * SIZE)
            server.written += b"z" * 6 * SIZE
            wal_receiving.receive(app, engine, release)
        if change == "gap":
            server.slot = "lost"
            server.written += b"z" * 9 * SIZE
            server.first = 11
            wal_receiving.receive(app, engine, release)
        assert wal.base_due(app), change
        time = f"2026-01-0{len(taken) + 1}T00:00:00"
        monkeypatch.setattr(wal_receiving, "now", lambda time=time: time)
        wal_receiving.take_bases(app, engine, release)
        monkeypatch.setattr(wal, "WEEK", 1e9)
        assert not wal.base_due(app), change
        taken.append(wal.state(app, "db").bases[-1].name)
    known = wal.state(app, "db")
    assert [b.name for b in known.bases] == taken[-2:]
    oldest = known.bases[0].begin // SIZE
    there = {p.name for p in (wal.place(app, "db") / "log").iterdir()}
    assert there == set(known.segments) and min(segment_number(n, SIZE) for n in there) == oldest


def test_a_clock_that_was_set_back_is_noted_and_a_new_base_backup_follows(
    app: App, engine: Engine, release: Release, server: Server
) -> None:
    wal_receiving.receive(app, engine, release)
    wal_receiving.take_bases(app, engine, release)
    assert not wal.base_due(app)
    known, ahead = wal.state(app, "db"), "2199-01-01T00:00:00.000+00:00"
    wal.save(wal.place(app, "db"), msgspec.structs.replace(known, at=ahead))  # read before it was set back
    assert wal.late(ahead)
    server.written += b"y" * SIZE
    wal_receiving.receive(app, engine, release)
    turn = wal.state(app, "db").turn
    assert turn and (turn.position, turn.before) == (known.end, ahead) and turn.after < ahead
    assert wal.base_due(app)
    wal_receiving.take_bases(app, engine, release)
    assert not wal.base_due(app)


def test_what_the_server_removed_is_a_gap(app: App, engine: Engine, release: Release, server: Server) -> None:
    wal_receiving.receive(app, engine, release)
    end, at = wal.state(app, "db").end, wal.state(app, "db").at
    server.written += b"y" * 5 * SIZE
    server.slot, server.first = "lost", 6
    wal_receiving.receive(app, engine, release)
    known = wal.state(app, "db")
    (gap,) = known.gaps
    assert (gap.begin, gap.end, gap.after, known.end) == (end, 6 * SIZE + 100, at, len(server.written))


def test_another_cluster_begins_anew(app: App, engine: Engine, release: Release, server: Server) -> None:
    wal_receiving.receive(app, engine, release)
    wal_receiving.take_bases(app, engine, release)
    server.system, server.slot, server.written = "8", "", b"n" * SIZE
    wal_receiving.receive(app, engine, release)
    known = wal.state(app, "db")
    assert (known.system, known.bases, known.gaps, list(known.segments)) == (
        "8",
        (),
        (),
        [segment(1, 0, SIZE)],
    )
    assert copied(app, 0) == b"n" * SIZE


def test_the_log_of_a_cluster_that_was_lost_is_kept_for_a_week(
    app: App, engine: Engine, release: Release, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty volume instead of the data is a new cluster."""
    wal_receiving.receive(app, engine, release)
    wal_receiving.take_bases(app, engine, release)
    lost = wal.state(app, "db")
    assert wal.former(app, "db") is None
    with monkeypatch.context() as patch:  # cut off after the first file
        patch.setattr(wal_receiving._StoreLog, "_set_aside", lambda _: 1 / 0)
        server.system, server.slot, server.written = "8", "", b"n" * SIZE
        with pytest.raises(ZeroDivisionError):
            wal_receiving.receive(app, engine, release)
    assert wal.state(app, "db") == lost
    for _ in range(2):
        wal_receiving.receive(app, engine, release)
    wal_receiving.take_bases(app, engine, release)
    assert wal.former(app, "db") == lost and wal.stores(app) == ["db"]
    known, place = wal.leading_to(app, "db", lost.at)
    assert (known, place) == (lost, wal.place(app, "db") / wal.FORMER)
    assert {p.name for p in (place / "log").iterdir()} == set(lost.segments)
    assert [p.stem for p in (place / "bases").iterdir()] == [b.name for b in lost.bases]
    own = wal.state(app, "db"), wal.place(app, "db")
    assert own == wal.leading_to(app, "db", "") == wal.leading_to(app, "db", own[0].at)
    monkeypatch.setattr(wal, "WEEK", -1.0)
    wal_receiving.receive(app, engine, release)
    assert wal.former(app, "db") is None


def test_a_base_backup_that_does_not_fit_leaves_the_log_alone(
    app: App, engine: Engine, release: Release, server: Server
) -> None:
    wal_receiving.receive(app, engine, release)
    server.large = 1 << 60
    with pytest.raises(StoreError, match="a base backup needs up to"):
        wal_receiving.take_bases(app, engine, release)
    assert server.slot == "reserved"


def test_a_base_backup_that_fails_is_told_until_one_succeeds(
    app: App, engine: Engine, release: Release, server: Server
) -> None:
    wal_receiving.receive(app, engine, release)
    server.problem_of_bases = "it has tablespaces"
    for _ in range(2):
        with pytest.raises(StoreError, match="tablespaces"):
            wal_receiving.take_bases(app, engine, release)
    wal_receiving.receive(app, engine, release)
    (diagnostic,) = wal.examine(app, release)
    assert (diagnostic.state, "it has tablespaces" in diagnostic.detail) == ("broken", True)
    server.problem_of_bases = ""
    wal_receiving.take_bases(app, engine, release)
    assert not list(wal.examine(app, release))


def test_a_store_that_the_manifest_no_longer_names_alarms_nobody(
    app: App, engine: Engine, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal_receiving.receive(app, engine, release)
    monkeypatch.setattr(wal, "_LATE", -1.0)
    without = msgspec.structs.replace(release, stores=())
    assert list(wal.running(app, release)) == ["db"] and not wal.running(app, without)
    assert not list(wal.examine(app, without))


def test_a_disk_that_is_nearly_full_frees_the_servers_log_and_is_told(
    app: App, engine: Engine, release: Release, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal_receiving.receive(app, engine, release)
    server.written += b"y" * SIZE
    with monkeypatch.context() as patch:
        patch.setattr(files, "free_space", lambda _: 400 << 20)
        with pytest.raises(StoreError, match="the log is not copied"):
            wal_receiving.receive(app, engine, release)
    assert (server.slot, wal.state(app, "db").end) == ("", 2 * SIZE + 100)
    assert not list(wal.examine(app, release))  # not yet
    with monkeypatch.context() as patch:
        patch.setattr(wal, "_LATE", -1.0)
        (diagnostic,) = wal.examine(app, release)
    assert diagnostic.state == "broken" and "419 MB are free" in diagnostic.detail
    wal_receiving.receive(app, engine, release)
    assert (wal.state(app, "db").trouble, not list(wal.examine(app, release))) == (None, True)


@pytest.fixture
def narrow(root: Root) -> int:
    """The most that an app may have of log here."""
    most = 8 * SIZE
    files.write(root.path / "limits.json", f'{{"store_log": {most}}}')
    return most


def there(app: App) -> set[str]:
    """The files of the log and of base backups, which must be those of the record."""
    known, place = wal.state(app, "db"), wal.place(app, "db")
    result = {p.name for p in place.glob("*/*")}
    assert result == {*known.segments, *(f"{b.name}.tar" for b in known.bases)}
    return result


def filled(app: App, engine: Engine, release: Release, server: Server) -> None:
    """Write more than may be copied; the server then loses it."""
    server.written += b"y" * 9 * SIZE
    with pytest.raises(StoreError, match="it is not copied") as refused:
        wal_receiving.receive(app, engine, release)
    assert "pushrod host limits store-log=1M --app shop" in refused.value.hint
    assert server.slot == ""
    server.first = len(server.written) // SIZE


@pytest.mark.slow
def test_log_beyond_the_share_of_an_app_is_not_copied_and_the_next_base_backup_begins_anew(
    app: App, engine: Engine, release: Release, server: Server, narrow: int
) -> None:
    """The alarm comes before that; the app notices nothing."""
    wal_receiving.receive(app, engine, release)
    wal_receiving.take_bases(app, engine, release)
    assert not list(wal.examine(app, release)) and not wal.base_due(app)
    server.written += b"y" * 6 * SIZE
    wal_receiving.receive(app, engine, release)
    (diagnostic,) = wal.examine(app, release)
    assert (diagnostic.state, "at 0 MB it is not copied" in diagnostic.detail) == ("warning", True)
    assert wal.base_due(app)
    before = wal.state(app, "db")
    filled(app, engine, release, server)
    after = wal.state(app, "db")
    assert (after.end, after.bases, after.segments) == (before.end, before.bases, before.segments)
    assert after.trouble and "not copied" in after.trouble.what
    wal_receiving.receive(app, engine, release)  # as far as there is room, after a gap
    for _ in range(3):
        filled(app, engine, release, server)
    known = wal.state(app, "db")
    assert (known.bases, [g.begin for g in known.gaps], wal.size(app)) == (before.bases, [before.end], narrow)

    wal_receiving.take_bases(app, engine, release)
    wal_receiving.receive(app, engine, release)
    known = wal.state(app, "db")
    (base,) = known.bases
    assert (known.gaps, known.trouble, server.slot, wal.base_due(app)) == ((), None, "reserved", False)
    assert base.begin >= before.end and wal.size(app) <= narrow
    assert len(there(app)) == 1 + len(known.segments)
    assert not list(wal.examine(app, release))


@pytest.mark.slow
def test_a_base_backup_during_which_too_much_is_written_fails_and_the_next_one_has_room(
    app: App, engine: Engine, release: Release, server: Server, narrow: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal_receiving.receive(app, engine, release)
    wal_receiving.take_bases(app, engine, release)
    filled(app, engine, release, server)
    wal_receiving.receive(app, engine, release)
    assert wal.base_due(app)  # there is a gap
    (first,) = wal.state(app, "db").bases
    for _ in range(3):
        with monkeypatch.context() as patch:

            def base(sink: Sink) -> None:
                type(server).base(server, sink)
                server.written += b"y" * 9 * SIZE
                wal_receiving.receive(app, engine, release)  # the timer copies it meanwhile
                server.written += b"y" * 9 * SIZE

            patch.setattr(server, "base", base)
            with pytest.raises(StoreError, match="it is not copied"):
                wal_receiving.take_bases(app, engine, release)
        assert wal.state(app, "db").bases == (first,)
        assert narrow < wal.size(app) <= 2 * narrow  # the older log still serves
        server.first = len(server.written) // SIZE
        there(app)
    wal_receiving.take_bases(app, engine, release)
    known = wal.state(app, "db")
    assert known.bases[0] == first and len(known.bases) == 2
    assert wal.size(app) <= narrow and not wal.base_due(app)
    there(app)


def test_an_error_is_told_since_it_began(
    app: App, engine: Engine, release: Release, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal, "_LATE", -1.0)
    server.problem = "it does not answer"
    for _ in range(2):
        with pytest.raises(StoreError, match="does not answer"):
            wal_receiving.receive(app, engine, release)
    (diagnostic,) = wal.examine(app, release)
    assert "it does not answer" in diagnostic.detail


def test_a_log_that_is_no_longer_wanted_is_released(
    app: App, engine: Engine, release: Release, server: Server
) -> None:
    wal_receiving.receive(app, engine, release)
    wal_receiving.stop(app, engine, release)
    assert (server.slot, wal.stores(app), wal.place(app).exists()) == ("", [], False)


@pytest.mark.parametrize(
    ("given", "vault", "kept"),
    [(None, False, False), (None, True, True), (True, False, True), (False, True, False)],
)
def test_a_log_is_kept_by_default_if_there_is_a_vault(
    app: App, root: Root, given: bool | None, vault: bool, kept: bool
) -> None:
    make_live(app, stores=(store("db"),), backups=Schedule("day", wal=given))
    if vault:
        Vaults(root).save(Vault(name="default", url="/mnt/far", password="p", created=now()))
    release = releases.live(app)
    assert release is not None and wal.keeps_log(app, release) is kept


def test_a_clock_that_was_set_back_delays_no_base_backup(
    app: App, engine: Engine, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal_receiving.receive(app, engine, release)
    wal_receiving.take_bases(app, engine, release)
    known = wal.state(app, "db")
    future = msgspec.structs.replace(known.bases[0], at="2999-01-01T00:00:00.000000+00:00")
    changed = msgspec.structs.replace(known, bases=(future,))
    files.write(wal.place(app, "db") / "state.json", msgspec.json.encode(changed))
    assert wal.base_due(app)
