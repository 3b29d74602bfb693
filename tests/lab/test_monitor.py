"""A host's own Prometheus: what it scrapes, with the exporters of stores, what fires while an app is down and while
the disk is full, over a reboot, and what is left."""

import functools
import json
import re
import shutil
import time
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from devtools.apps import eventually
from devtools.lab.ground import Ground, Shop, unwatched
from pushrod.adapters import grafana
from pushrod.engines.docker.exporters import FIRST_PORT, LAST_PORT
from pushrod.provisioning.monitor import UNITS

pytestmark = [
    pytest.mark.lab,
    pytest.mark.long,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="needs prometheus: apt-get install prometheus"
    ),
]

PROGRAMS = ("prometheus", "promtool", "prometheus-node-exporter")
OF_STORES = ("prometheus-postgres-exporter", "prometheus-redis-exporter")
JOBS = {"pushrod", "node", "prometheus"}
RECEIVED = "/var/lib/pushrod/received"
EXPOSURE = 2.0  # of 10, as `systemd-analyze security` rates units


@pytest.fixture(scope="module")
def shop(ground: Ground) -> Shop:
    """An app on a host with Prometheus's programs, whose alarms are kept in a file."""
    shop = ground.shop_with(["one"])
    for name in (*PROGRAMS, *(name for name in OF_STORES if shutil.which(name))):
        shop.box.put(f"/usr/bin/{name}", Path(f"/usr/bin/{name}").read_bytes(), 0o755)
    shop.box.put("/usr/local/bin/tell", f"#!/bin/sh\ncat >> {RECEIVED}\necho >> {RECEIVED}\n", 0o755)
    ground.pushrod("host", "alarm", "set", "/usr/local/bin/tell")
    return shop


def asked(shop: Shop, path: str) -> Any:
    """The data of an answer of the API."""
    done = shop.box.exec("curl", "--silent", "--fail", f"http://127.0.0.1:9090/api/v1/{path}", check=False)
    return json.loads(done.stdout)["data"] if done.status == 0 else None


def value(shop: Shop, query: str) -> float | None:
    """The value of a query with one result."""
    data = asked(shop, f"query?query={urllib.parse.quote(query)}")
    return float(data["result"][0]["value"][1]) if data and data["result"] else None


def healthy(shop: Shop) -> set[str]:
    """The jobs whose targets all answer."""
    data = asked(shop, "targets?state=active") or {"activeTargets": []}
    states: dict[str, list[str]] = {}
    for target in data["activeTargets"]:
        states.setdefault(target["labels"]["job"], []).append(target["health"])
    return {job for job, all_of in states.items() if set(all_of) == {"up"}}


def firing(shop: Shop) -> set[str]:
    """The alerts that fire."""
    data = asked(shop, "alerts") or {"alerts": []}
    return {alert["labels"]["alertname"] for alert in data["alerts"] if alert["state"] == "firing"}


