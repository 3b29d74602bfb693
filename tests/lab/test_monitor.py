"""A host's own Prometheus: what it scrapes, what fires while an app is down, over a reboot, and what is left."""

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
from pushrod.provisioning.monitor import UNITS

pytestmark = [
    pytest.mark.lab,
    pytest.mark.long,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="needs prometheus: apt-get install prometheus"
    ),
]

PROGRAMS = ("prometheus", "promtool", "prometheus-node-exporter")
RECEIVED = "/var/lib/pushrod/received"
EXPOSURE = 2.0  # of 10, as `systemd-analyze security` rates units


@pytest.fixture(scope="module")
def shop(ground: Ground) -> Shop:
    """An app on a host with Prometheus's programs, whose alarms are kept in a file."""
    shop = ground.shop_with(["one"])
    for name in PROGRAMS:
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
    eventually(lambda: healthy(shop) == {"pushrod", "node", "prometheus"}, "all targets answer", 60)
    eventually(lambda: value(shop, 'pushrod_app_up{app="shop"}') == 1.0, "the app is up", 30)
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
    shop.box.reboot()
    eventually(lambda: healthy(shop) == {"pushrod", "node", "prometheus"}, "all targets answer", 120)
    assert value(shop, 'min_over_time(timestamp(pushrod_app_up{app="shop"})[1h:15s])') == since


def test_turned_off_it_leaves_its_samples_alone(shop: Shop) -> None:
    shop.ground.pushrod("host", "monitor", "off")
    for unit in UNITS:
        assert shop.box.exec("systemctl", "is-active", unit, check=False).stdout.strip() == "inactive"
    assert shop.box.exec("ls", "/etc/pushrod", check=False).stdout.strip() == ""
    assert shop.box.exec("ls", "/var/lib/private/pushrod-prometheus").stdout
    assert not re.search(r":(9090|9100)\s", shop.box.exec("ss", "--listening", "--tcp", "--numeric").stdout)
