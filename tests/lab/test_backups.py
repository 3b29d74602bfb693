"""Backups on a Docker host, over SSH and by the timer's unit: lost rows are restored."""

import datetime
import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from devtools.apps import eventually
from devtools.lab.ground import Ground, Shop, a_host, unwatched
from pushrod.system.processes import Completed

pytestmark = pytest.mark.lab

ROWS = [f"row-{n}" for n in range(20)]


@pytest.fixture(scope="module")
def shop(ground: Ground) -> Shop:
    return ground.shop_with(ROWS)


def listed(shop: Shop) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = json.loads(shop.ssh("db", "backups", "--json").stdout)
    return result


def warnings(shop: Shop) -> list[str]:
    (result,) = json.loads(shop.ssh("status", "--json").stdout)
    return list(result["warnings"])


def archived(shop: Shop) -> str:
    """The time up to which everything acknowledged is in the vault."""
    (log,) = json.loads(shop.ssh("db", "wal", "--json").stdout)
    return str(log["copied"])


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


def test_the_backup_timer_is_active_and_backs_up_due_apps(shop: Shop) -> None:
    shop.box.exec("systemctl", "is-active", "pushrod-backup.timer")

    def taken() -> bool:  # not while the app's own unit, started by the push, works on it
        assert run_unit(shop) == "success", shop.box.journal(30, "--unit=pushrod-backup")
        return len(listed(shop)) == 1

    eventually(taken, "a backup is taken", 60)
    (first,) = listed(shop)
    assert {f["store"]: f["rows"] for f in first["files"]} == {
        "postgres": {"public.rows": len(ROWS)},
        "redis": {"keys that do not expire": 0},
    }
    place = f"{shop.directory}/backups/{first['name']}"
    modes = shop.box.exec("stat", "--format=%n %a %U", place, f"{place}/postgres.dump").stdout.split("\n")
    assert modes[:2] == [f"{place} 700 pushrod", f"{place}/postgres.dump 600 pushrod"]
    assert run_unit(shop) == "success"
    assert listed(shop) == [first]  # not due any more


def test_lost_rows_are_restored_while_the_app_serves(shop: Shop) -> None:
    shop.ssh("db", "backup")
    name = listed(shop)[0]["name"]
    shop.ssh("db", "verify", name)
    rights = shop.sql(r"select relname, relacl, relowner::regrole from pg_class where relname = 'rows'")
    shop.sql("delete from rows where id <> 'row-7'")
    assert shop.rows() == ["row-7"]
    containers = shop.running()
    began = time.monotonic()
    done = shop.ssh("db", "restore", name, "--yes")
    print(f"restored in {time.monotonic() - began:.1f} s")
    eventually(lambda: sorted(shop.rows()) == sorted(ROWS), "the rows are back", 30)
    shop.post("after")
    assert shop.running() == containers
    assert (
        shop.sql(r"select relname, relacl, relowner::regrole from pg_class where relname = 'rows'") == rights
    )
    assert "shop_before_restore" in done.stdout
    assert listed(shop)[0]["files"][0]["rows"] == {"public.rows": 1}
    assert shop.sql("select datname from pg_database where datname like 'shop%' order by 1").split() == [
        "shop",
        "shop_before_restore",
    ]


@pytest.mark.long
def test_a_redis_takes_over_a_snapshot(shop: Shop) -> None:
    shop.state()
    shop.ssh("db", "backup")
    before = int(shop.state()["redis"])
    container, name = shop.container("redis"), listed(shop)[0]["name"]
    started = shop.inspect("redis")["State"]["StartedAt"]
    shop.box.docker("exec", container, "valkey-cli", "flushall")
    done = shop.ssh("redis", "restore", name, "--yes")
    assert "keys, " in done.stdout.splitlines()[-1]
    assert before <= counted(shop) < before + 20
    assert shop.inspect("redis")["State"]["StartedAt"] == started
    assert f"{container}-restoring" not in shop.box.docker("ps", "--all", "--format={{.Names}}")
    shop.box.docker("kill", container)
    shop.box.docker("start", container)
    eventually(lambda: counted(shop) >= before, "what it took over is in its append-only file", 30)


