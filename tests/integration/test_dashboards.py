"""Every query of every dashboard in a real Prometheus, which scrapes the template's shop, its stores by Debian's
exporters, and this machine. A panel without data fails. The alerts about stores fire from what the exporters say."""

import contextlib
import functools
import http.server
import json
import math
import os
import re
import shutil
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from devtools.apps import PSQL, Machine
from devtools.servers import free_port
from devtools.shop import OnThisMachine
from pushrod.adapters import grafana, redis
from pushrod.adapters import prometheus as rendered
from pushrod.system.waits import wait_until
from tests.integration.stores import health_password, superuser

EXPORTERS = ("prometheus-node-exporter", "prometheus-postgres-exporter", "prometheus-redis-exporter")
MISSING = [name for name in ("prometheus", "restic", *EXPORTERS) if shutil.which(name) is None]

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long,
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}: apt-get install"),
]

ROLE = (
    "create role figures login password 'figures' connection limit 3 in role pg_monitor;"
    "grant connect on database {database} to figures"
)
OWN = {"domains": ["shop.localhost"], "tls": {"source": "local"}}


@pytest.fixture(scope="module")
def shop(new_machine: Callable[[], Machine], place: Path) -> OnThisMachine:
    """The template's shop with a backup that was proved, a log that was copied, and a certificate; then it was rolled
    back to a release without TLS, so that it is asked without."""
    machine = new_machine()
    done = machine.pushrod("host", "backups", "set", str(place / "dashboards"))
    assert done.ok, done.err
    made = OnThisMachine(machine)
    manifest = yaml.safe_load((made.app.tree.path / "compose.yaml").read_text())
    made.app.tree.commit({"compose.yaml": json.dumps({**manifest, "x-pushrod": OWN})}, "with TLS")
    made.push()
    made.app.must("rollback")
    made.app.must("db", "backup")
    made.app.must("db", "archive")
    return made


def environment(shop: OnThisMachine) -> dict[str, str]:
    """The variables of the app's instances."""
    lines = shop.app.must("exec", "backend", "--", "env").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


@contextlib.contextmanager
def running(log: Path, *argv: str, **variables: str) -> Iterator[None]:
    """A server that is ended."""
    with log.open("ab") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output, env={**os.environ, **variables})
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves the metrics' file, as the edge of a Docker host does."""

    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture(scope="module")
