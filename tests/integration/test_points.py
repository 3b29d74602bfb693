"""Recovery to a point in time: a writer records what was acknowledged; what is restored has all of it up to that
time, and nothing after. From this machine's log, and from a vault's copy on an empty root."""

import datetime
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devtools import apps
from devtools.apps import App, Machine
from tests.integration.stores import superuser

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("restic") is None, reason="needs restic: apt-get install restic"),
]

AHEAD = "2199-01-01T00:00:00.000+00:00"
FILES = {"app.py": apps.APP, "compose.yaml": apps.manifest_with_stores()}


class Writer(threading.Thread):
    """Inserts numbered rows, and records when each was acknowledged."""

    def __init__(self, app: App, first: int) -> None:
        super().__init__()
        self.acknowledged: list[tuple[int, str]] = []
        self._app = app
        self._next = first
        self._ended = threading.Event()

    def run(self) -> None:
        """Until `end`."""
        while not self._ended.is_set():
            if self._app.get(f"/sql?q=insert+into+rows+values+({self._next})").status == 200:
                self.acknowledged.append((self._next, now()))
                self._next += 1

    def end(self) -> list[tuple[int, str]]:
        """End it; returns what was acknowledged, and when."""
        self._ended.set()
        self.join()
        return self.acknowledged


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")


def rows(app: App) -> list[int]:
    answer = app.get("/sql?q=select+n+from+rows+order+by+n")
    assert answer.status == 200
    return [int(line) for line in answer.body.split()]


def log(app: App) -> Path:
    (path,) = (app.directory / "wal").glob("*/log")
    return path


@pytest.fixture(scope="module")
def shop(machine: Machine, place: Path) -> App:
    """An app with a table, a vault in a directory, and a base backup in both."""
    app = machine.app("shop", FILES)
    assert app.get("/sql?q=create+table+rows+(n+integer+primary+key)").status == 200
    done = machine.pushrod("host", "backups", "set", str(place / "points"))
    assert done.ok, done.err
    app.must("db", "archive")
    return app


@pytest.fixture
def written(shop: App) -> Iterator[Callable[[], list[tuple[int, str]]]]:
    """Writes rows for a moment; returns them with the times of their acknowledgements."""

    def write() -> list[tuple[int, str]]:
        writer = Writer(shop, (rows(shop) or [0])[-1] + 1)
        writer.start()
        apps.eventually(lambda: len(writer.acknowledged) > 30, "rows are written")
        return writer.end()

    yield write


def test_what_was_acknowledged_before_a_time_is_restored_and_nothing_after_it(
    shop: App, written: Callable[[], list[tuple[int, str]]]
) -> None:
    acknowledged = written()
    assert len(acknowledged) > 30
    time.sleep(0.01)  # the row after it begins later than this time
    at = now()
    written()
    everything = rows(shop)
    before = [n for n, when in acknowledged if when <= at]
    output = shop.must("db", "restore", "--to", at, "--yes")
    assert "keeps the previous data" in output
    assert rows(shop) == [n for n in everything if n <= before[-1]]
    assert shop.get("/sql?q=insert+into+rows+values+(1000000)").status == 200  # with the app's own rights


def test_a_point_between_two_rows_becomes_another_database(shop: App) -> None:
    for n in (2000001, 2000002):
        assert shop.get(f"/sql?q=insert+into+rows+values+({n})").status == 200
        between = now()
        time.sleep(0.01)
    before = rows(shop)
    output = shop.must("db", "restore", "--to", between, "--into", "scratch")
    assert "database scratch" in output
    assert rows(shop) == before
    again = shop.pushrod("db", "restore", "--to", between, "--into", "scratch")
    assert (again.status, "already" in again.err) == (6, True)


@pytest.mark.long
def test_the_vault_has_everything_that_was_acknowledged_before_a_run(
    shop: App, place: Path, new_machine: Callable[[], Machine]
) -> None:
    assert shop.get("/sql?q=insert+into+rows+values+(3000001)").status == 200
    at = now()
    shop.must("db", "archive")
    (known,) = shop.json("db", "wal")
    assert known["copied"] >= at and known["until"] >= at and known["gaps"] == 0
    assert shop.get("/sql?q=insert+into+rows+values+(3000002)").status == 200
    shop.must("db", "archive", "--all")  # as the timer runs it
    everything = rows(shop)
    password = json.loads((shop.machine.root / "vaults" / "default" / "vault.json").read_text())["password"]
    shop.must("db", "backup")
    assert shop.get("/sql?q=insert+into+rows+values+(3000003)").status == 200
    shop.must("db", "archive")  # newer than the newest dump
    shop.must("down")  # both would have the same port
    other = new_machine()
    argv = ("host", "restore", "--from", str(place / "points"), "--credentials", "-")
    done = other.pushrod(*argv, stdin=f"RESTIC_PASSWORD={password}\n")
    assert done.ok and "postgres is as of the end of its log" in done.out, done.out + done.err
    assert rows(App(other, "shop", shop.tree)) == [*everything, 3000003]
    other.must("down", "--app", "shop")
    shop.must("restart")


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("yesterday", "is not a time"),
        ("2999-01-01 00:00:00", "is in the future"),
        ("2020-01-01 00:00:00", "is before the first base backup"),
    ],
)
def test_a_time_that_cannot_be_restored_is_refused(shop: App, to: str, words: str) -> None:
    before = rows(shop)
    done = shop.pushrod("db", "restore", "--to", to, "--yes")
    assert done.status in (6, 12) and words in apps.complaint(done).what, done.err
    assert rows(shop) == before


