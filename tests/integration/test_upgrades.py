"""PostgreSQL of the embedded engine, upgraded from another major version; skipped where none is installed."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from devtools import apps, servers
from devtools.apps import App, Machine, Running
from pushrod.adapters import postgres
from pushrod.adapters.binaries import Parts
from pushrod.engines.embedded.ports import store_records
from pushrod.state.apps import App as Place
from pushrod.state.apps import Root
from pushrod.state.secrets import Secrets

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
    with on_version(machine, programs):
        app = machine.app("upgraded", FILES)
        sql(app, "create table goods (id serial primary key, name text not null)")
        sql(app, "insert into goods (name) select 'n' || g from generate_series(1, 1000) g")
        assert sql(app, "show server_version").startswith(before)
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


@pytest.mark.long
def test_backups_of_newer_versions_are_refused_and_nothing_is_lost(machine: Machine) -> None:
    """Of PostgreSQL, dumped by a newer pg_dump, and of Valkey, in a format that it does not know."""
    programs = older()
    if programs is None:
        pytest.skip("no older PostgreSQL is installed")
    with on_version(machine, programs):
        app = machine.app("older", FILES)
        sql(app, "create table goods as select g as id from generate_series(1, 1000) g")
        assert app.get("/redis?q=SET+word+kept").status == 200
        app.must("db", "backup")
        (backup,) = app.json("db", "backups")
        place = app.directory / "backups" / backup["name"]
        good = {path: path.read_bytes() for path in place.iterdir()}
        dump = newer_dump(app)
        alter(place, "postgres", "18.6", dump)
        alter(place, "redis", "99.1.0", b"REDIS0099" + good[place / "redis.rdb"][9:])
        exported = app.tree.path.parent / "newer.dump"
        exported.write_bytes(dump)
        for words, which in (
            (("db", "restore", backup["name"], "--yes"), "postgres.dump is from version 18.6"),
            (("db", "verify", backup["name"]), "postgres.dump is from version 18.6"),
            (("redis", "restore", backup["name"], "--yes"), "redis.rdb is from version 99.1.0"),
            (("db", "import", str(exported), "--yes"), "unsupported version"),
        ):
            done = app.pushrod(*words)
            result = apps.complaint(done)
            assert (done.status, which in result.what) == (6, True), result
            assert "upgrade the store first" in result.to_do
        assert sql(app, "select count(*) from goods") == "1000"
        assert "kept" in app.get("/redis?q=GET+word").body
        left = "select count(*) from pg_database where datname like '%ing'"
        assert (sql(app, left), (app.directory / "stores" / "redis" / "restoring").exists()) == ("0", False)
        for path, content in good.items():
            path.write_bytes(content)
        app.must("db", "restore", backup["name"], "--yes")
        machine.must("apps", "destroy", "older", "--yes")


def newer_dump(app: App) -> bytes:
    """A dump of the app's database by the pg_dump of the engine's own version."""
    place = Place(Root(app.machine.root), app.name)
    record = next(r for r in store_records(place) if r.kind == "postgres")
    env = {**os.environ, "PGPASSWORD": Secrets(place).password(f"{record.name}/superuser")}
    at = ["-h", record.address, "-p", str(record.port), "-U", "postgres", "-d", "older"]
    argv = [str(Parts({}).postgres / "pg_dump"), *at, "--format=custom"]
    return subprocess.run(argv, env=env, stdout=subprocess.PIPE, check=True).stdout


def alter(place: Path, store: str, version: str, content: bytes) -> None:
    """Replace a store's file in a backup, as one of another version."""
    record = json.loads((place / "backup.json").read_text())
    (file,) = (f for f in record["files"] if f["store"] == store)
    digest = hashlib.sha256(content).hexdigest()
    file |= {"version": version, "bytes": len(content), "sha256": digest}
    (place / file["name"]).write_bytes(content)
    (place / "backup.json").write_text(json.dumps(record))


@contextlib.contextmanager
def on_version(machine: Machine, programs: Path) -> Iterator[None]:
    """Commands in the block use these programs of PostgreSQL."""
    machine.env["PUSHROD_POSTGRES"] = str(programs)
    try:
        yield
    finally:
        del machine.env["PUSHROD_POSTGRES"]