def test_it_scrapes_this_host_and_what_it_says_is_true(shop: Shop) -> None:
    print(shop.ground.pushrod("host", "monitor", "on").stdout)
    eventually(lambda: healthy(shop) == JOBS, "all targets answer", 60)
    eventually(lambda: value(shop, 'pushrod_app_up{app="shop"}') == 1.0, "the app is up", 30)
    for store in ("postgres", "redis"):
        query = f'pushrod_store_size_bytes{{app="shop",store="{store}"}}'
        eventually(lambda query=query: (value(shop, query) or 0) > 100_000, "its size is known", 60)  # type: ignore[misc]
    provisioned = shop.box.exec("find", "/etc/pushrod/grafana", "-type", "f", "-perm", "644").stdout.split()
    assert len(provisioned) == len(grafana.DASHBOARDS) + 2
    assert value(shop, "node_timex_sync_status") is not None, "the clock can be read in the unit"
    before = value(shop, 'pushrod_release{app="shop"}') or 0.0
    assert shop.push_version("two").ok
    eventually(lambda: value(shop, 'pushrod_release{app="shop"}') == before + 1, "the push is seen", 60)
    groups = asked(shop, "rules")["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} <= {"ok", "unknown"}


@pytest.mark.parametrize("unit", UNITS)
def test_its_units_are_restricted_and_listen_on_loopback_alone(shop: Shop, unit: str) -> None:
    output = shop.box.exec("systemd-analyze", "security", "--no-pager", unit).stdout
    result = re.search(r"Overall exposure level for \S+: ([\d.]+)", output)
    assert result, output
    print(f"{unit}: exposure {result[1]}")
    assert float(result[1]) <= EXPOSURE, output
    listening = shop.box.exec("ss", "--listening", "--tcp", "--numeric", "--no-header").stdout.splitlines()
    ours = {line.split()[3] for line in listening if line.split()[3].endswith((":9090", ":9100"))}
    assert ours == {"127.0.0.1:9090", "127.0.0.1:9100"}


# ---- the exporters of stores ----------------------------------------------------------------------------------

needs_exporters = pytest.mark.skipif(
    None in map(shutil.which, OF_STORES), reason=f"needs {' and '.join(OF_STORES)}: apt-get install"
)

LISTENER = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listening:
    connection, _ = listening.accept()
    connection.settimeout(5)
    try:
        while more := connection.recv(999):
            print(more, flush=True)
            connection.sendall(b"+OK\\r\\n")
    except OSError:
        pass
"""


def exporter(shop: Shop, store: str) -> str:
    """The address of a store's exporter."""
    (address,) = re.findall(
        r"^LISTEN=(\S+)$", shop.box.get(f"/var/lib/pushrod/exporters/shop.{store}.env").decode(), re.M
    )
    return str(address)


def listens(shop: Shop, port: int) -> bool:
    return f"127.0.0.1:{port} " in shop.box.exec("ss", "--listening", "--tcp", "--numeric").stdout


def units_of_stores(shop: Shop) -> list[str]:
    words = ("--all", "--no-legend", "--state=active", "pushrod-*-exporter@*")
    return sorted(line.split()[0] for line in shop.box.units(*words).splitlines())


@needs_exporters
def test_every_store_has_an_exporter_that_answers(shop: Shop) -> None:
    print(shop.ground.pushrod("host", "init", "--exporters").stdout)
    eventually(lambda: healthy(shop) == {*JOBS, "postgres", "redis"}, "all targets answer", 90)
    for up, store in (("pg_up", "postgres"), ("redis_up", "redis")):
        query = f'{up}{{instance="shop/{store}",app="shop"}}'
        eventually(lambda query=query: value(shop, query) == 1.0, f"{query} is 1", 60)  # type: ignore[misc]
    assert value(shop, 'max(pg_settings_max_connections{instance="shop/postgres"})')
    assert value(shop, 'redis_memory_used_bytes{instance="shop/redis"}')


@needs_exporters
def test_an_exporter_is_restricted_and_listens_on_loopback_alone(shop: Shop) -> None:
    units = units_of_stores(shop)
    assert units == [
        "pushrod-postgres-exporter@shop.postgres.service",
        "pushrod-redis-exporter@shop.redis.service",
    ]
    for unit in units:
        output = shop.box.exec("systemd-analyze", "security", "--no-pager", unit).stdout
        result = re.search(r"Overall exposure level for \S+: ([\d.]+)", output)
        assert result, output
        memory = shop.box.exec("systemctl", "show", "--value", "--property=MemoryCurrent", unit).stdout
        print(f"{unit}: exposure {result[1]}, {int(memory) >> 20} MB")
        assert float(result[1]) <= EXPOSURE, output
    listening = shop.box.exec("ss", "--listening", "--tcp", "--numeric", "--no-header").stdout.splitlines()
    ours = [
        a for line in listening if FIRST_PORT <= int((a := line.split()[3]).rpartition(":")[2]) <= LAST_PORT
    ]
    assert sorted(ours) == sorted(exporter(shop, store) for store in ("postgres", "redis"))
    assert all(address.startswith("127.0.0.1:") for address in ours)


@needs_exporters
def test_its_user_may_read_figures_and_nothing_of_the_app(shop: Shop) -> None:
    known = json.loads(shop.box.get("/var/lib/pushrod/exporters/known.json"))
    password = known["shop.postgres"]["password"]
    argv = (
        "exec",
        "--env",
        f"PGPASSWORD={password}",
        shop.container("postgres"),
        "psql",
        "-h",
        "127.0.0.1",
        "-AtX",
    )
    user = ("-U", "shop_monitor")
    asked = shop.box.exec(
        "docker", *argv, *user, "-d", "postgres", "-c", "select count(*) > 0 from pg_stat_activity"
    )
    assert asked.stdout.strip() == "t"
    refused = shop.box.exec("docker", *argv, *user, "-d", "shop", "-c", "select 1", check=False)
    assert "permission denied for database" in refused.stderr
    secret = known["shop.redis"]["password"]
    client = ("docker", "exec", "--env", f"REDISCLI_AUTH={secret}", shop.container("redis"), "valkey-cli")
    as_user = (*client, "--user", "pushrod_monitor", "--no-auth-warning")
    assert "used_memory" in shop.box.exec(*as_user, "info", "memory").stdout
    for words in (("get", "anything"), ("keys", "*"), ("config", "get", "*"), ("acl", "list")):
        assert "NOPERM" in shop.box.exec(*as_user, *words, check=False).stdout, words
    for file in ("known.json", "shop.redis.env", "shop.postgres.env"):
        nobody = shop.box.exec("cat", f"/var/lib/pushrod/exporters/{file}", user="nobody", check=False)
        assert "Permission denied" in nobody.stderr


@needs_exporters
def test_no_account_of_the_machine_gets_a_password_from_an_exporter(shop: Shop) -> None:
    """Exporters ask any server that somebody names to them."""
    shop.box.put("/usr/local/bin/listener.py", LISTENER)
    for store, query, port in (
        ("redis", "scrape?target=redis://", 7001),
        ("postgres", "probe?target=", 7002),
    ):
        unit = f"--unit=listener{port}"
        output = f"--property=StandardOutput=file:/run/heard{port}"
        shop.box.exec("systemd-run", unit, output, "python3", "/usr/local/bin/listener.py", str(port))
        eventually(functools.partial(listens, shop, port), "it listens", 20)
        url = f"http://{exporter(shop, store)}/{query}127.0.0.1:{port}"
        shop.box.exec("curl", "--silent", "--max-time", "10", url, user="nobody", check=False)
        heard = shop.box.get(f"/run/heard{port}").decode()
        print(store, heard[:200])
        assert "CLIENT" in heard or store == "postgres"  # it was asked
        assert "AUTH" not in heard
        known = json.loads(shop.box.get("/var/lib/pushrod/exporters/known.json"))
        assert known[f"shop.{store}"]["password"] not in heard
        shop.box.exec("systemctl", "stop", f"listener{port}", check=False)


@needs_exporters
def test_a_store_that_was_restarted_is_read_again(shop: Shop) -> None:
    """A Redis forgets the user of its exporter."""
    shop.box.docker("restart", shop.container("redis"))
    listed = ("exec", shop.container("redis"), "valkey-cli", "acl", "users")
    eventually(lambda: "pushrod_monitor" in shop.box.docker(*listed), "its user is back", 60)
    eventually(
        lambda: value(shop, "redis_up") == 1.0 and (value(shop, "redis_uptime_in_seconds") or 999) < 300,
        "it is read",
        60,
    )


def test_an_app_that_is_down_fires_and_nothing_else(shop: Shop) -> None:
    container = shop.container("web", shop.live)
    with unwatched(shop.box):  # it would start the app again; what its timer writes is written here instead
        shop.box.docker("stop", container)
        began = time.monotonic()

        def fires() -> bool:
            shop.ground.pushrod("metrics", "--write")
            return "PushrodAppDown" in firing(shop)

        eventually(fires, "the alert fires", 300)
        print(f"PushrodAppDown fired after {time.monotonic() - began:.0f} s")
        assert firing(shop) <= {"PushrodAppDown", "ClockOff"}
        shop.box.docker("start", container)
    eventually(lambda: "PushrodAppDown" not in firing(shop), "it is over", 120)


def test_it_comes_back_after_a_reboot_with_its_samples(shop: Shop) -> None:
    since = value(shop, 'min_over_time(timestamp(pushrod_app_up{app="shop"})[1h:15s])')
    every = {*JOBS, "postgres", "redis"} if units_of_stores(shop) else JOBS
    shop.box.reboot()
    eventually(lambda: healthy(shop) == every, "all targets answer", 120)
    assert value(shop, 'min_over_time(timestamp(pushrod_app_up{app="shop"})[1h:15s])') == since


@needs_exporters
def test_without_exporters_no_user_and_no_port_is_left(shop: Shop) -> None:
    print(shop.ground.pushrod("host", "init", "--no-exporters").stdout)
    eventually(lambda: units_of_stores(shop) == [], "their units have ended", 60)
    eventually(lambda: healthy(shop) == JOBS, "the others answer", 60)
    assert shop.sql("select count(*) from pg_roles where rolname = 'shop_monitor'") == "0"
    listed = shop.box.docker("exec", shop.container("redis"), "valkey-cli", "acl", "users")
    assert "pushrod_monitor" not in listed
    assert shop.box.exec("ls", "/var/lib/pushrod/exporters", check=False).status != 0
    assert shop.push_version("three").ok


def test_a_full_disk_fires_and_ends(shop: Shop) -> None:
    """The root gets a disk of its own, which a file fills to the last byte."""
    box, place = shop.box, "/var/lib/pushrod"
    box.exec("systemctl", "stop", "pushrod.target", "pushrod-watch.timer", "pushrod-watch.service")
    box.exec("systemctl", "stop", "pushrod-edge.service", "var-lib-pushrod-apps.mount")
    box.exec("mkdir", "/mnt/small")
    size = int(box.exec("du", "--summarize", "--block-size=1M", place).stdout.split()[0]) + 100
    box.exec("mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", "/mnt/small")
    box.exec("cp", "--archive", f"{place}/.", "/mnt/small/")
    box.exec("mount", "--bind", "/mnt/small", place)
    box.exec("systemctl", "start", "pushrod.target", "pushrod-edge.service", "pushrod-watch.timer")
    eventually(lambda: value(shop, "pushrod_host_disk_size_bytes") == size << 20, "the disk is seen", 120)
    assert "PushrodDiskFull" not in firing(shop)
    box.exec("dd", "if=/dev/zero", f"of={place}/filler", "bs=64k", check=False)
    assert box.exec("df", "--output=avail", place).stdout.split()[-1] == "0"
    began = time.monotonic()
    eventually(lambda: "PushrodDiskFull" in firing(shop), "the alert fires", 480)
    print(f"PushrodDiskFull fired after {time.monotonic() - began:.0f} s")
    assert value(shop, "pushrod_host_disk_free_bytes") == 0.0
    assert firing(shop) <= {"PushrodDiskFull", "PushrodDiskFilling", "ClockOff"}
    box.exec("rm", f"{place}/filler")
    eventually(lambda: "PushrodDiskFull" not in firing(shop), "it is over", 120)
    assert shop.get().status == 200


def test_turned_off_it_leaves_its_samples_alone(shop: Shop) -> None:
    shop.ground.pushrod("host", "monitor", "off")
    for unit in UNITS:
        assert shop.box.exec("systemctl", "is-active", unit, check=False).stdout.strip() == "inactive"
    assert shop.box.exec("ls", "/etc/pushrod", check=False).stdout.strip() == ""
    assert shop.box.exec("ls", "/var/lib/private/pushrod-prometheus").stdout
    assert not re.search(r":(9090|9100)\s", shop.box.exec("ss", "--listening", "--tcp", "--numeric").stdout)
