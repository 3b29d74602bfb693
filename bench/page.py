"""The cost of what shows a host: its web page with many apps, and its metrics under many requests."""

import http.client
import json
import os
import resource
import shutil
import subprocess
import tempfile
import time
import urllib.parse
from pathlib import Path
from types import TracebackType

import msgspec
import psutil

from bench.figures import Figure
from bench.stage import PUSHROD, TIMEOUT, BenchError
from pushrod.backups.catalogue import Backup, File
from pushrod.core.values import Image, Instance, Release, Service
from pushrod.state.apps import App, Root, Settings
from pushrod.state.journal import Journal
from pushrod.state.releases import Releases

APPS = 50
RELEASES, BACKUPS = 5, 7  # of each app
STEPS = ("prepare", "plan", "stores", "release", "start", "ready", "switch", "retire")
FIRST = 0.100  # seconds of the server for the first page
EVERY = 10.0  # seconds between two runs of the metrics' timer
RATES = (0, 1_000, 10_000)  # requests a second
SHARE = 0.1  # of a core, for the metrics


class Shown:
    """A root with many apps, none of which runs, and its page."""

    def __init__(self) -> None:
        self.top = Path(tempfile.mkdtemp(prefix="pushrod-bench-"))
        self.root = Root(self.top / "root")
        self.root.create()
        for number in range(APPS):
            _app(self.root, f"app-{number}", 9000 + number)
        self._environment = {**os.environ, "PUSHROD_ROOT": str(self.root.path)}
        argv = [PUSHROD, "web", "--port", "0", "--no-browser"]
        self._child = subprocess.Popen(
            argv, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.process = psutil.Process(self._child.pid)
        self._host = self._cookie = ""

    def __enter__(self) -> "Shown":
        assert self._child.stdout is not None
        link = urllib.parse.urlsplit(self._child.stdout.readline().strip())
        self._host = link.netloc
        token = urllib.parse.parse_qs(link.query)["link"][0]
        answer = self._ask("POST", "/enter", urllib.parse.urlencode({"link": token}))
        self._cookie = answer.headers["Set-Cookie"].partition(";")[0]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.terminate()
        self._child.wait(20)
        shutil.rmtree(self.top)

    def first_page(self) -> tuple[float, float]:
        """Seconds until the server's answer begins, by its own clock, and of the processor."""
        before = sum(self.process.cpu_times()[:2])
        answer = self._ask("GET", "/")
        if answer.status != 200:
            raise BenchError(f"the page answers with {answer.status}")
        took = float(answer.headers["Server-Timing"].partition("dur=")[2]) / 1000
        return took, sum(self.process.cpu_times()[:2]) - before

    def metrics(self, requests: int) -> tuple[float, float]:
        """Seconds of the processor for one run of the timer after so many requests, and megabytes of its memory."""
        log = self.root.edge / "logs" / "access.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        self._write_metrics()
        with log.open("a") as lines:
            lines.writelines(map(_line, range(requests)))
        return self._write_metrics()

    def _write_metrics(self) -> tuple[float, float]:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        argv = [PUSHROD, "metrics", "--write"]
        subprocess.run(argv, env=self._environment, check=True, timeout=TIMEOUT)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return took, after.ru_maxrss / 1024

    def _ask(self, method: str, path: str, body: str = "") -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", int(self._host.rpartition(":")[2]), timeout=30)
        headers = {"Host": self._host, "Origin": f"http://{self._host}", "Cookie": self._cookie}
        connection.request(
            method, path, body, {**headers, "Content-Type": "application/x-www-form-urlencoded"}
        )
        answer = connection.getresponse()
        answer.read()
        return answer


def _app(root: Root, name: str, port: int) -> None:
    """An app with some past."""
    app = App(root, name)
    app.state.mkdir(parents=True)
    app.save(Settings(name, port, "embedded", "2026-01-01T00:00:00.000+00:00"))
    journal, releases = Journal(app.journal), Releases(app)
    for number in range(1, RELEASES + 1):
        commit = f"{number:040x}"
        releases.seal(_release(name, number, commit))
        journal.append("prepare", number, commit=commit, by="somebody")
        for step in STEPS:
            journal.append("step", number, step=step, took=0.5)
        for event in ("promote", "live", "done"):
            journal.append(event, number, commit=commit)
    releases.point(RELEASES)
    for day in range(1, BACKUPS + 1):
        _backup(app, f"2026-01-{day:02}T02-00-00Z", f"2026-01-{day:02}T02:00:00.000+00:00")


def _backup(app: App, name: str, at: str) -> None:
    """The record of a backup."""
    file = File("postgres", "postgres.dump", "18.6", 40_000_000, "0" * 64, {"orders": 100_000})
    record = Backup(app.name, name, at, RELEASES, "0" * 40, "embedded", (file,))
    place = app.backups / name
    place.mkdir(parents=True)
    (place / "backup.json").write_bytes(msgspec.json.encode(record))


def _release(app: str, number: int, commit: str) -> Release:
    backend = Service("backend", "entry", command=("serve",), port=8080, replicas=2)
    return Release(
        app=app,
        number=number,
        commit=commit,
        subject=f"Change number {number} of {app}",
        created="2026-01-01T00:00:00.000+00:00",
        engine="embedded",
        entry="backend",
        services=(backend, Service("worker", "worker", command=("work",))),
        stores=(Service("postgres", "store", image="postgres:18", store="postgres"),),
        images={"backend": Image(id="sha-1"), "worker": Image(id="sha-1")},
        instances=(Instance("backend-1", "backend", 20001), Instance("backend-2", "backend", 20002)),
        environment_names={"backend": ("DATABASE_URL",), "worker": ()},
        inputs="digest",
        pushrod="0.1.0",
    )


def _line(number: int) -> str:
    """A request as the edge logs it."""
    entry = {
        "time": "2026-11-01T00:00:00+00:00",
        "app": f"app-{number % APPS}",
        "release": RELEASES,
        "request": f"{number:032x}",
        "client": "192.0.2.1",
        "method": "GET",
        "path": f"/api/products/{number % 1000}",
        "status": 200,
        "bytes": 900,
        "seconds": number % 97 / 1000,
        "upstream": "127.64.0.1:8080",
        "upstream_status": "200",
        "upstream_seconds": "0.004",
        "cache": "",
    }
    return json.dumps(entry, separators=(",", ":")) + "\n"


def page(shown: Shown, times: int) -> list[Figure]:
    """The first page of the web page in use, once it has been asked before."""
    shown.first_page()
    time.sleep(0.1)
    took, cpu = zip(*(shown.first_page() for _ in range(times)), strict=True)
    memory = shown.process.memory_info().rss / 2**20
    what = f"first page, {APPS} apps"
    return [
        Figure(what, took, target=FIRST),
        Figure(f"{what}: processor", (sum(cpu) / len(cpu),), target=FIRST),
        Figure("the page's memory in use", (memory,), "MB"),
    ]


def metrics_timer(shown: Shown, times: int) -> list[Figure]:
    """One run of the metrics' timer, by the requests that were logged since the run before."""
    figures = []
    for rate in RATES:
        took, memory = zip(*(shown.metrics(int(rate * EVERY)) for _ in range(times)), strict=True)
        figures.append(Figure(f"metrics at {rate}/s: processor per run", took, target=SHARE * EVERY))
    figures.append(Figure("metrics: most memory", (max(memory),), "MB"))
    return figures