def served(shop: OnThisMachine) -> Iterator[str]:
    """The address of pushrod's metrics."""
    shop.app.machine.must("metrics", "--write")
    handler = functools.partial(Quiet, directory=str(shop.app.machine.root / "edge" / "metrics"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def prometheus(shop: OnThisMachine, served: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus that scrapes all of it."""
    place = tmp_path_factory.mktemp("prometheus")
    log = place / "log"
    own, node, rows, keys = (f"127.0.0.1:{free_port()}" for _ in range(4))
    variables = environment(shop)
    kept = urllib.parse.urlsplit(variables["CACHE_URL"])
    jobs: Mapping[str, Any] = {
        "pushrod": {"static_configs": [{"targets": [served]}], "metrics_path": "/metrics.prom"},
        "prometheus": {"static_configs": [{"targets": [own]}]},
        "node": {"static_configs": [{"targets": [node]}]},
        "postgres": {"static_configs": [{"targets": [rows]}]},
        "redis": {"static_configs": [{"targets": [keys]}]},
        "apps": {
            "file_sd_configs": [
                {"files": [f"{shop.app.machine.root}/targets/*.json"], "refresh_interval": "1s"}
            ]
        },
    }
    configuration = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "900ms", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": name, **job} for name, job in jobs.items()],
    }
    (place / "prometheus.yml").write_text(json.dumps(configuration))
    (place / "rules.yaml").write_text(re.sub(r"\bfor: \w+", "for: 0s", rendered.rules()))
    with contextlib.ExitStack() as servers:
        start = servers.enter_context
        start(running(log, EXPORTERS[0], f"--web.listen-address={node}"))
        server = urllib.parse.urlsplit(variables["DATABASE_URL"])
        superuser(shop.app, ROLE.format(database=server.path.lstrip("/")))
        at = f"postgresql://figures:figures@{server.hostname}:{server.port}{server.path}"
        source = {"DATA_SOURCE_NAME": f"{at}?sslmode=disable"}
        start(running(log, EXPORTERS[1], f"--web.listen-address={rows}", **source))
        secrets = {"REDIS_USER": redis.HEALTH_USER, "REDIS_PASSWORD": health_password(shop.app, "cache")}
        address = f"-redis.addr=redis://{kept.hostname}:{kept.port}"
        start(running(log, EXPORTERS[2], f"-web.listen-address={keys}", address, **secrets))
        files = (f"--config.file={place}/prometheus.yml", f"--storage.tsdb.path={place}/data")
        start(running(log, "prometheus", *files, f"--web.listen-address={own}"))
        assert wait_until(lambda: bool(asked(own, "up")), 60), log.read_text()
        yield own


def asked(address: str, query: str) -> list[float]:
    """The values of a query, with what Grafana fills in."""
    instance = r'instance=~".+"'
    for variable, value in (
        ("$app", "shop"),
        ('instance="$instance"', instance),
        ("$__rate_interval", "10s"),
    ):
        query = query.replace(variable, value)
    url = f"http://{address}/api/v1/query?query={urllib.parse.quote(query)}"
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=10) as answer:
        return [float(one["value"][1]) for one in json.load(answer)["data"]["result"]]
    return []


def used(shop: OnThisMachine) -> None:
    """Look twice at a product, and ask for one that is not there."""
    person = shop.person()
    for product, status in ((1, 200), (1, 200), (999_999, 404)):
        assert person.ask("GET", f"/api/products/{product}").status == status


def test_every_panel_has_data(shop: OnThisMachine, prometheus: str) -> None:
    queries = {
        f"{name}, {row}, {panel.title}: {query}": query
        for name, shown in grafana.DASHBOARDS.items()
        for row, panels in shown.rows.items()
        for panel in panels
        for query in panel.queries.values()
    }
    queries |= {f"{name}, deployments": one.deployments for name, one in grafana.DASHBOARDS.items()}
    assert len(queries) > 60
    seen: set[str] = set()
    shop.person().register()
    psutil.Process(shop.pid("backend-1")).kill()
    shop.app.must("restart")

    def all_have() -> bool:
        used(shop)
        shop.app.machine.must("metrics", "--write")
        for name, query in queries.items():
            values = asked(prometheus, query) if name not in seen else []
            if values and not all(map(math.isnan, values)):
                seen.add(name)
        return seen == set(queries)

    assert wait_until(all_have, 90), sorted(set(queries) - seen)
    assert asked(prometheus, 'pushrod_app_up{app="$app"} > 5') == []  # a query without data is noticed


def firing(address: str, alert: str) -> bool:
    return bool(asked(address, f'ALERTS{{alertname="{alert}",alertstate="firing"}}'))


def test_the_alert_about_connections_fires_and_ends(shop: OnThisMachine, prometheus: str) -> None:
    alert, url = "PostgresqlConnections", environment(shop)["DATABASE_URL"]
    most = int(asked(prometheus, "pg_settings_max_connections")[0])
    assert not firing(prometheus, alert)
    argv = [PSQL, "-XqAt", "-d", url, "-c", "select pg_sleep(120)"]
    held = [subprocess.Popen(argv, stderr=subprocess.DEVNULL) for _ in range(int(0.86 * most))]
    try:
        assert wait_until(lambda: firing(prometheus, alert), 60)
    finally:
        for child in held:
            child.terminate()
        for child in held:
            child.wait(30)
    assert wait_until(lambda: not firing(prometheus, alert), 60)


def test_the_alert_about_memory_fires_and_ends(shop: OnThisMachine, prometheus: str) -> None:
    alert, cache = "RedisMemory", urllib.parse.urlsplit(environment(shop)["CACHE_URL"])
    most = int(asked(prometheus, "redis_memory_max_bytes")[0])
    assert not firing(prometheus, alert)

    def ask(*words: str) -> object:
        who = (cache.port or 0, cache.username or "", cache.password or "")
        return redis.command(*who, *words, address=cache.hostname or "")

    keys = [f"filler:{number}" for number in range(int(0.95 * most) >> 20)]
    for key in keys:
        ask("SET", key, "x" * (1 << 20))
    assert wait_until(lambda: firing(prometheus, alert), 60)
    ask("DEL", *keys)
    assert wait_until(lambda: not firing(prometheus, alert), 60)
