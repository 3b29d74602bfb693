"""PostgreSQL of the embedded engine, upgraded from another major version; skipped where none is installed."""

import os
import signal
import urllib.parse
from pathlib import Path

import pytest

from devtools import apps, servers
from devtools.apps import App, Machine, Running
from pushrod.adapters import postgres
from pushrod.adapters.binaries import Parts

pytestmark = pytest.mark.integration

FILES = {"app.py": apps.APP, "compose.yaml": apps.manifest_with_stores()}


def older() -> Path | None:
    """The programs of an older major version than the engine's own."""
    new = int(postgres.Programs(Parts({}).postgres).major())
    older = (path for path in servers.postgres_programs() if int(postgres.Programs(path).major()) < new)
    return next(older, None)


def sql(app: App, statement: str) -> str:
    answer = app.get(f"/sql?{urllib.parse.urlencode({'q': statement})}")
    assert answer.status == 200, answer.body
    return answer.body


def test_data_of_an_older_version_is_upgraded(machine: Machine) -> None:
    programs = older()
    if programs is None:
        pytest.skip("no older PostgreSQL is installed")
    before = postgres.Programs(programs).major()
    machine.env["PUSHROD_POSTGRES"] = str(programs)
    try:
        app = machine.app("upgraded", FILES)
        sql(app, "create table goods (id serial primary key, name text not null)")
        sql(app, "insert into goods (name) select 'n' || g from generate_series(1, 1000) g")
        assert sql(app, "show server_version").startswith(before)
    finally:
        del machine.env["PUSHROD_POSTGRES"]
    refused = app.pushrod("restart")
    assert (refused.status, f"PostgreSQL {before}'s programs" in refused.err) == (6, True), refused.err
    wrong = app.pushrod("db", "upgrade", "--to", "18", "--yes")
    assert (wrong.status, "--programs" in wrong.err) == (12, True), wrong.err
    killed = Running(
        [*apps.PUSHROD, "db", "upgrade", "--to", "18", "--programs", str(programs), "--yes"],
        app.tree.path,
        app.machine.env,
    )
    killed.until("  stop  ")
    os.killpg(killed.child.pid, signal.SIGKILL)
    killed.done()
    assert app.get("/sql?q=select+1").status != 200
    # Nobody calls pushrod: what the upgrade has left waiting for its end brings the app back.
    apps.eventually(lambda: app.get("/sql?q=select+1").status == 200, "the app is on its old data", 120)
    apps.eventually(lambda: not (app.directory / "upgrade.json").exists(), "nothing is left to undo", 30)
    assert sql(app, "show server_version").startswith(before)
    data = app.directory / "stores" / "postgres"
    argv = [*apps.PUSHROD, "db", "upgrade", "--to", "18", "--programs", str(programs), "--yes"]
    done = apps.run(argv, app.tree.path, app.machine.env, timeout=300)
    assert (done.ok, "s of downtime" in done.out) == (True, True), done.err
    assert sql(app, "show server_version").startswith("18")
    assert sql(app, "select count(*) || ' ' || max(id) from goods") == "1000 1000"
    sql(app, "insert into goods (name) values ('after')")
    kept = data / f"data-{before}"
    assert (kept / "PG_VERSION").read_text().strip() == before
    assert not (data / "upgrade").exists() and not (app.directory / "upgrade.json").exists()
    app.must("restart")
    assert sql(app, "select count(*) from goods") == "1001"
    assert str(kept) in app.must("db", "upgrade", "--remove-old")
    assert not kept.exists()
    assert os.environ.get("PUSHROD_POSTGRES") is None
