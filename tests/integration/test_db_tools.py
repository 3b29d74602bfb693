"""An administrator's tools for an app's PostgreSQL and Valkey: shells, figures, export and import."""

import urllib.parse
from pathlib import Path

import pytest

from devtools import apps
from devtools.apps import App, Machine

pytestmark = pytest.mark.integration

STORES = {name: {"image": image} for name, image in (
    ("postgres", "postgres:18"), ("redis", "valkey/valkey:9"), ("cache", "valkey/valkey:9")
)}  # fmt: skip
FILES = {"app.py": apps.APP, "compose.yaml": apps.manifest(STORES, environment={"PSQL": apps.PSQL})}


def sql(app: App, statement: str) -> str:
    """PostgreSQL's answer to the app's own role, asked by an instance."""
    answer = app.get(f"/sql?{urllib.parse.urlencode({'q': statement})}")
    assert answer.status == 200, answer.body
    return answer.body


@pytest.fixture(scope="module")
def made(machine: Machine) -> App:
    return machine.app("tools", FILES)


@pytest.fixture
def shop(made: App) -> App:
    """The app with a table of three rows."""
    sql(
        made,
        "drop table if exists goods, more; create table goods (id serial primary key, name text not null)",
    )
    sql(made, "insert into goods (name) values ('a'), ('b'), ('c')")
    return made


def test_the_shell_runs_statements_as_the_role_that_was_asked_for(shop: App) -> None:
    look = "\\pset tuples_only\n\\pset format unaligned\nselect session_user, count(*) from goods;\n"
    name = shop.settings["name"]
    assert shop.must("db", "shell", "--read-only", stdin=look).splitlines()[-1] == f"{name}_readonly|3"
    assert shop.must("db", "shell", stdin=look).splitlines()[-1] == f"{name}_migrator|3"
    made = shop.pushrod("db", "shell", stdin="create table more as select * from goods;\n")
    assert (made.ok, sql(shop, "select count(*) from more")) == (True, "3")


def test_the_read_only_shell_changes_nothing(shop: App) -> None:
    for statement in (
        "insert into goods (name) values ('x')",
        "set default_transaction_read_only = off; delete from goods",
        "set default_transaction_read_only = off; set transaction_read_only = off; create table mine (id int)",
        "drop table goods",
        "set role tools_owner",
    ):
        done = shop.pushrod("db", "shell", "--read-only", stdin=f"\\set ON_ERROR_STOP 1\n{statement};\n")
        assert (done.status, "ERROR" in done.err) == (3, True), (statement, done)
    assert sql(shop, "select string_agg(name, '' order by id) from goods") == "abc"


def test_sizes_are_those_of_the_database(shop: App) -> None:
    sql(
        shop,
        "create table more as select n, repeat('x', 100) as t from generate_series(1, 5000) n; analyze more",
    )
    size = shop.json("db", "size", "--lines", "1")
    assert [t["name"] for t in size["tables"]] == ["public.more"]
    assert (size["tables"][0]["rows"], size["tables"][0]["data"] > 500_000) == (5000, True)
    assert (size["bytes"] > 5_000_000, size["wal"] >= 16 << 20, size["written"] > 0) == (True, True, True)
    assert "public.more" in shop.must("db", "size")


def test_the_statements_that_took_most_time_come_first(shop: App) -> None:
    sql(shop, "select pg_sleep(0.3)")
    sql(shop, "select count(*) from goods where name <> 'secret-word'")
    result = shop.json("db", "top", "--lines", "200")
    slow = next(n for n, s in enumerate(result) if "pg_sleep" in s["text"])
    quick = next(n for n, s in enumerate(result) if "from goods where name <>" in s["text"])
    assert slow < quick
    assert result[slow]["total"] >= 300
    assert (result[slow]["role"], result[slow]["calls"]) == (
        "tools_owner",
        1,
    )  # it has no release command, so it acts as the owner
    assert "secret-word" not in str(result)
    assert "pg_sleep" in shop.must("db", "top", "--lines", "200")


def test_an_export_is_imported_and_the_previous_database_is_kept(shop: App, tmp_path: Path) -> None:
    dump = tmp_path / "goods.dump"
    shop.must("db", "export", str(dump))
    assert (dump.read_bytes()[:5], oct(dump.stat().st_mode & 0o777)) == (b"PGDMP", "0o600")
    assert [p.name for p in tmp_path.iterdir()] == ["goods.dump"]
    sql(shop, "delete from goods where id > 1")
    assert "1 tables, 3 rows" in shop.must("db", "import", str(dump), "--yes")
    assert sql(shop, "select string_agg(name, '' order by id) from goods") == "abc"
    sql(shop, "insert into goods (name) values ('d')")  # rights and sequences are as before
    kept = "select count(*) from pg_database where datname = 'tools_before_import'"
    assert sql(shop, kept) == "1"
    owner = (
        "select string_agg(distinct pg_get_userbyid(relowner), ' ') from pg_class where relname like 'goods%'"
    )
    assert sql(shop, owner) == "tools_owner"
    answer = shop.must("db", "shell", "--read-only", stdin="select 'rows', count(*) from goods;\n")
    assert "rows" in answer and "4" in answer


