"""Backups of an app's PostgreSQL and Valkey: taken while it serves, verified, restored."""

import json
import os
import re
import signal
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools import apps
from devtools.apps import Answer, App, Machine
from pushrod.system import files, locks, processes

pytestmark = pytest.mark.integration

FILES = {"app.py": apps.APP, "compose.yaml": apps.manifest_with_stores()}


def sql(app: App, statement: str) -> str:
    """PostgreSQL's answer to the app's own role, asked by an instance."""
    answer = app.get(f"/sql?{urllib.parse.urlencode({'q': statement})}")
    assert answer.status == 200, answer.body
    return answer.body


def directory(app: App, name: str) -> Path:
    return app.directory / "backups" / name


def take(app: App) -> str:
    """Take a backup; returns its name."""
    app.must("db", "backup")
    return str(app.json("db", "backups")[0]["name"])


@pytest.fixture(scope="module")
def made(machine: Machine) -> App:
    return machine.app("kept", FILES)


@pytest.fixture
def shop(made: App) -> Iterator[App]:
    """The app with a table of three rows, and no backup."""
    sql(made, "drop table if exists goods; create table goods (id serial primary key, name text not null)")
    sql(made, "insert into goods (name) values ('a'), ('b'), ('c')")
    yield made
    files.remove_tree(made.directory / "backups")


def test_a_restore_brings_back_rows_and_keeps_the_replaced_database(shop: App) -> None:
    name = take(shop)
    sql(shop, "delete from goods where id < 3; insert into goods (name) values ('after')")
    done = shop.pushrod("db", "restore", name, stdin=f"{shop.settings['name']}\n")
    assert done.ok, done.err
    assert sql(shop, "select name from goods order by id").split() == ["a", "b", "c"]
    sql(shop, "insert into goods (name) values ('d')")  # permissions and sequences are as before
    assert sql(shop, "select id from goods where name = 'd'") == "4"
    assert f"{shop.settings['name']}_before_restore" in done.out
    newest = shop.json("db", "backups")[0]
    assert newest["files"][0]["rows"] == {"public.goods": 2}  # taken before the restore
    again = shop.pushrod("db", "restore", newest["name"], "--yes")
    assert again.ok, again.err
    assert sql(shop, "select string_agg(name, ' ' order by id) from goods") == "c after"


def test_roles_and_databases_after_a_restore_are_those_before(shop: App) -> None:
    look = (
        "select json_agg(x order by x::text) from (select pg_get_userbyid(datdba), datacl::text, encoding, "
        "datcollate from pg_database where datname = current_database() union all select "
        "pg_get_userbyid(relowner), relacl::text, 0, relname from pg_class where relname like 'goods%') x"
    )
    before = sql(shop, look)
    assert shop.pushrod("db", "restore", take(shop), "--yes").ok
    assert sql(shop, look) == before
    left = sql(
        shop, "select datname from pg_database where datname like '%\\_restoring' or datname like '%ing'"
    )
    assert left == ""


def test_a_backup_has_a_complete_private_record(shop: App) -> None:
    name = take(shop)
    place = directory(shop, name)
    result = json.loads((place / "backup.json").read_text())
    assert result == shop.json("db", "backups")[0]
    assert (result["app"], result["release"], result["commit"]) == (
        shop.settings["name"],
        shop.live,
        shop.branch(),
    )
    assert {f["name"]: f["bytes"] for f in result["files"]} == {
        p.name: p.stat().st_size for p in place.iterdir() if p.name != "backup.json"
    }
    assert [f["sha256"] for f in result["files"]] == [
        files.digest(place / f["name"]) for f in result["files"]
    ]
    assert {p.name: oct(p.stat().st_mode & 0o777) for p in (place.parent, place, *place.iterdir())} == {
        "backups": "0o700", name: "0o700",
        "backup.json": "0o600", "postgres.dump": "0o600", "redis.rdb": "0o600",
    }  # fmt: skip


