"""The queries about pushrod's own metrics, in a real Prometheus.

`tests/integration/test_dashboards.py` asks all of them about a deployed app.
"""

import contextlib
import functools
import http.server
import itertools
import json
import math
import re
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from devtools.servers import free_port
from pushrod.adapters import grafana
from pushrod.observe.metrics.requests import Counts, Latency
from pushrod.observe.metrics.samples import families, render
from pushrod.system.waits import wait_until
from tests.unit.observe.metrics.test_samples import FULL, HOST

OTHERS = re.compile(r"\b(node_|prometheus_|up\b|ALERTS)")
QUERIES = sorted(
    {
        query
        for name in ("host", "app")
        for row in grafana.DASHBOARDS[name].rows.values()
        for panel in row
        for query in panel.queries.values()
        if not OTHERS.search(query)
    }
)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with metrics of an app that gets more requests, and a new release, with each scrape."""

    def __init__(self, numbers: "itertools.count[int]", *words: object) -> None:
        self.numbers = numbers
        super().__init__(*words)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        number = next(self.numbers)
        counts = Counts(
            requests={"shop": {"GET 2xx /": 10 * number, "GET 5xx /": number}},
            latency={"shop": {"/": Latency([10 * number, number, *[0] * 11], 1.0 * number)}},
            sent={"shop": 99 * number},
            upstream_errors={"shop": number},
        )
        app = msgspec.structs.replace(FULL, release=number)
        host = msgspec.structs.replace(HOST, now=time.time())
        body = render(families(host, [app], counts)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    handler = functools.partial(Handler, itertools.count(1))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    configuration = {
        "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
        "scrape_configs": [
            {"job_name": "pushrod", "static_configs": [{"targets": [f"127.0.0.1:{server.server_port}"]}]}
        ],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(configuration))
    listening = f"127.0.0.1:{free_port()}"
    argv = ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*argv, f"--web.listen-address={listening}"], stdout=log, stderr=log)
    try:
        yield listening
    finally:
        process.terminate()
        process.wait(30)
        server.shutdown()
        server.server_close()
        thread.join()


def has_data(address: str, expression: str) -> bool:
    asked = expression.replace("$app", "shop").replace("$__rate_interval", "2s")
    url = f"http://{address}/api/v1/query?query={urllib.parse.quote(asked)}"
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=10) as answer:
        values = [float(one["value"][1]) for one in json.load(answer)["data"]["result"]]
        return bool(values) and not any(math.isnan(value) for value in values)
    return False


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("prometheus"), reason="needs prometheus (Debian: prometheus)")
def test_every_query_has_data(address: str) -> None:
    empty = [*QUERIES, *{one.deployments for one in grafana.DASHBOARDS.values()}]

    def all_have() -> bool:
        empty[:] = [query for query in empty if not has_data(address, query)]
        return not empty

    assert wait_until(all_have, 60, 0.2), empty
    assert not has_data(address, 'pushrod_app_up{app="$app"} > 5')  # a query without data is noticed