@pytest.mark.parametrize("harm", ["cut", "cut short", "flipped", "text", "empty"])
def test_a_dump_that_cannot_be_restored_changes_nothing(shop: App, tmp_path: Path, harm: str) -> None:
    dump = tmp_path / "goods.dump"
    sql(shop, "create table more as select n, md5(n::text) as t from generate_series(1, 2000) n")
    shop.must("db", "export", str(dump))
    raw = dump.read_bytes()
    middle = len(raw) // 2
    harmed = {
        "cut": raw[:middle],
        "cut short": raw[:-20],
        "flipped": raw[:middle] + bytes(b ^ 0x55 for b in raw[middle : middle + 64]) + raw[middle + 64 :],
        "text": b"create table other (id int);\n",
        "empty": b"",
    }
    dump.write_bytes(harmed[harm])
    sql(shop, "insert into goods (name) values ('kept')")
    done = shop.pushrod("db", "import", str(dump), "--yes")
    assert (done.status, "Traceback" in done.err) == (6, False), done.err
    assert sql(shop, "select count(*) from goods") == "4"
    assert sql(shop, "select count(*) from pg_database where datname like '%importing'") == "0"


def test_an_import_acts_as_no_superuser(shop: App, tmp_path: Path) -> None:
    """A dump may contain any statement: here a view that is filled by the restore reads a file of the server."""
    harmless, harmful = "'harmless-text-harmless-text'::text", "pg_read_file('PG_VERSION')         "
    dump = tmp_path / "goods.dump"
    sql(shop, f"create materialized view look as select {harmless} as t")
    try:
        shop.must("db", "export", str(dump))
    finally:
        sql(shop, "drop materialized view look")
    raw = dump.read_bytes()
    assert raw.count(harmless.encode()) == 1 and len(harmless) == len(harmful)
    dump.write_bytes(raw.replace(harmless.encode(), harmful.encode()))
    done = shop.pushrod("db", "import", str(dump), "--yes")
    assert (done.status, "permission denied for function pg_read_file" in done.err) == (6, True), done.err


def test_what_cannot_be_meant_is_refused(shop: App, tmp_path: Path) -> None:
    assert shop.pushrod("db", "size", "--store", "redis").status == 12
    assert shop.pushrod("db", "import", "-", stdin="").status == 2
    missing = shop.pushrod("db", "import", str(tmp_path / "missing.dump"), "--yes")
    assert (missing.status, "missing.dump" in missing.err) == (10, True)
    closed = shop.pushrod("db", "export", str(tmp_path / "no" / "such.dump"))
    assert (closed.status, "such.dump" in closed.err) == (10, True)
    asked = shop.pushrod("db", "import", __file__, stdin="another\n")
    assert (asked.status, sql(shop, "select count(*) from goods")) == (130, "3")


def test_a_redis_is_looked_into_with_the_apps_rights(shop: App) -> None:
    done = shop.pushrod(
        "redis", "shell", "--store", "redis", stdin="set greeting 'hello world'\nget greeting\nflushall\n"
    )
    assert (done.status, done.out.splitlines()[:2]) == (1, ["OK", "hello world"])
    assert "NOPERM" in done.out
    slow = "eval 'local n = 0 for i = 1, 5000000 do n = n + 1 end return n' 0\nget missing\n"
    assert shop.must("redis", "shell", "--store", "redis", stdin=slow) == "(integer) 5000000\n(nil)\n"
    stats = shop.json("redis", "stats", "--store", "redis")
    assert (stats["hits"], stats["misses"], stats["hit_rate"], stats["keys"]) == (1, 1, 0.5, 1)
    assert (stats["append_only"], stats["policy"], stats["limit"]) == (True, "noeviction", 0)
    assert ("EVAL", 2) in [(s["command"], s["arguments"]) for s in stats["slow"]]
    assert "50.0% of lookups hit (1 of 2)" in shop.must("redis", "stats", "--store", "redis")


def test_a_redis_named_cache_keeps_nothing_and_is_bounded(shop: App) -> None:
    stats = shop.json("redis", "stats", "--store", "cache")
    assert (stats["append_only"], stats["policy"], stats["limit"]) == (False, "allkeys-lru", 192 << 20)
    which = shop.pushrod("redis", "stats")
    assert (which.status, "add --store NAME; stores: " in which.err) == (12, True)


def test_another_profile_waits_for_the_next_start(shop: App) -> None:
    stores = {**STORES, "redis": {**STORES["redis"], "x-pushrod": {"profile": "cache"}}}
    shop.tree.commit({"compose.yaml": apps.manifest(stores, environment={"PSQL": apps.PSQL})}, "a cache")
    assert "appendonly, maxmemory, maxmemory-policy take effect when it starts next" in shop.must("plan")
    done = shop.pushrod("deploy")
    assert done.ok and "maxmemory-policy take effect when it starts next" in done.err
    assert shop.json("redis", "stats", "--store", "redis")["append_only"]
    shop.must("down")
    shop.must("restart")
    assert not shop.json("redis", "stats", "--store", "redis")["append_only"]