def test_verify_restores_a_backup_to_a_temporary_database(shop: App) -> None:
    shop.get("/redis?q=FLUSHDB")
    shop.get("/redis?q=SET+word+kept")
    name = take(shop)
    sql(shop, "delete from goods")
    done = shop.must("db", "verify")
    assert done.splitlines() == [
        f"{name} postgres: 1 tables, 3 rows",
        f"{name} redis: 1 keys that do not expire",
    ]
    assert sql(shop, "select count(*) from pg_database where datname like '%verifying'") == "0"


def test_verify_detects_wrong_row_counts(shop: App) -> None:
    """The record claims four rows of a table, as if a restore had lost one."""
    name = take(shop)
    record = directory(shop, name) / "backup.json"
    record.write_text(record.read_text().replace('"public.goods": 3', '"public.goods": 4'))
    done = shop.pushrod("db", "verify", name)
    result = apps.complaint(done)
    assert (done.status, "public.goods 3 instead of 4" in result.what) == (6, True)
    sql(shop, "delete from goods where id = 1")
    refused = shop.pushrod("db", "restore", name, "--yes")
    assert (refused.status, "the database is unchanged" in refused.err) == (6, True)
    assert sql(shop, "select count(*) from goods") == "2"
    assert sql(shop, "select count(*) from pg_database where datname like '%restoring'") == "0"


@pytest.mark.parametrize("file", ["postgres.dump", "redis.rdb"])
def test_a_file_that_was_damaged_is_not_restored(shop: App, file: str) -> None:
    name = take(shop)
    path = directory(shop, name) / file
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    for argv in (("verify", name), ("restore", name, "--yes")):
        done = shop.pushrod("db", *argv)
        assert (done.status, apps.complaint(done).where) == (6, str(path))
    assert sql(shop, "select count(*) from goods") == "3"
    assert len(shop.json("db", "backups")) == 1


def test_valkey_takes_over_a_snapshot_and_keeps_it(shop: App) -> None:
    shop.get("/redis?q=FLUSHDB")
    for word in ("one", "two"):
        shop.get(f"/redis?q=SET+{word}+before")
    shop.get("/redis?q=SET+going+before+EX+600")
    name = take(shop)
    assert {f["store"]: f["rows"] for f in shop.json("db", "backups")[0]["files"]}["redis"] == {
        "keys that do not expire": 2
    }
    store = shop.directory / "stores" / "redis"
    rules, process = (store / "users.acl").read_text(), redis_process(shop)
    shop.get("/redis?q=SET+one+after")
    shop.get("/redis?q=DEL+two")
    done = shop.must("redis", "restore", name, "--yes")
    assert done.splitlines()[-1] == "redis: 3 keys, 2 before"
    assert redis_process(shop) == process  # it was not restarted
    assert ((store / "users.acl").read_text(), (store / "restoring").exists()) == (rules, False)
    shop.get("/redis?q=SET+later+written")
    os.kill(process, signal.SIGKILL)
    apps.eventually(lambda: redis_process(shop) not in (0, process), "Valkey runs again", 30)
    apps.eventually(lambda: shop.get("/redis?q=PING").status == 200, "the app reaches it", 30)
    words = {w: shop.get(f"/redis?q=GET+{w}").body for w in ("one", "two", "going", "later")}
    assert all("before" in words[w] for w in ("one", "two", "going")) and "written" in words["later"], words


def test_a_snapshot_with_other_keys_than_recorded_is_not_restored(shop: App) -> None:
    name = take(shop)
    record = directory(shop, name) / "backup.json"
    text = record.read_text()
    claimed = re.sub(r'("keys that do not expire": )(\d+)', lambda m: f"{m[1]}{int(m[2]) + 1}", text)
    assert claimed != text
    record.write_text(claimed)
    shop.get("/redis?q=SET+word+now")
    refused = shop.pushrod("redis", "restore", name, "--yes")
    assert (refused.status, "the running data is unchanged" in refused.err) == (6, True), refused.err
    assert "now" in shop.get("/redis?q=GET+word").body
    assert shop.pushrod("db", "verify", name).status == 6


