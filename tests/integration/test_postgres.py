"""The PostgreSQL adapter with real servers: the wheel's, and Debian's if installed."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from devtools import servers
from pushrod.adapters import postgres
from pushrod.adapters.postgres import Programs, Server, tuning
from pushrod.adapters.postgres.programs import environment
from pushrod.core.errors import StoreError
from pushrod.system import accounts, processes, waits

pytestmark = pytest.mark.integration

SUPERUSER_PASSWORD = "superuser-4d5e"
PASSWORDS = {"migrator": "migrator-9c1b", "app": "app-77aa", "readonly": "readonly-51c0"}


@dataclass
class Cluster:
    """A running cluster of this module."""

    server: Server
    data: Path
    log: Path
    account: accounts.Account | None

    def ask(self, user: str, password: str, database: str, sql: str) -> processes.Completed:
        """psql's result for a role of the app: PostgreSQL decides about its permissions."""
        address = postgres.url(user, password, self.server.port, database)
        options = ["-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1"]
        return processes.run([self.server.programs.psql, *options, address], env=environment(), stdin=sql)

    def app(self, name: str, sql: str) -> processes.Completed:
        """Run as the role of the app's instances."""
        return self.ask(f"{name}_app", PASSWORDS["app"], name, sql)

    def migrate(self, name: str, sql: str) -> None:
        """Run as the role of the release command; must succeed."""
        done = self.ask(f"{name}_migrator", PASSWORDS["migrator"], name, sql)
        assert done.status == 0, done.stderr

    def ensure(self, name: str, *, ddl: bool = False) -> None:
        postgres.ensure(self.server, name, name, PASSWORDS, ddl=ddl)


@pytest.fixture(scope="module", params=servers.postgres_programs(), ids=lambda p: str(Programs(p).major()))
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("postgres store")
    programs, data, log = Programs(request.param), directory / "data", directory / "log"
    account = accounts.child_account([directory, request.param])
    postgres.initialise(programs, data, SUPERUSER_PASSWORD, account)
    (data / "local.conf").write_text("log_statement = 'all'\nfsync = off\n")
    (data / "local.conf").chmod(0o644)
    server = Server(programs, servers.free_port(), SUPERUSER_PASSWORD)
    postgres.configure(data, server.port)
    with servers.running(postgres.server_argv(programs, data), account, log, postgres.STOP_SIGNAL):
        postgres.ready(server, 30, log)
        yield Cluster(server, data, log, account)


# ---- the cluster --------------------------------------------------------------------------------------------


def test_a_cluster_is_private_to_its_account(cluster: Cluster) -> None:
    status = cluster.data.stat()
    assert status.st_mode & 0o777 == 0o700
    assert cluster.account is None or status.st_uid == cluster.account.uid
    assert [p.name for p in cluster.data.parent.iterdir() if p.name.startswith(".data")] == []


def test_a_cluster_has_the_required_settings(cluster: Cluster) -> None:
    names = (
        "server_encoding",
        "data_checksums",
        "password_encryption",
        "timezone",
        "unix_socket_directories",
    )
    rows = cluster.server.query("".join(f"show {n};\n" for n in names))
    assert [r[0] for r in rows] == ["UTF8", "on", "scram-sha-256", "UTC", ""]
    [(collate,)] = cluster.server.query("select datcollate from pg_database where datname = 'postgres'")
    assert collate == "C.UTF-8"


def test_the_users_own_settings_take_precedence(cluster: Cluster) -> None:
    assert cluster.server.query("show log_statement") == [("all",)]


def test_initialise_keeps_an_existing_cluster(cluster: Cluster) -> None:
    before = cluster.data.stat().st_ino
    postgres.initialise(cluster.server.programs, cluster.data, "another", cluster.account)
    assert cluster.data.stat().st_ino == before
    assert cluster.server.query("select 1") == [("1",)]


def test_postgresql_accepts_its_configuration(cluster: Cluster) -> None:
    assert (
        cluster.server.query("select sourceline, error from pg_file_settings where error is not null") == []
    )
    assert cluster.server.query("select error from pg_hba_file_rules where error is not null") == []