def test_an_unavailable_store_fails_the_unit_and_a_late_backup_is_reported(shop: Shop) -> None:
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


def test_a_key_for_another_app_can_neither_list_nor_restore_backups(shop: Shop) -> None:
    box = shop.box
    box.exec("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "other", "-f", "/root/other")
    box.exec("pushrod", "host", "keys", "add", "/root/other.pub", "--app", "blog")
    ssh = ("ssh", "-i", "/root/other", "-o", "StrictHostKeyChecking=accept-new", "-o", "IdentitiesOnly=yes")
    for words in (("db", "backups"), ("db", "restore", "2", "--yes")):
        done = box.exec(*ssh, "pushrod@127.0.0.1", *words, "--app", "shop", check=False)
        assert (done.status, "this key is not for `shop`" in done.stderr) == (12, True), done.stderr


KEPT = """\
services:
  web: {image: "python:3.13-slim", command: python -m http.server 8000, ports: ["8000:8000"]}
  odd: {image: "vendor/odd:1", volumes: ["odd:/keep"]}
volumes: {odd: }
x-pushrod: {backups: {volumes: freeze}}
"""


@pytest.mark.long
def test_the_volumes_of_an_unknown_store_are_restored_with_owners_and_links(shop: Shop) -> None:
    shop.box.docker("tag", "redis:7", "vendor/odd:1")
    app = shop.ground.app("kept", {"compose.yaml": KEPT})
    pushed = app.push()
    assert pushed.ok, pushed.err
    container = app.container("odd")

    def run(script: str) -> str:
        return app.box.docker("exec", container, "sh", "-c", f"cd /keep && {script}")

    there = r"find . -printf '%p %m %U %n %l\n' | sort && cat deep/file"
    run("mkdir deep && echo one >deep/file && ln deep/file hard && ln -s deep/file soft && chown 999 hard")
    run(f"chmod 640 hard && mkdir {'d' * 200} && echo x >{'d' * 200}/{'f' * 200}")
    before = run(there)
    app.ssh("db", "backup")
    (backup,) = listed(app)
    assert [(f["store"], f["name"]) for f in backup["files"]] == [("odd", "odd.tar")]
    assert backup["files"][0]["rows"]["files"] >= 2
    app.ssh("db", "verify")
    run("rm -r deep hard && echo two >new")
    output = app.ssh("db", "restore", backup["name"], "--yes").stdout
    assert "the backup that was just taken keeps the previous data" in output
    assert run(there) == before
    assert app.inspect("odd")["State"]["Status"] == "running"
    shop.ground.pushrod("apps", "destroy", "kept", "--yes")


WRITER = """\
import itertools, pathlib, signal
signal.signal(signal.SIGTERM, lambda *_: exit(0))
keep = pathlib.Path("/keep")
(keep / "150-long").write_bytes(bytes(32 << 20))  # copied between the others, while some steps are written
for number in itertools.count(1):
    for name in range(100, 200):  # one after the other: whoever sees all of them at one moment sees at most a step
        (keep / "new").write_text(f"{number}\\n")
        (keep / "new").rename(keep / f"{name}")
    with (keep / "log").open("a") as out:
        out.write(f"{number}\\n" * 100)
"""
IN_ARCHIVE = """\
import json, sys, tarfile
with tarfile.open(sys.argv[1]) as tar:
    short = [m for m in tar if m.isreg() and not m.name.endswith("long")]
    texts = {m.name.rpartition("/")[2]: tar.extractfile(m).read().decode() for m in short}
print(json.dumps(texts))
"""


def writing(**modes: str) -> str:
    """A manifest with a store of an unknown kind that writes all the time, for each of these modes."""
    odd = {"image": "vendor/writer:1", "command": ["python", "-u", "-c", WRITER.replace("$", "$$")]}
    web = {"image": "python:3.13-slim", "command": "python -m http.server 8000", "ports": ["8000:8000"]}
    stores = {name: {**odd, "volumes": [f"{name}:/keep"]} for name in modes}
    document = {
        "services": {"web": web, **stores},
        "volumes": dict.fromkeys(modes),
        "x-pushrod": {"backups": {"volumes": modes}},
    }
    return yaml.safe_dump(document, sort_keys=False)


@pytest.mark.long
def test_volumes_that_change_while_they_are_copied(shop: Shop) -> None:
    """Frozen and stopped stores are copied as of one moment, one that goes on as it was read, or with an error."""
    shop.box.docker("tag", "python:3.13-slim", "vendor/writer:1")
    modes = {"frozen": "freeze", "halted": "stop"}
    app = shop.ground.app("writing", {"compose.yaml": writing(**modes, going="none")})
    pushed = app.push()
    assert pushed.ok, pushed.err

    def copied() -> dict[str, dict[str, str]]:
        newest = listed(app)[0]
        place = f"{app.directory}/backups/{newest['name']}"
        argv = ("python3", "-c", IN_ARCHIVE)
        return {
            f["store"]: json.loads(app.box.exec(*argv, f"{place}/{f['name']}").stdout)
            for f in newest["files"]
        }

    app.ssh("db", "backup")
    texts = copied()
    assert set(texts) == set(modes)
    for store, files in texts.items():
        numbers = [int(files[str(name)]) for name in range(100, 200)]
        assert numbers == sorted(numbers, reverse=True) and numbers[0] - numbers[-1] <= 1, store
        assert int(files["log"].split()[-1]) == numbers[-1], store
        assert app.inspect(store)["State"]["Status"] == "running"
    app.tree.commit({"compose.yaml": writing(frozen="none", halted="none", going="live")})
    pushed = app.push()
    assert pushed.ok, pushed.err
    done = app.at_desk("db", "backup", check=False)
    if done.status == 0:
        assert all(text.strip() for text in copied()["going"].values())
    else:
        assert (done.status, "`x-pushrod: {backups: {volumes: stop}}`, or `freeze`" in done.stderr) == (
            6,
            True,
        )
        assert set(texts) == set(copied())  # the backup before is the newest
    app.ssh("db", "verify")
    shop.ground.pushrod("apps", "destroy", "writing", "--yes")


@pytest.fixture(scope="module")
def key(shop: Shop) -> str:
    """Sets the server's vault, over SFTP on the box itself as another account; returns the public key let in."""
    if shutil.which("restic") is None:
        pytest.skip("needs restic: apt-get install restic")
    box = shop.box
    box.put("/usr/local/bin/restic", Path(str(shutil.which("restic"))).read_bytes(), 0o755)
    box.exec("useradd", "--create-home", "far")
    url = "sftp:far@127.0.0.1:/home/far/vault"
    refused = box.exec("pushrod", "host", "backups", "set", url, check=False)
    (result,) = re.findall(r"ssh-ed25519 \S+ pushrod-vault", refused.stderr)
    assert (refused.status, "does not let this machine in" in refused.stderr) == (6, True)
    box.exec("install", "-d", "-o", "far", "-m", "700", "/home/far/.ssh")
    box.put("/home/far/.ssh/authorized_keys", f"{result}\n")
    assert "shown only now: " in box.exec("pushrod", "host", "backups", "set", url).stdout
    eventually(lambda: run_unit(shop) == "success", "the copy is proved", 60)
    return str(result)


@pytest.mark.long
def test_the_timer_copies_over_sftp_and_the_alarm_tells_when_that_fails(shop: Shop, key: str) -> None:
    """The alarm is a program."""
    box, received = shop.box, "/var/lib/pushrod/told"
    (result,) = json.loads(shop.ssh("status", "--json").stdout)
    assert result["proved"] == listed(shop)[0]["copy"]["proved"]

    box.put("/usr/local/bin/tell", f"#!/bin/sh\ncat >> {received}\necho >> {received}\n", 0o755)
    box.exec("pushrod", "host", "alarm", "set", "/usr/local/bin/tell")
    box.exec("rm", "/home/far/.ssh/authorized_keys")
    make_older(shop, 2)
    assert run_unit(shop) == "exit-code"
    assert any("refuses this machine's key" in w for w in warnings(shop)), warnings(shop)
    for _ in range(2):
        box.exec("systemctl", "start", "pushrod-alarm.service")
    alarms = [json.loads(line) for line in box.get(received).decode().splitlines()]
    assert [(a["what"], a["state"]) for a in alarms] == [("app shop", "wrong")], alarms
    assert box.exec("systemctl", "is-active", "pushrod-alarm.timer").stdout.strip() == "active"
    box.put("/home/far/.ssh/authorized_keys", f"{key}\n")
    assert run_unit(shop) == "success"
    box.exec("systemctl", "start", "pushrod-alarm.service")
    ended = [json.loads(line)["state"] for line in box.get(received).decode().splitlines()[1:]]
    assert ended == ["over"]


@pytest.mark.usefixtures("key")
def test_a_point_in_time_is_restored_beside_the_running_server(shop: Shop) -> None:
    """The vault turned the log on: for the running container of the unchanged image."""
    started = shop.box.docker("inspect", "--format={{.State.StartedAt}}", shop.container("postgres"))
    shop.ssh("db", "archive")
    shop.post("wanted")
    time.sleep(0.01)
    at = datetime.datetime.now(datetime.UTC).isoformat()
    time.sleep(0.01)
    shop.post("unwanted")
    before = shop.rows()
    shop.ssh("db", "restore", "--to", at, "--into", "scratch")
    assert shop.sql("select count(*) from pg_database where datname = 'scratch'") == "1"
    assert shop.rows() == before
    began = time.monotonic()
    done = shop.ssh("db", "restore", "--to", at, "--yes")
    print(f"recovered and restored in {time.monotonic() - began:.1f} s")
    assert "shop_before_restore keeps the previous data" in done.stdout
    eventually(
        lambda: sorted(shop.rows()) == sorted({*before} - {"unwanted"}), "the rows are as they were", 30
    )
    assert shop.box.docker("inspect", "--format={{.State.StartedAt}}", shop.container("postgres")) == started
    assert "recovery" not in shop.box.docker("ps", "--all", "--format={{.Names}}")


@pytest.mark.long
@pytest.mark.usefixtures("key")
def test_a_lost_host_is_rebuilt_on_an_empty_one(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two apps, from a vault on another server, beside a plain copy of the same bytes."""
    blog = shop.ground.app("blog")
    assert blog.push().ok
    blog.post("first")
    for app in (shop, blog):
        app.ssh("db", "backup")
    shop.post("after the backup")
    posted = datetime.datetime.now(datetime.UTC).isoformat()
    began = time.monotonic()
    eventually(lambda: archived(shop) > posted, "the timer has copied the log", 60)  # what may be lost
    print(f"in the vault {time.monotonic() - began:.1f} s after it was acknowledged")
    rows, vault = shop.rows(), f"sftp:far@{shop.box.address}:/home/far/vault"
    record = json.loads(shop.box.get("/var/lib/pushrod/vaults/default/vault.json"))
    with a_host(tmp_path_factory.mktemp("desk")) as other:
        other.box.put("/usr/local/bin/restic", Path(str(shutil.which("restic"))).read_bytes(), 0o755)

        def restore() -> Completed:
            argv = ("pushrod", "host", "restore", "--from", vault, "--credentials", "-")
            return other.box.exec(*argv, stdin=f"RESTIC_PASSWORD={record['password']}\n", check=False)

        (key,) = re.findall(r"ssh-ed25519 \S+ pushrod-vault", restore().stderr)
        shop.box.put("/home/far/.ssh/authorized_keys", f"{key}\n")
        began = time.monotonic()
        done = restore()
        took = time.monotonic() - began
        assert done.status == 0, done.stdout + done.stderr
        began = time.monotonic()
        copied = shop.box.exec("tar", "-C", "/home/far", "-c", "vault").stdout
        print(f"two apps: {took:.1f} s; {len(copied)} bytes copied in {time.monotonic() - began:.2f} s")
        again = [Shop(other, app.name, app.tree) for app in (shop, blog)]
        assert [sorted(app.rows()) for app in again] == [sorted(rows), ["first"]]
