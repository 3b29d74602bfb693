"""Backups on a Docker host, over SSH and by the timer's unit: lost rows are restored."""

import json
import time
from typing import Any

import pytest

from devtools.apps import eventually
from devtools.lab.ground import Ground, Shop, unwatched

pytestmark = pytest.mark.lab

ROWS = [f"row-{n}" for n in range(20)]


@pytest.fixture(scope="module")
def shop(ground: Ground) -> Shop:
    """An app with PostgreSQL, Valkey and some rows, on its own host."""
    app = ground.app("shop")
    pushed = app.push()
    assert pushed.ok, pushed.err
    for row in ROWS:
        app.post(row)
    return app


def sql(shop: Shop, statement: str) -> str:
    """PostgreSQL's answer to its superuser."""
    argv = ("psql", "-U", "postgres", "-d", "shop", "-AtX", "-v", "ON_ERROR_STOP=1", "-c", statement)
    return shop.box.docker("exec", shop.container("postgres"), *argv)


def listed(shop: Shop) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(shop.ssh("db", "backups", "--json").stdout)
    return found


def warnings(shop: Shop) -> list[str]:
    (found,) = json.loads(shop.ssh("status", "--json").stdout)
    return list(found["warnings"])


def counted(shop: Shop) -> int:
    """The app's counter in Redis; -1 while it has none."""
    answer = shop.get()
    return int(json.loads(answer.body)["redis"]) if answer.status == 200 else -1


def run_unit(shop: Shop) -> str:
    """Run the timer's service once to its end; returns systemd's result."""
    shop.box.exec("systemctl", "start", "pushrod-backup.service", check=False)
    show = ("systemctl", "show", "--value", "--property=Result", "pushrod-backup.service")
    return shop.box.exec(*show).stdout.strip()


def make_older(shop: Shop, days: int) -> None:
    """Make every backup that many days older."""
    script = (
        "import datetime, json, pathlib, sys\n"
        "for path in pathlib.Path(sys.argv[1]).glob('*/backup.json'):\n"
        "    found = json.loads(path.read_text())\n"
        "    at = datetime.datetime.fromisoformat(found['at']) - datetime.timedelta(days=int(sys.argv[2]))\n"
        "    path.write_text(json.dumps({**found, 'at': at.isoformat()}))\n"
    )
    shop.box.exec("python3", "-c", script, f"{shop.directory}/backups", str(days), user="pushrod")


def test_the_timer_is_active_and_its_service_takes_what_is_due(shop: Shop) -> None:
    shop.box.exec("systemctl", "is-active", "pushrod-backup.timer")

    def taken() -> bool:  # not while the app's own unit, started by the push, works on it
        assert run_unit(shop) == "success", shop.box.journal(30, "--unit=pushrod-backup")
        return len(listed(shop)) == 1

    eventually(taken, "a backup is taken", 60)
    (first,) = listed(shop)
    assert {f["store"]: f["rows"] for f in first["files"]} == {
        "postgres": {"public.rows": len(ROWS)},
        "redis": {},
    }
    place = f"{shop.directory}/backups/{first['name']}"
    found = shop.box.exec("stat", "--format=%n %a %U", place, f"{place}/postgres.dump").stdout.split("\n")
    assert found[:2] == [f"{place} 700 pushrod", f"{place}/postgres.dump 600 pushrod"]
    assert run_unit(shop) == "success"
    assert listed(shop) == [first]  # not due any more


def test_rows_that_are_lost_come_back_while_the_app_serves(shop: Shop) -> None:
    shop.ssh("db", "backup")
    name = listed(shop)[0]["name"]
    shop.ssh("db", "verify", name)
    rights = sql(shop, r"select relname, relacl, relowner::regrole from pg_class where relname = 'rows'")
    sql(shop, "delete from rows where id <> 'row-7'")
    assert shop.rows() == ["row-7"]
    containers = shop.running()
    began = time.monotonic()
    done = shop.ssh("db", "restore", name, "--yes")
    print(f"restored in {time.monotonic() - began:.1f} s")
    eventually(lambda: sorted(shop.rows()) == sorted(ROWS), "the rows are back", 30)
    shop.post("after")
    assert shop.running() == containers
    assert (
        sql(shop, r"select relname, relacl, relowner::regrole from pg_class where relname = 'rows'") == rights
    )
    assert "shop_before_restore" in done.stdout
    assert listed(shop)[0]["files"][0]["rows"] == {"public.rows": 1}
    assert sql(shop, "select datname from pg_database where datname like 'shop%' order by 1").split() == [
        "shop",
        "shop_before_restore",
    ]


def test_a_snapshot_of_the_redis_is_whole(shop: Shop) -> None:
    """By hand, as described in operations.md."""
    shop.state()
    shop.ssh("db", "backup")
    before = int(shop.state()["redis"])
    container, place = shop.container("redis"), f"{shop.directory}/backups/{listed(shop)[0]['name']}"
    shop.box.docker("exec", container, "valkey-cli", "flushall")
    shop.box.docker("stop", container)
    shop.box.docker("cp", f"{place}/redis.rdb", f"{container}:/data/dump.rdb")
    shop.box.docker("start", container)
    eventually(lambda: counted(shop) >= before, "the counter goes on where it was", 30)


def test_a_store_that_is_away_fails_the_unit_and_is_seen_when_the_backup_is_late(shop: Shop) -> None:
    shop.ssh("db", "backup")
    known = listed(shop)
    make_older(shop, 3)
    assert "the last backup is from" in " ".join(warnings(shop))
    with unwatched(shop.box):
        shop.box.docker("stop", shop.container("postgres"))
        try:
            assert run_unit(shop) == "exit-code"
            done = shop.ground.pushrod("db", "backup", "--all", check=False)
            assert done.status == 6, done.stderr
        finally:
            shop.box.docker("start", shop.container("postgres"))
    assert len(listed(shop)) == len(known)
    assert shop.names("backups") == sorted(b["name"] for b in known)
    assert warnings(shop)
    eventually(lambda: shop.get().status == 200, "PostgreSQL is back")
    assert run_unit(shop) == "success"
    assert not warnings(shop)


def test_a_key_for_another_app_sees_and_restores_nothing(shop: Shop) -> None:
    box = shop.box
    box.exec("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "other", "-f", "/root/other")
    box.exec("pushrod", "host", "keys", "add", "/root/other.pub", "--app", "blog")
    ssh = ("ssh", "-i", "/root/other", "-o", "StrictHostKeyChecking=accept-new", "-o", "IdentitiesOnly=yes")
    for words in (("db", "backups"), ("db", "restore", "2", "--yes")):
        done = box.exec(*ssh, "pushrod@127.0.0.1", *words, "--app", "shop", check=False)
        assert (done.status, "this key is not for `shop`" in done.stderr) == (12, True), done.stderr
