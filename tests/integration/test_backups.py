"""Backups of an app's PostgreSQL and Valkey: taken while it serves, verified, restored."""

import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools import apps
from devtools.apps import Answer, App, Machine
from pushrod.system import files, locks, processes

pytestmark = pytest.mark.integration

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
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


def test_lost_rows_come_back_and_what_was_there_stays_beside(shop: App) -> None:
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


def test_a_backup_says_what_it_is_and_nobody_else_can_read_it(shop: App) -> None:
    name = take(shop)
    place = directory(shop, name)
    found = json.loads((place / "backup.json").read_text())
    assert found == shop.json("db", "backups")[0]
    assert (found["app"], found["release"], found["commit"]) == (
        shop.settings["name"],
        shop.live,
        shop.branch(),
    )
    assert {f["name"]: f["bytes"] for f in found["files"]} == {
        p.name: p.stat().st_size for p in place.iterdir() if p.name != "backup.json"
    }
    assert [f["sha256"] for f in found["files"]] == [files.digest(place / f["name"]) for f in found["files"]]
    assert {p.name: oct(p.stat().st_mode & 0o777) for p in (place.parent, place, *place.iterdir())} == {
        "backups": "0o700", name: "0o700",
        "backup.json": "0o600", "postgres.dump": "0o600", "redis.rdb": "0o600",
    }  # fmt: skip


def test_a_backup_is_tried_out(shop: App) -> None:
    name = take(shop)
    sql(shop, "delete from goods")
    done = shop.must("db", "verify")
    assert done.splitlines() == [f"{name} postgres: 1 tables, 3 rows", f"{name} redis: intact, not restored"]
    assert sql(shop, "select count(*) from pg_database where datname like '%verifying'") == "0"


def test_other_rows_than_were_backed_up_are_found(shop: App) -> None:
    """The record claims four rows of a table, as if a restore had lost one."""
    name = take(shop)
    record = directory(shop, name) / "backup.json"
    record.write_text(record.read_text().replace('"public.goods": 3', '"public.goods": 4'))
    done = shop.pushrod("db", "verify", name)
    found = apps.complaint(done)
    assert (done.status, "public.goods 3 instead of 4" in found.what) == (6, True)


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


def test_a_valkey_is_restored_by_hand_as_the_page_says(shop: App) -> None:
    shop.get("/redis?q=SET+word+before")
    backup = directory(shop, take(shop))
    shop.get("/redis?q=SET+word+after")
    script = re.search(r"^pushrod down\n(cd .*?)^pushrod restart", PAGE, re.MULTILINE | re.DOTALL)
    assert script
    text = script[1].replace("ROOT/apps/shop", str(shop.directory)).replace("BACKUP", str(backup))
    shop.must("down")
    done = processes.run(["sh", "-euc", text])
    assert done.status == 0, done.stderr
    shop.must("restart")
    assert "before" in shop.get("/redis?q=GET+word").body


def test_a_restore_asks_for_the_apps_name(shop: App) -> None:
    name = take(shop)
    sql(shop, "delete from goods")
    assert not shop.pushrod("db", "restore", name, stdin="another\n").ok
    assert sql(shop, "select count(*) from goods") == "0"


def test_instances_in_the_middle_of_a_statement_do_not_keep_a_restore_up(shop: App) -> None:
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


def test_what_a_name_can_be(shop: App) -> None:
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
        found = apps.complaint(done)
        assert (done.status, "database" in found.where) == (6, True), found
    finally:
        processes.run(
            [apps.PUSHROD[0], "-m", "supervisor.supervisorctl", "-c", configuration, "start", f"{group}:*"]
        )
    assert len(list((shop.directory / "backups").iterdir())) == 1
    apps.eventually(lambda: shop.get("/sql?q=select+1").status == 200, "PostgreSQL is back")


def test_as_many_are_kept_as_the_manifest_says(machine: Machine) -> None:
    keys = "x-pushrod: {backups: {every: hour, keep: 2}}\n"
    app = machine.app("sparing", {**FILES, "compose.yaml": keys + FILES["compose.yaml"]})
    names = [take(app) for _ in range(3)]
    assert [b["name"] for b in app.json("db", "backups")] == [names[2], names[1]]
    assert app.pushrod(
        "db", "restore", names[1], "--yes"
    ).ok  # takes one itself, and keeps the one it restores
    assert names[1] in [b["name"] for b in app.json("db", "backups")]


def test_all_that_are_due_are_backed_up_whatever_happens_to_the_others(new_machine: object) -> None:
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
