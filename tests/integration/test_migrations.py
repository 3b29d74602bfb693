"""A release command, however it ends, leaves nothing in PostgreSQL that blocks others."""

import os
import re
import signal
import time
from collections.abc import Iterator

import psutil
import pytest

from devtools import apps
from devtools.apps import App, Machine, Running, eventually
from devtools.no_drop import Silent
from pushrod.core.errors import ReleaseCommandError
from pushrod.engines import registry
from pushrod.releases.context import Context
from pushrod.releases.one_shots import OneShot, OneShots
from pushrod.state.apps import Root

pytestmark = pytest.mark.integration

PSQL = '"$PSQL" -X -q -At -d "$DATABASE_URL"'
ALTER = f"sh -c '{PSQL} -c \"alter table things add column more int\"'"


@pytest.fixture(scope="module")
def shop(machine: Machine) -> App:
    app = machine.app("shop", {"app.py": apps.APP, **manifest("true")})
    app.must("run", "sh", "-c", f'{PSQL} -c "create table things (id int)"')
    return app


@pytest.fixture
def holder(shop: App) -> Iterator[Running]:
    """A session from elsewhere, begun before the push, whose transaction has read the table."""
    statements = '-c begin -c "select * from things" -c "select 1" -c "select pg_sleep(300)"'
    held = shop.running("run", "sh", "-c", f"{PSQL} {statements}")
    eventually(lambda: "1" in shop.get("/sql?q=" + HELD).body, "the table is held")
    yield held
    os.killpg(held.child.pid, signal.SIGKILL)
    held.end()


HELD = (
    "select+count(*)+from+pg_locks+where+relation='things'::regclass+and+mode='AccessShareLock'"
    "+and+pid<>pg_backend_pid()"
)


def manifest(release: str) -> dict[str, str | bytes]:
    own = {"health": {"path": "/healthz", "deadline": "15s"}, "release": release.replace("$", "$$")}
    return {"compose.yaml": apps.manifest_with_stores(**{"x-pushrod": own})}


def readable(shop: App) -> bool:
    """Whether the live release can read the table: no waiting lock is in the way."""
    return shop.get("/sql?q=select+count(*)+from+things").body == "0"


@pytest.mark.parametrize("how", ["SIGINT", "SIGHUP", "SIGKILL"])
def test_a_waiting_migration_ends_with_its_push(shop: App, holder: Running, how: str) -> None:
    shop.restore()
    shop.tree.commit({"app.py": apps.changed(how), **manifest(ALTER)}, how)
    command = shop.running("deploy")
    try:
        output = command.until("waits for a lock")
        os.kill(command.child.pid, getattr(signal, how))
        command.done()
    finally:
        command.end()
    assert "that shop_migrator holds" in output, "it is said who holds it up"
    assert "idle in transaction" in output or "select pg_sleep" in output
    if how == "SIGKILL":
        shop.must("status")
    assert readable(shop)
    assert holder.child.poll() is None, "somebody's own session is left alone"
    assert shop.get("/sql?q=" + HELD).body != "0"


@pytest.mark.parametrize("status", [0, 1])
def test_database_sessions_left_by_a_release_command_are_ended(shop: App, status: int) -> None:
    """A program that it started, and that outlives it, in a transaction with an exclusive lock on the table."""
    shop.restore()
    locked = f'{PSQL} -c begin -c "lock table things" -c "select pg_sleep(300)"'
    command = f"sh -c '{locked} >/dev/null 2>&1 & sleep 1; exit {status}'"
    shop.tree.commit({"app.py": apps.changed(f"left {status}"), **manifest(command)}, "left behind")
    begun = time.monotonic()
    done = shop.pushrod("deploy")
    assert done.status == (0 if status == 0 else 7), done.err
    assert readable(shop)
    assert time.monotonic() - begun < 60
    shop.restore()


def test_a_release_command_ends_even_if_a_child_holds_its_output(shop: App) -> None:
    command = "sh -c 'echo migrated; sleep 301.25 & exit 0'"
    shop.tree.commit({"app.py": apps.changed("open"), **manifest(command)}, "left open")
    begun = time.monotonic()
    done = shop.pushrod("deploy")
    assert done.ok, done.err
    assert "migrated" in done.err
    assert shop.get().body == "open"
    assert time.monotonic() - begun < 120
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "301.25"]]
    shop.good = shop.tree.head()