INITIALISE = """
import sys
from pathlib import Path
from pushrod.system import accounts
from pushrod.adapters import postgres
programs, data = postgres.Programs(Path(sys.argv[1])), Path(sys.argv[2])
postgres.initialise(programs, data, "secret", accounts.child_account([data.parent, programs.bin]))
"""


@pytest.mark.parametrize("reached", ["password", "data/global", "data/postgresql.conf", "data/base/1"])
def test_a_killed_initialise_leaves_no_data_directory(tmp_path: Path, reached: str) -> None:
    programs, data = Programs(servers.postgres_programs()[0]), tmp_path / "data"
    child = subprocess.Popen([sys.executable, "-c", INITIALISE, str(programs.bin), str(data)])
    try:
        assert waits.wait_until(lambda: bool(list(tmp_path.glob(f".data.*/{reached}"))), 20, 0.001)
        assert not data.exists()
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not data.exists()
    assert waits.wait_until(lambda: not _processes_naming(str(tmp_path)), 20)

    account = accounts.child_account([tmp_path, programs.bin])
    postgres.initialise(programs, data, "secret", account)
    assert [p.name for p in tmp_path.iterdir()] == ["data"]
    assert (data / "PG_VERSION").exists()


def _processes_naming(text: str) -> list[int]:
    result = psutil.process_iter(["pid", "cmdline"])
    return [p.info["pid"] for p in result if any(text in a for a in p.info["cmdline"] or ())]


