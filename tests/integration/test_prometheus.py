"""A real Prometheus scrapes a real root: its metrics and the app's own, over deployments, and an alert that fires and
ends."""

import contextlib
import functools
import http.server
import json
import re
import shutil
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from devtools import apps
from devtools.apps import App, Machine
from devtools.servers import free_port
from pushrod.adapters import prometheus
from pushrod.system.waits import wait_until
from tests.integration.disks import fill, on_small_disk

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed"),
]

SOON = 60.0  # seconds to wait for something that takes a second or two


OWN = 'elif url.path == "/metrics":\n            body = "shop_things 42\\n"\n        '


@pytest.fixture(scope="module")
def app(machine: Machine) -> App:
    """An app with metrics of its own."""
    assert apps.APP.count('elif url.path == "/process":') == 1
    source = apps.APP.replace('elif url.path == "/process":', OWN + 'elif url.path == "/process":')
    own = {"health": {"path": "/healthz", "deadline": "15s"}, "metrics": {}}
    return machine.app("shop", {"app.py": source, "compose.yaml": apps.manifest(**{"x-pushrod": own})})


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves the metrics' file, as the edge of a Docker host does."""

    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture
def scraping(app: App, tmp_path: Path) -> Iterator[str]:
    with scraped(app.machine, tmp_path) as address:
        yield address


@contextlib.contextmanager
def scraped(machine: Machine, tmp_path: Path) -> Iterator[str]:
    """Prometheus with our rules, in which an alert takes a second instead of minutes; yields its address."""
    machine.must("metrics", "--write")
    handler = functools.partial(Quiet, directory=str(machine.root / "edge" / "metrics"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rules = machine.must("metrics", "--rules")
    assert rules.strip() == prometheus.rules().strip()
    (tmp_path / "rules.yaml").write_text(re.sub("for: [25]m", "for: 1s", rules))
    configuration = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "400ms", "evaluation_interval": "500ms"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {
                "job_name": "pushrod",
                "metrics_path": "/metrics.prom",
                "static_configs": [{"targets": [f"127.0.0.1:{server.server_port}"]}],
            },
            {
                "job_name": "apps",
                "file_sd_configs": [{"files": [f"{machine.root}/targets/*.json"], "refresh_interval": "1s"}],
            },
        ],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(configuration))
    address = f"127.0.0.1:{free_port()}"
    argv = ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*argv, f"--web.listen-address={address}"], stdout=log, stderr=log)
    try:
        assert wait_until(lambda: bool(query(address, "up")), SOON), (tmp_path / "log").read_text()
        yield address
    finally:
        process.terminate()
        process.wait(30)
        server.shutdown()
        server.server_close()


def query(address: str, expression: str) -> list[dict[str, Any]]:
    url = f"http://{address}/api/v1/query?query={urllib.parse.quote(expression)}"
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=10) as answer:
        result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result
    return []


def firing(address: str) -> set[str]:
    return {one["metric"]["alertname"] for one in query(address, 'ALERTS{alertstate="firing"}')}


def releases(address: str) -> set[str]:
    return {one["metric"]["release"] for one in query(address, "shop_things == 42")}


def test_targets_follow_the_release_and_an_alert_fires_and_ends(app: App, scraping: str) -> None:
    machine = app.machine

    def collected(alerts: set[str]) -> bool:
        machine.must("metrics", "--write")
        return firing(scraping) == alerts

    assert wait_until(lambda: releases(scraping) == {str(app.live)}, SOON)
    before = app.live
    app.must("restart", "--app", "shop")
    assert app.live > before
    assert wait_until(
        lambda: releases(scraping) == {str(app.live)}, SOON
    )  # the old one's samples end at once
    assert wait_until(lambda: collected(set()), SOON), firing(scraping)

    program = machine.root / "apps" / "shop" / "checkouts" / str(app.live) / "app.py"
    whole = program.read_text()
    pid = json.loads(app.get("/process").body)["pid"]
    program.write_text("raise SystemExit(3)\n")
    try:
        psutil.Process(pid).kill()
        assert wait_until(lambda: collected({"PushrodAppDown"}), SOON), firing(scraping)
    finally:
        program.write_text(whole)
        app.must("restart", "--app", "shop")
    assert wait_until(lambda: collected(set()), SOON), firing(scraping)
    app.must("down", "--app", "shop")
    assert list((machine.root / "targets").iterdir()) == []
    assert wait_until(lambda: not releases(scraping), SOON)
    assert wait_until(lambda: collected(set()), SOON), firing(scraping)  # taken down is not down


def test_a_full_disk_fires_although_nothing_can_be_written_and_ends(
    new_machine: Callable[[], Machine], tmp_path: Path
) -> None:
    with on_small_disk(new_machine()) as machine, scraped(machine, tmp_path) as address:

        def collected(alerts: set[str]) -> bool:
            machine.must("metrics", "--write")
            return firing(address) == alerts

        assert wait_until(lambda: collected(set()), SOON), firing(address)
        empty = fill(machine)
        assert shutil.disk_usage(machine.root).free == 0
        assert wait_until(lambda: collected({"PushrodDiskFull"}), SOON), firing(address)
        free = int(query(address, "pushrod_host_disk_free_bytes")[0]["value"][1])
        assert free < 1 << 19  # what is kept for the metrics has been given up for them
        empty()
        assert wait_until(lambda: collected(set()), SOON), firing(address)