LOCKED = f'{PSQL} -c begin -c "lock table things" -c "select 1" -c "select pg_sleep(300)"'
OUTLIVE = {
    "a session of its own, and it fails": (f"setsid {LOCKED} >/dev/null 2>&1 & sleep 1; exit 3", 7),
    "it kills itself": (f"{LOCKED} >/dev/null 2>&1 & sleep 1; kill -9 $$", 7),
    "a transaction that it has left open": (
        f"((echo 'begin; lock table things;'; sleep 302.5) | setsid {PSQL}) >/dev/null 2>&1 & sleep 1; exit 1",
        7,
    ),
}


@pytest.mark.parametrize("way", OUTLIVE)
def test_processes_that_outlive_a_failed_release_command_block_nobody(shop: App, way: str) -> None:
    shop.restore()
    command, status = OUTLIVE[way]
    tree = {"release.sh": command, "app.py": apps.changed(way), **manifest("sh release.sh")}
    shop.tree.commit(tree, way)
    done = shop.pushrod("deploy")
    assert done.status == status, done.err
    assert readable(shop)
    shop.restore()
    for process in psutil.process_iter(["cmdline"]):
        if process.info["cmdline"] == ["sleep", "302.5"]:
            process.kill()  # with its input the client ends


def test_a_release_command_that_got_no_lock_is_run_again(shop: App) -> None:
    """The table is locked until the command has failed once."""
    shop.restore()
    holder = (
        "(echo 'begin; lock table things;'; until test -e $HOME/failed; do sleep 0.1; done; echo 'rollback;')"
    )
    change = "-c \"set lock_timeout = '500ms'\" -c 'alter table things add column if not exists more int'"
    held = f"test -e $HOME/failed || ({holder} | {PSQL}) >/dev/null 2>&1 & sleep 2"
    script = f"{held}\n{PSQL} {change} || {{ touch $HOME/failed; exit 3; }}"
    shop.tree.commit(
        {"release.sh": script, "app.py": apps.changed("again"), **manifest("sh release.sh")}, "again"
    )
    done = shop.pushrod("deploy")
    assert done.ok, done.err
    assert "it could not get a lock in time; it is run again in 5 s, 5 more times at most" in done.err
    assert shop.get().body == "again"
    points = re.findall(
        r'restore point "pushrod_shop_(\d+)"', (shop.directory / "logs/stores/postgres.log").read_text()
    )
    assert int(points[-1]) == shop.live
    shop.restore()


def test_a_migration_has_a_lock_timeout(shop: App) -> None:
    assert shop.must("run", "sh", "-c", f'{PSQL} -c "show lock_timeout"').strip() == "10s"
    own = "alter role shop_migrator in database shop set lock_timeout = '5min'"
    shop.must("run", "sh", "-c", f'{PSQL} -c "set role none" -c "{own}"')
    shop.push_change()
    output = shop.must("run", "sh", "-c", f'{PSQL} -c "show lock_timeout"').strip()
    assert output == "5min", "what somebody has set otherwise stays"


def test_a_release_command_beyond_its_deadline_is_ended(shop: App) -> None:
    """With a shorter deadline than every push has. A client that outlives the command holds the table."""
    shop.restore()
    root = Root(shop.machine.root)
    context = Context(root.app(shop.name), registry.of(root), Silent(), lambda _: False)
    live = context.live()
    assert live is not None
    statements = "-c begin -c 'lock table things' -c '\\! touch $HOME/held' -c 'select pg_sleep(300)'"
    held = f"setsid {PSQL} {statements} >/dev/null 2>&1 & until test -e $HOME/held; do sleep 0.1; done; echo held"
    command = OneShot(live.service("web"), ("sh", "-c", f"rm -f $HOME/held; {held}; sleep 303.5"))
    with pytest.raises(ReleaseCommandError) as e:
        OneShots(context, deadline=8).run(live, [command])
    assert e.value.what.endswith("did not end within 8 s, and was ended")
    assert "the live release is unchanged" in e.value.hint
    assert e.value.log == ("held",)
    assert readable(shop)
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "303.5"]]
