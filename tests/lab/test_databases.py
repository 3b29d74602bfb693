"""An administrator's tools for PostgreSQL on a Docker host, over SSH, and the settings of its server."""

import json
import os
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from devtools import apps
from devtools.lab.ground import Ground, Shop
from pushrod.cli import db_admin
from pushrod.cli.remote import Remote
from pushrod.system import forwarding

pytestmark = pytest.mark.lab

ROWS = [f"row-{n}" for n in range(20)]


@pytest.fixture(scope="module")
def shop(ground: Ground) -> Shop:
    return ground.shop_with(ROWS)


def started(shop: Shop) -> tuple[Any, ...]:
    result = shop.inspect("postgres")
    return result["Id"], result["State"]["StartedAt"]


def test_a_new_store_has_settings_for_its_memory_and_checksums(shop: Shop) -> None:
    memory = shop.inspect("postgres")["HostConfig"]["Memory"]
    assert shop.sql("select pg_size_bytes(current_setting('shared_buffers'))") == str(
        (memory // 4) >> 20 << 20
    )
    assert shop.sql("show data_checksums; show log_min_duration_statement").split() == ["on", "1s"]
    assert shop.sql("select count(*) from pg_settings where pending_restart") == "0"


def test_the_shell_over_ssh_can_only_do_what_its_role_may(shop: Shop) -> None:
    look = "\\pset tuples_only\nselect session_user, count(*) from rows;\n"
    look += "\\! id -u; psql -h postgres -U postgres -w\n"
    done = shop.at_desk("db", "shell", "--read-only", stdin=look)
    assert done.stdout.split()[-4:] == ["shop_readonly", "|", "20", "65534"]
    assert "password authentication failed" in done.stderr
    refused = shop.at_desk(
        "db", "shell", "--read-only", stdin="\\set ON_ERROR_STOP 1\ndelete from rows;\n", check=False
    )
    assert (refused.status, "read-only transaction" in refused.stderr) == (3, True)
    assert shop.at_desk("db", "shell", stdin="create table made (id int); drop table made;\n").status == 0
    assert "psql" not in shop.box.docker("ps", "--all", "--no-trunc", "--format={{.Command}}")


def test_the_shell_has_a_terminal_over_ssh(shop: Shop) -> None:
    argv = [*shop.box.ssh_command(), "-tt", f"pushrod@{shop.box.address}", "db shell --read-only --app shop"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as session:
        assert session.stdin and session.stdout
        shown = b""
        while b"shop=>" not in shown and (block := session.stdout.read(1)):
            shown += block
        session.stdin.write(b"select 6 * 7;\n\\q\n")
        rest = session.stdout.read()
        assert (session.wait(60), b"42" in rest) == (0, True), (shown, rest)


def test_the_way_of_pgadmin_leads_over_ssh_to_the_apps_own_database(shop: Shop, tmp_path: Path) -> None:
    """As the role that may only read. pgAdmin itself is in tests/integration."""
    ssh = (*shop.box.ssh_command(), f"pushrod@{shop.box.address}")
    login, first = db_admin.there(Remote(ssh, "shop"), "", False)
    first.close()

    def opened() -> socket.socket:
        return db_admin.there(Remote(ssh, "shop"), "", False)[1]

    owner = (os.geteuid(), os.getegid())
    with forwarding.listening(tmp_path / ".s.PGSQL.5432", opened, owner):
        argv = [apps.PSQL, "-X", "-At", "-h", str(tmp_path), "-U", login.role, "-d", login.database]
        asked = "select session_user, count(*) from rows"
        env = {**os.environ, "PGPASSWORD": login.password}
        done = subprocess.run([*argv, "-c", asked], env=env, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("shop_readonly|20\n", "")


def test_an_export_is_imported_over_ssh(shop: Shop, tmp_path: Path) -> None:
    dump = tmp_path / "rows.dump"
    shop.at_desk("db", "export", str(dump))
    assert (dump.read_bytes()[:5], dump.stat().st_mode & 0o777) == (b"PGDMP", 0o600)
    shop.sql("delete from rows where id <> 'row-0'")
    cut = tmp_path / "cut.dump"
    cut.write_bytes(dump.read_bytes()[:-200])
    failed = shop.at_desk("db", "import", str(cut), "--yes", check=False)
    assert (failed.status, shop.rows()) == (6, ["row-0"]), failed.stderr
    assert "20 rows" in shop.at_desk("db", "import", str(dump), "--yes").stdout
    assert sorted(shop.rows()) == sorted(ROWS)
    shop.post("after")
    assert shop.sql("select count(*) from pg_database where datname = 'shop_before_import'") == "1"


def test_sizes_and_statements_over_ssh(shop: Shop) -> None:
    size = json.loads(shop.ssh("db", "size", "--json").stdout)
    assert [t["name"] for t in size["tables"]] == ["public.rows"]
    assert size["bytes"] > 1_000_000
    result = json.loads(shop.ssh("db", "top", "--lines", "1000", "--json").stdout)
    assert any("insert into rows" in s["text"].lower() and s["role"] == "shop_app" for s in result), result


def test_a_new_redis_is_durable_and_can_be_looked_into(shop: Shop) -> None:
    done = shop.at_desk("redis", "shell", stdin="set kept yes\nget kept\nget missing\n")
    assert done.stdout.split()[:2] == ["OK", "yes"], done
    stats = json.loads(shop.at_desk("redis", "stats", "--json").stdout)
    assert (stats["append_only"], stats["policy"]) == (True, "noeviction")
    assert stats["misses"] >= 1 and stats["keys"] >= 1
    shop.box.docker("kill", shop.container("redis"))
    shop.box.docker("start", shop.container("redis"))
    shop.back(shop.live, "after its Redis was killed")
    assert "yes" in shop.at_desk("redis", "shell", stdin="get kept\n").stdout


def test_new_passwords_fail_no_request_and_serve_a_rollback(shop: Shop) -> None:
    ended, statuses = threading.Event(), list[int]()

    def ask() -> None:
        while not ended.wait(0.05):
            statuses.append(shop.get("/rows").status)

    thread = threading.Thread(target=ask)
    thread.start()
    before = shop.live
    try:
        shop.at_desk("db", "rotate")
    finally:
        ended.set()
        thread.join()
    assert (set(statuses), len(statuses) > 20, shop.live) == ({200}, True, before + 1)
    logins = "select rolname from pg_authid where rolpassword is not null and rolname like 'shop_app%'"
    assert shop.sql(logins) == "shop_app2"
    shop.at_desk("rollback")
    shop.post("after a rollback")
    assert shop.sql("select count(*) from pg_stat_activity where usename = 'shop_app'") == "0"


def test_a_setting_restarts_no_store_without_a_word(shop: Shop) -> None:
    before = started(shop)
    shop.sql("alter system set deadlock_timeout = '7s'")
    given = {"work_mem": "9MB", "shared_buffers": "48MB", "deadlock_timeout": "3s"}
    path = shop.tree.path / "compose.yaml"
    document = yaml.safe_load(path.read_text())
    document["services"]["postgres"]["x-pushrod"] = {"settings": given}
    shop.tree.commit({"compose.yaml": yaml.safe_dump(document)})
    planned = shop.at_desk("plan").stdout
    assert "other settings, without a restart: deadlock_timeout, shared_buffers, work_mem" in planned
    pushed = shop.push()
    assert pushed.ok, pushed.err
    assert "postgres: shared_buffers take effect when it starts next" in pushed.err
    assert started(shop) == before
    assert shop.sql("show work_mem; show deadlock_timeout").split() == ["9MB", "7s"]
    assert shop.sql("select name from pg_settings where pending_restart") == "shared_buffers"
    shop.box.docker("restart", shop.container("postgres"))
    shop.back(shop.live, "after a restart of its store")
    assert shop.sql("show shared_buffers") == "48MB"


# With a shorter deadline than every push has.
ENDED = """
from pathlib import Path

from pushrod.cli.output import Steps
from pushrod.core.errors import ReleaseCommandError
from pushrod.engines import registry
from pushrod.releases.context import Context
from pushrod.releases.one_shots import OneShot, OneShots
from pushrod.state.apps import Root

root = Root(Path("/var/lib/pushrod"))
context = Context(root.app("shop"), registry.of(root), Steps(), lambda _: False)
live = context.live()
try:
    OneShots(context, deadline=8).run(live, [OneShot(live.service("web"), ("sh", "-c", "exec sleep 304.5"))])
except ReleaseCommandError as e:
    print(e.what)
"""


def test_a_release_command_beyond_its_deadline_ends_with_its_container(shop: Shop) -> None:
    done = shop.box.exec("/opt/pushrod/bin/python", "-", user="pushrod", stdin=ENDED)
    assert "did not end within 8 s, and was ended" in done.stdout, done
    assert ".run" not in shop.box.docker("ps", "--all", "--format={{.Names}}")
    assert shop.rows()