def test_a_changed_or_missing_part_of_the_log_is_refused(shop: App) -> None:
    assert shop.get("/sql?q=insert+into+rows+values+(4000001)").status == 200
    at = now()
    shop.must("db", "archive")
    newest = sorted(log(shop).iterdir())[0]
    whole = newest.read_bytes()
    before = rows(shop)
    try:
        newest.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
        done = shop.pushrod("db", "restore", "--to", at, "--yes")
        assert (done.status, "has changed" in done.err) == (6, True), done.err
        newest.unlink()
        done = shop.pushrod("db", "restore", "--to", at, "--yes")
        assert (done.status, "missing" in done.err) == (6, True), done.err
    finally:
        newest.write_bytes(whole)
    assert rows(shop) == before


def test_the_app_works_while_the_vault_is_away_and_the_log_follows_when_it_is_back(
    shop: App, place: Path
) -> None:
    gone = (place / "points").rename(place / "points.away")
    try:
        assert shop.get("/sql?q=insert+into+rows+values+(5000001)").status == 200
        done = shop.pushrod("db", "archive")
        assert (done.status, "no repository" in done.err) == (6, True)
        (known,) = shop.json("db", "wal")
        assert known["problem"] and known["copied"] < known["until"]
    finally:
        gone.rename(place / "points")
    shop.must("db", "archive")
    (known,) = shop.json("db", "wal")
    assert (known["problem"], known["copied"]) == ("", known["until"])


def test_a_log_that_the_server_gave_up_is_a_gap_and_a_new_base_backup_follows_it(shop: App) -> None:
    before = now()
    shop.must("db", "archive")
    superuser(shop, "select pg_drop_replication_slot('pushrod')")
    for _ in range(3):
        superuser(shop, "select pg_switch_wal()")
        superuser(shop, "checkpoint")
        assert shop.get("/sql?q=create+table+if+not+exists+filler+as+select+1+as+n").status == 200
        assert shop.get("/sql?q=insert+into+filler+values+(1)").status == 200
    in_gap = now()
    time.sleep(0.01)
    shop.must("db", "archive")
    (known,) = shop.json("db", "wal")
    assert (known["gaps"], known["bases"]) == (1, 2)
    done = shop.pushrod("db", "restore", "--to", in_gap, "--yes")
    assert (done.status, "has a gap" in done.err) == (6, True), done.err
    shop.must("db", "restore", "--to", before, "--into", "before_gap")
    shop.must("db", "restore", "--to", "latest", "--into", "after_gap")


@pytest.mark.long
def test_a_clock_that_was_set_back_delays_no_backup_and_no_time_is_taken_for_another(shop: App) -> None:
    """The records are as if it had been far ahead during the last backup, its copy and the last run."""
    shop.must("db", "backup")
    newest, ahead = shop.json("db", "backups")[0]["name"], "2199-01-01T00-00-00Z"
    place = (shop.directory / "backups" / newest).rename(shop.directory / "backups" / ahead)
    record = {**json.loads((place / "backup.json").read_text()), "name": ahead, "at": AHEAD}
    (place / "backup.json").write_text(json.dumps(record))
    ledger = shop.directory / "vault" / "ledger.json"
    known = json.loads(ledger.read_text())
    known["copies"] = [{**known["copies"][0], "at": AHEAD, "read": AHEAD, "proved": AHEAD, "backup": ahead}]
    ledger.write_text(json.dumps(known))
    state = log(shop).parent / "state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "at": AHEAD}))

    (status,) = shop.json("status")
    assert "the last proven backup is from 2199-01-01 00:00 UTC" in " ".join(status["warnings"])
    assert "last proven backup: 2199-01-01 00:00 UTC, which is in the future" in shop.must("status")
    shop.must(
        "db", "restore", "--to", now(), "--into", "before_turn"
    )  # the log is copied now, by the clock as it is
    time.sleep(0.01)
    done = shop.pushrod("db", "restore", "--to", now(), "--into", "after_turn")
    complaint = apps.complaint(done)
    assert (done.status, "clock was set back from 2199-01-01" in complaint.what) == (6, True), complaint
    assert "its databases were restored from there" in shop.must(
        "db", "backup", "--all"
    )  # as the timer runs it
    listed = shop.json("db", "backups")
    assert listed[0]["name"] < listed[-1]["name"] == ahead and listed[0]["copy"]["proved"]
    assert shop.json("status")[0]["warnings"] == []
    shop.must("db", "archive")
    shop.must("db", "restore", "--to", now(), "--into", "after_turn")
    assert shop.must("db", "backup", "--all") == ""  # nothing is due