def redis_process(shop: App) -> int:
    """The process of its Valkey."""
    return next((p["pid"] for p in shop.json("status")[0]["processes"] if p["name"] == "redis"), 0)


def test_a_restore_requires_the_name_of_the_app(shop: App) -> None:
    name = take(shop)
    sql(shop, "delete from goods")
    assert not shop.pushrod("db", "restore", name, stdin="another\n").ok
    assert sql(shop, "select count(*) from goods") == "0"


def test_running_statements_do_not_delay_a_restore(shop: App) -> None:
    name = take(shop)
    answers: list[Answer] = []
    busy = threading.Thread(target=lambda: answers.append(shop.get("/sql?q=select+pg_sleep(9)")))
    busy.start()
    try:
        running = (
            "select count(*) from pg_stat_activity where usename = session_user and pid <> pg_backend_pid()"
        )
        apps.eventually(lambda: sql(shop, running) == "1", "the statement runs", 5)
        done = shop.pushrod("db", "restore", name, "--yes")
        assert done.ok, done.err
    finally:
        busy.join(60)
    assert [a.status for a in answers] == [409]
    assert sql(shop, "select count(*) from goods") == "3"


def test_a_backup_is_selected_by_the_beginning_of_its_name(shop: App) -> None:
    name = take(shop)
    assert name in shop.must("db", "verify", name[:10])
    for when, status in (("2001", 12), ("../secrets", 12)):
        done = shop.pushrod("db", "verify", when)
        assert done.status == status
        assert "`pushrod db backups` lists them" in apps.complaint(done)


def test_a_store_that_does_not_answer_leaves_nothing_behind(shop: App) -> None:
    take(shop)
    group = f"{shop.settings['name']}_postgres"
    configuration = shop.machine.root / "supervisor" / "supervisord.conf"
    processes.run(
        [apps.PUSHROD[0], "-m", "supervisor.supervisorctl", "-c", configuration, "stop", f"{group}:*"]
    )
    try:
        done = shop.pushrod("db", "backup")
        result = apps.complaint(done)
        assert (done.status, "database" in result.where) == (6, True), result
    finally:
        processes.run(
            [apps.PUSHROD[0], "-m", "supervisor.supervisorctl", "-c", configuration, "start", f"{group}:*"]
        )
    assert len(list((shop.directory / "backups").iterdir())) == 1
    apps.eventually(lambda: shop.get("/sql?q=select+1").status == 200, "PostgreSQL is back")


def test_the_manifest_limits_the_number_of_backups(machine: Machine) -> None:
    keys = "x-pushrod: {backups: {every: hour, keep: 2}}\n"
    app = machine.app("sparing", {**FILES, "compose.yaml": keys + FILES["compose.yaml"]})
    names = [take(app) for _ in range(3)]
    assert [b["name"] for b in app.json("db", "backups")] == [names[2], names[1]]
    assert app.pushrod(
        "db", "restore", names[1], "--yes"
    ).ok  # takes one itself, and keeps the one it restores
    assert names[1] in [b["name"] for b in app.json("db", "backups")]


@pytest.mark.long
def test_all_due_apps_are_backed_up_despite_failures_of_others(new_machine: object) -> None:
    machine: Machine = new_machine()  # type: ignore[operator]
    one, two, three = (machine.app(name, FILES) for name in ("broken", "busy", "well"))
    journal = one.directory / "journal"
    whole = journal.read_bytes()
    journal.write_bytes(b"garbage\n" + whole)
    with locks.lock(two.directory / "lock", purpose="testing", timeout=0):
        done = machine.pushrod("db", "backup", "--all")
    assert done.status == 11, done.err
    assert "busy is skipped until the next run" in done.err
    assert len(three.json("db", "backups")) == 1
    assert three.pushrod("db", "backup", "--all").ok is False
    assert len(three.json("db", "backups")) == 1  # no longer due
    assert not (two.directory / "backups").exists() or two.json("db", "backups")
    journal.write_bytes(whole)