# Runs pushrod with the given arguments until a point of the upgrade, and waits there for the power cut.
_UNTIL = """
import pathlib, sys, time
from pushrod.adapters.postgres import upgrade
from pushrod.cli import main
from pushrod.engines.embedded.upgrades import Upgrade
from pushrod.releases.promotion import Promotion
from pushrod.releases.upgrading import Upgrading
from pushrod.state import upgrades

point, sign = sys.argv.pop(1), pathlib.Path(sys.argv.pop(1))
calls = []

def stop_at(name, owner, attribute, *, before=False, when=lambda *words: True):
    real = getattr(owner, attribute)

    def wrapped(*words, **named):
        here = name == point and when(*words)
        if here and before:
            wait()
        result = real(*words, **named)
        if here:
            wait()
        return result

    setattr(owner, attribute, wrapped)

def wait():
    sign.touch()
    time.sleep(600)

def second(*words):
    calls.append(words)
    return len(calls) == 2

stop_at("prepared", Upgrade, "prepare")
stop_at("closed", Upgrading, "_stop")
stop_at("copied", upgrade, "carry", when=second)  # the first is the rehearsal's
stop_at("renamed", pathlib.Path, "rename", when=lambda path, _: path.parts[-3:] == ("stores", "postgres", "data"))
stop_at("switched", Upgrade, "switch")
stop_at("started", Promotion, "start")
stop_at("proved", Promotion, "serve")
stop_at("live", upgrades, "write", before=True, when=lambda _, marker: marker.state == "live")
stop_at("committed", upgrades, "write", when=lambda _, marker: marker.state == "live")
stop_at("opened", Upgrading, "_open")
stop_at("finished", Upgrade, "finish")
main()
"""
_UNDONE = ("prepared", "closed", "copied", "renamed", "switched", "started", "proved", "live")
_COMPLETED = ("committed", "opened", "finished")
_SERVED = {"prepared", "opened", "finished"}  # the edge lets requests through


def power_cut(app: App, programs: Path, point: str, sign: Path) -> None:
    """Upgrade until a point, kill everything, and start what a boot starts."""
    words = ["db", "upgrade", "--to", "18", "--programs", str(programs), "--yes"]
    argv = [sys.executable, "-c", _UNTIL, point, str(sign), *words]
    upgrading = Running(argv, app.tree.path, app.machine.env)
    try:
        apps.eventually(lambda: sign.exists() or upgrading.child.poll() is not None, point, 120)
        assert sign.exists(), upgrading.done().err
        while left := app.machine.processes():
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(left, timeout=5)
    finally:
        upgrading.end()
    sign.unlink()
    assert apps.run(
        [str(app.machine.root / "supervisor" / "start")], app.machine.directory, app.machine.env
    ).ok


def written(app: App, row: int) -> bool:
    """Whether a row was acknowledged."""
    with contextlib.suppress(OSError):
        return app.get(f"/sql?q=insert+into+rows+values+({row})").status == 200
    return False


@pytest.mark.long
def test_after_a_power_cut_at_any_step_the_next_command_returns_to_the_old_or_the_new_data(
    machine: Machine, tmp_path: Path
) -> None:
    """With every acknowledged row; what a boot starts before that command acknowledges none that it discards."""
    programs = older()
    if programs is None:
        pytest.skip("no older PostgreSQL is installed")
    before, made = postgres.Programs(programs).major(), dict[str, App]()

    def an_app(name: str) -> App:
        with on_version(machine, programs):
            made[name] = app = machine.app(name, FILES)
            sql(app, "create table rows (n int primary key)")
        return app

    for point in (*_UNDONE, *_COMPLETED):
        app = made.get("cut") or an_app("cut") if point in _UNDONE else an_app(point)
        acknowledged = {int(n) for n in sql(app, "select n from rows").split()}
        rows = range(len(made) * 1000 + len(acknowledged), 1_000_000)
        acknowledged |= {n for n in rows[:20] if written(app, n)}
        power_cut(app, programs, point, tmp_path / "sign")
        status = 200 if point in _SERVED else 503
        apps.eventually(partial(answers, app, status), f"{point}: the edge answers {status}", 30)
        acknowledged |= {n for n in rows[20:30] if written(app, n)}
        done = app.pushrod("restart")
        if point in _UNDONE:  # then it needs the old programs, as long as nobody upgrades
            assert (done.status, f"PostgreSQL {before}'s programs" in done.err) == (6, True), done.err
            with on_version(machine, programs):
                app.must("restart")
        else:
            assert done.ok, done.err
        assert f"was interrupted: {'undone' if point in _UNDONE else 'finishing it'}" in done.err, done.err
        after = before if point in _UNDONE else "18"
        assert sql(app, "show server_version").startswith(after), point
        assert {int(n) for n in sql(app, "select n from rows").split()} == acknowledged, point
        store = app.directory / "stores" / "postgres"
        left = {p.name for p in store.iterdir()} & {"upgrade", f"data-{before}"}
        assert left == (set() if point in _UNDONE else {f"data-{before}"}), point
        assert not (app.directory / "upgrade.json").exists(), point
        if point in _COMPLETED:
            machine.must("apps", "destroy", point, "--yes")


def answers(app: App, status: int) -> bool:
    """Whether the app, or the edge for it, answers so."""
    with contextlib.suppress(OSError):
        return app.get("/sql?q=select+1").status == status
    return False