def test_a_failed_initdb_leaves_nothing_and_reports_the_cause(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name, body in (
        ("postgres", "echo 'postgres (PostgreSQL) 18.6'"),
        ("initdb", "echo no room >&2; exit 1"),
    ):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    account = accounts.child_account([tmp_path])
    with pytest.raises(StoreError, match="initdb ended with status 1") as caught:
        postgres.initialise(Programs(tmp_path / "bin"), tmp_path / "data", "secret", account)
    assert caught.value.log == ("no room",)
    assert [p.name for p in tmp_path.iterdir()] == ["bin"]


# ---- the server ---------------------------------------------------------------------------------------------


def test_rows_are_returned_unchanged(cluster: Cluster) -> None:
    sql = "select E'a,\"b\"\\n|c', null, ''; select null; select 'ü'"
    assert cluster.server.query(sql) == [('a,"b"\n|c', "", ""), ("",), ("ü",)]


def test_the_superuser_has_an_empty_search_path(cluster: Cluster) -> None:
    assert cluster.server.query("select current_setting('search_path')") == [("",)]


def test_a_failing_statement_ends_the_script_with_postgresqls_message(cluster: Cluster) -> None:
    with pytest.raises(StoreError) as caught:
        cluster.server.query("select 1/0; create role never")
    assert caught.value.what == "division by zero"
    assert cluster.server.query("select count(*) from pg_roles where rolname = 'never'") == [("0",)]


def test_a_statement_that_times_out_ends_in_the_server_too(cluster: Cluster) -> None:
    with pytest.raises(StoreError, match="statement timeout"):
        cluster.server.query("select pg_sleep(60)", timeout=0.1)


def test_a_wrong_password_is_reported_at_once(cluster: Cluster) -> None:
    wrong = Server(cluster.server.programs, cluster.server.port, "wrong")
    with pytest.raises(StoreError, match="password authentication failed") as caught:
        wrong.query("select 1")
    assert "restore the app's secrets" in caught.value.hint
    with pytest.raises(StoreError, match="not ready: password authentication failed") as caught:
        postgres.ready(wrong, 600, cluster.log)
    assert caught.value.log


def test_ready_waits_for_a_server_that_recovers_from_a_crash(tmp_path: Path) -> None:
    programs, data, log = Programs(servers.postgres_programs()[0]), tmp_path / "data", tmp_path / "log"
    account = accounts.child_account([tmp_path, programs.bin])
    server = Server(programs, servers.free_port(), "secret")
    postgres.initialise(programs, data, "secret", account)
    postgres.configure(data, server.port)
    argv = postgres.server_argv(programs, data)
    with servers.running(argv, account, log, postgres.STOP_SIGNAL) as first:
        postgres.ready(server, 30, log)
        server.query("create table public.kept as select generate_series(1, 1000) as n")
        children = psutil.Process(first.pid).children(recursive=True)
        for process in (psutil.Process(first.pid), *children):
            process.kill()
        first.wait()
        psutil.wait_procs(children, timeout=10)
    with servers.running(argv, account, log, postgres.STOP_SIGNAL):
        postgres.ready(server, 30, log)
        assert server.query("select count(*) from public.kept") == [("1000",)]


def test_the_stop_signal_ends_the_server_with_an_open_session(tmp_path: Path) -> None:
    programs, data, log = Programs(servers.postgres_programs()[0]), tmp_path / "data", tmp_path / "log"
    account = accounts.child_account([tmp_path, programs.bin])
    server = Server(programs, servers.free_port(), "secret")
    postgres.initialise(programs, data, "secret", account)
    postgres.configure(data, server.port)
    with servers.running(postgres.server_argv(programs, data), account, log, postgres.STOP_SIGNAL) as child:
        postgres.ready(server, 30, log)
        address = postgres.url("postgres", "secret", server.port, "postgres")
        with subprocess.Popen(
            [programs.psql, "-X", "-q", address],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
        ) as session:
            sessions = "select count(*) from pg_stat_activity where application_name = 'psql'"
            assert waits.wait_until(lambda: server.query(sessions) == [("1",)], 20)
            child.send_signal(signal.SIGINT)
            assert child.wait(20) == 0
            session.kill()
    assert "database system is shut down" in log.read_text()


# ---- roles --------------------------------------------------------------------------------------------------


def refused(done: processes.Completed, why: str) -> None:
    assert done.status != 0, done.stdout
    assert why in done.stderr


def test_the_app_role_can_change_only_rows(cluster: Cluster) -> None:
    cluster.ensure("shop")
    cluster.migrate("shop", "create table item (id bigserial primary key, name text not null)")
    sql = """insert into item (name) values ('one'), ('two');
             update item set name = 'three' where name = 'two';
             delete from item where name = 'one';
             create temporary table work as select * from item;
             select id || name from item;"""
    assert cluster.app("shop", sql).stdout == "2three\n"
    for statement, why in {
        "create table mine (id int)": "permission denied for schema public",
        "create schema mine": "permission denied for database shop",
        "alter table item add column more int": "must be owner of table item",
        "drop table item": "must be owner of table item",
        "truncate item": "permission denied for table item",
        "create index on item (name)": "must be owner of table item",
        "create role other": "permission denied to create role",
        "create database other": "permission denied to create database",
        "set role shop_owner": 'permission denied to set role "shop_owner"',
        "set role postgres": 'permission denied to set role "postgres"',
        "copy item to program 'id'": "COPY to or from an external program",
        "select pg_read_file('PG_VERSION')": "permission denied for function pg_read_file",
        "select rolpassword from pg_authid": "permission denied for table pg_authid",
    }.items():
        refused(cluster.app("shop", statement), why)


def test_a_question_is_answered_with_the_roles(cluster: Cluster) -> None:
    alone = cluster.server.query(tuning.question())
    assert len(alone) > 100
    for _ in ("made", "unchanged"):
        asked = tuning.question()
        assert postgres.ensure(cluster.server, "asks", "asks", PASSWORDS, ddl=False, question=asked) == alone
        assert cluster.app("asks", "select current_user").stdout == "asks_app\n"


def test_the_read_only_role_reads_everything_and_changes_nothing(cluster: Cluster) -> None:
    cluster.server.query("create database looks")
    made = "create schema old; create table old.item (id serial, name text); insert into old.item (name) values ('x')"
    cluster.server.query(made, "looks")
    cluster.ensure("looks")
    cluster.migrate("looks", "create schema sales; create table sales.bill (id serial primary key, n int)")
    cluster.migrate("looks", "create table secret (n int); revoke select on secret from looks_readonly")
    cluster.ensure("looks")

    def look(sql: str) -> processes.Completed:
        return cluster.ask("looks_readonly", PASSWORDS["readonly"], "looks", sql)

    assert look("select count(*) from old.item; select count(*) from sales.bill").stdout == "1\n0\n"
    refused(look("select * from secret"), "permission denied for table secret")
    refused(look("insert into sales.bill (n) values (1)"), "read-only transaction")
    for statement, why in {
        "insert into sales.bill (n) values (1)": "permission denied for table bill",
        "select nextval('sales.bill_id_seq')": "permission denied for sequence bill_id_seq",
        "create table mine (id int)": "permission denied for schema public",
        "create temporary table mine (id int)": "permission denied to create temporary tables",
        "set role looks_owner": 'permission denied to set role "looks_owner"',
        "select rolpassword from pg_authid": "permission denied for table pg_authid",
    }.items():
        refused(look(f"set default_transaction_read_only = off; {statement}"), why)


def test_objects_of_a_later_migration_are_accessible_in_every_schema(cluster: Cluster) -> None:
    cluster.ensure("later")
    cluster.migrate("later", "create schema sales; create table sales.bill (id serial primary key, n int)")
    cluster.migrate(
        "later", "create table public.more (n int); create view public.seen as select * from more"
    )
    cluster.migrate("later", "create function twice(n int) returns int language sql as 'select n * 2'")
    sql = """insert into sales.bill (n) values (21);
             insert into more select n from sales.bill;
             select twice(n) from seen;"""
    assert cluster.app("later", sql).stdout == "42\n"


def test_objects_of_the_migrator_belong_to_the_owner(cluster: Cluster) -> None:
    cluster.ensure("owns")
    cluster.migrate("owns", "create table item (id int)")
    sql = "select tableowner from pg_tables where schemaname = 'public'"
    assert cluster.server.query(sql, "owns") == [("owns_owner",)]
    [(database_owner,)] = cluster.server.query(
        "select pg_get_userbyid(datdba) from pg_database where datname = 'owns'"
    )
    assert database_owner == "owns_owner"
    refused(cluster.ask("owns_owner", PASSWORDS["migrator"], "owns", "select 1"), "authentication failed")


def test_a_trusted_extension_needs_no_superuser(cluster: Cluster) -> None:
    cluster.ensure("trigrams")
    available = "select count(*) from pg_available_extensions where name = 'pg_trgm'"
    if cluster.server.query(available) != [("1",)]:
        pytest.skip("this PostgreSQL comes without pg_trgm")
    cluster.migrate("trigrams", "create extension pg_trgm")
    assert cluster.app("trigrams", "select similarity('one', 'one')").stdout == "1\n"


def test_existing_objects_are_granted(cluster: Cluster) -> None:
    cluster.server.query("create database early")
    made = "create schema old; create table old.item (id serial, name text); insert into old.item (name) values ('x')"
    cluster.server.query(made, "early")
    cluster.ensure("early")
    sql = "insert into old.item (name) values ('y'); select count(*) from old.item"
    assert cluster.app("early", sql).stdout == "2\n"


def test_a_right_revoked_by_a_migration_stays_revoked(cluster: Cluster) -> None:
    cluster.ensure("audited")
    cluster.migrate(
        "audited", 'create table audit (id int); revoke delete, update on audit from "audited_app"'
    )
    cluster.ensure("audited")
    assert cluster.app("audited", "insert into audit values (1)").status == 0
    refused(cluster.app("audited", "delete from audit"), "permission denied for table audit")


def test_apps_do_not_reach_each_others_databases(cluster: Cluster) -> None:
    cluster.ensure("one")
    cluster.ensure("two")
    for database in ("two", "postgres", "template1"):
        done = cluster.ask("one_app", PASSWORDS["app"], database, "select 1")
        refused(done, f'permission denied for database "{database}"')
        done = cluster.ask("one_migrator", PASSWORDS["migrator"], database, "select 1")
        refused(done, f'permission denied for database "{database}"')


def test_names_with_a_dash_work(cluster: Cluster) -> None:
    cluster.ensure("my-shop-2")
    cluster.migrate("my-shop-2", "create table item (id int)")
    assert cluster.app("my-shop-2", "insert into item values (7); table item").stdout == "7\n"


def test_the_ddl_setting_grants_and_revokes_the_schema(cluster: Cluster) -> None:
    cluster.ensure("self", ddl=True)
    assert cluster.app("self", "create table mine (id int)").status == 0
    cluster.migrate("self", "alter table mine add column name text")
    cluster.ensure("self", ddl=False)
    refused(cluster.app("self", "create table other (id int)"), "permission denied for schema public")
    assert cluster.app("self", "insert into mine values (1, 'x'); select name from mine").stdout == "x\n"
    cluster.ensure("self", ddl=True)
    assert cluster.app("self", "drop table mine").status == 0


def test_ensure_again_writes_nothing(cluster: Cluster) -> None:
    cluster.ensure("still")
    before = _catalogue(cluster, "still")
    cluster.ensure("still")
    assert _catalogue(cluster, "still") == before


def _catalogue(cluster: Cluster, database: str) -> list[postgres.Row]:
    """Every row that `ensure` could write, with the transaction that last wrote it (xmin)."""
    tables = ("authid", "auth_members", "database", "db_role_setting", "namespace", "default_acl")
    sql = "".join(f"select xmin, t.* from pg_catalog.pg_{t} t order by ctid;\n" for t in tables)  # noqa: S608
    return cluster.server.query(sql, database)


def test_ensure_repairs_changed_roles_and_grants(cluster: Cluster) -> None:
    cluster.ensure("mended")
    cluster.server.query(
        "alter role mended_app superuser createrole password 'other'; revoke mended_owner from mended_migrator;"
        "grant connect on database mended to public; alter database mended owner to postgres"
    )
    cluster.ensure("mended")
    cluster.migrate("mended", "create table item (id int)")
    assert cluster.app("mended", "table item").status == 0
    refused(cluster.app("mended", "create role more"), "permission denied to create role")
    cluster.ensure("other")
    refused(
        cluster.ask("other_app", PASSWORDS["app"], "mended", "select 1"), "permission denied for database"
    )


def test_a_changed_password_is_set(cluster: Cluster) -> None:
    cluster.ensure("turned")
    postgres.ensure(cluster.server, "turned", "turned", PASSWORDS | {"app": "app-new"}, ddl=False)
    assert cluster.ask("turned_app", "app-new", "turned", "select 1").stdout == "1\n"
    refused(cluster.app("turned", "select 1"), "password authentication failed")
    cluster.migrate("turned", "select 1")


def test_no_password_reaches_the_log(cluster: Cluster) -> None:
    cluster.ensure("quiet")
    log = cluster.log.read_text()
    assert 'alter role "quiet_app" password' in log, "the server logs every statement in these tests"
    assert not [p for p in (SUPERUSER_PASSWORD, *PASSWORDS.values()) if p in log]


# ---- the schema ---------------------------------------------------------------------------------------------

BASE = """
create table item (id bigserial primary key, name text not null default 'x', price numeric(10, 2));
create table line (item bigint references item (id), n int check (n > 0));
create type mood as enum ('good', 'bad');
create view cheap as select id, name, price from item where price < 10;
create function twice(n int) returns int language sql as 'select n * 2';
create sequence bill_number;
"""

CHANGES = [
    "create table more (id int)",
    "alter table item add column note text",
    "alter table item alter column name drop not null",
    "alter table item alter column name set default 'y'",
    "alter table line alter column n type bigint",
    "create index on item (name)",
    "create unique index on item (lower(name)) where price > 0",
    "alter table line drop constraint line_n_check",
    "alter table line add constraint small check (n < 100) not valid",
    "alter type mood add value 'so-so' after 'good'",
    "create or replace view cheap as select id, name, price from item where price < 5",
    "create or replace function twice(n int) returns int language sql as 'select n + n'",
    "create aggregate total (int) (sfunc = int4pl, stype = int, initcond = '0')",
    "alter sequence bill_number increment by 10",
    "create domain short as text check (length(value) < 10)",
    "create schema empty",
    "alter table item enable row level security",
    "create policy own on item using (name = current_user)",
    "create trigger same before update on item for each row execute function suppress_redundant_updates_trigger()",
    "create rule quiet as on delete to line do instead nothing",
    "create materialized view total as select count(*) from item",
    "create extension citext",
    "alter table item drop column price cascade",
]


def test_the_digest_changes_with_every_kind_of_ddl_and_is_restored_with_it(cluster: Cluster) -> None:
    cluster.ensure("schema")
    empty = postgres.schema_digest(cluster.server, "schema")
    cluster.migrate("schema", BASE)
    seen = {empty: "nothing", postgres.schema_digest(cluster.server, "schema"): "the base"}
    assert len(seen) == 2
    for change in CHANGES:
        cluster.migrate("schema", change)
        digest = postgres.schema_digest(cluster.server, "schema")
        assert digest not in seen, f"{change!r} left the digest of {seen.get(digest)!r}"
        seen[digest] = change
    cluster.migrate("schema", "create table passing (id bigserial primary key)")
    cluster.migrate("schema", "drop table passing")
    assert postgres.schema_digest(cluster.server, "schema") == digest


def test_digest_does_not_change_with_rows_sequences_rights_or_temporary_tables(cluster: Cluster) -> None:
    cluster.ensure("rows")
    cluster.migrate("rows", BASE)
    before = postgres.schema_digest(cluster.server, "rows")
    cluster.migrate("rows", "insert into item (name) values ('a'), ('b'); select nextval('bill_number')")
    cluster.migrate("rows", "grant truncate on item to rows_app; analyze; create temporary table t (id int)")
    cluster.ensure("rows", ddl=True)
    assert postgres.schema_digest(cluster.server, "rows") == before


# ---- the role of an exporter --------------------------------------------------------------------------------


def test_an_exporters_role_reads_the_servers_figures_and_no_data(cluster: Cluster) -> None:
    cluster.ensure("figures")
    cluster.migrate("figures", "create table seen (id int); insert into seen values (1);")
    for password in ("first-1a2b", "second-3c4d", "second-3c4d"):
        postgres.ensure_monitor(cluster.server, "figures", password)
    name = postgres.monitor("figures")
    assert "password authentication failed" in cluster.ask(name, "first-1a2b", "postgres", "select 1").stderr
    for figure in (
        "select count(*) > 0 from pg_stat_activity where query <> '<insufficient privilege>'",
        "select pg_database_size('figures') > 0",
        "select count(*) > 100 from pg_settings",
        "select count(*) >= 0 from pg_locks",
    ):
        assert cluster.ask(name, "second-3c4d", "postgres", figure).stdout == "t\n", figure
    refused = cluster.ask(name, "second-3c4d", "figures", "select 1")
    assert 'permission denied for database "figures"' in refused.stderr
    for change in ("create table mine (id int)", "create role other", "alter system set work_mem = '1GB'"):
        assert cluster.ask(name, "second-3c4d", "postgres", change).status != 0, change
    cluster.server.query(f'alter role "{name}" superuser')
    postgres.ensure_monitor(cluster.server, "figures", "second-3c4d")
    cluster.ensure("figures")  # a deployment, which closes databases to all others
    assert cluster.ask(name, "second-3c4d", "postgres", "show is_superuser").stdout == "off\n"
    for _ in range(2):
        postgres.remove_monitor(cluster.server, "figures")
    assert cluster.server.query(f"select from pg_roles where rolname = '{name}'") == []
