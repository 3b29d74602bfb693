"""The parts of the no-drop test: the load, the steps during it, and the saboteurs.

Each step is carried out while shapes of requests come at a constant rate over HTTP/1.1, with and without TLS, and
over HTTP/2, and gives a row of the table. A saboteur is the real pipeline on the real engine with one rule broken;
if the load does not notice it, the load proves nothing.
"""

import abc
import contextlib
import dataclasses
import functools
import http.client
import itertools
import json
import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psutil
import yaml

from devtools.apps import Machine, Tree, eventually
from devtools.columns import columns
from devtools.load import RACE, Delivery, Failure, Figures, Load, Report, delivery
from devtools.load.shapes import Protocol
from pushrod.adapters.nginx import Edge, Switch
from pushrod.core.site import DRAIN_BUDGET
from pushrod.core.values import Release
from pushrod.engines.embedded import engine as embedded
from pushrod.engines.embedded.context import Context
from pushrod.engines.embedded.programs import Programs
from pushrod.engines.embedded.runtime import Runtime
from pushrod.engines.protocols import Engine
from pushrod.ingress.certificates import tls_port
from pushrod.releases.one_shots import OneShots
from pushrod.releases.pipeline import Pipeline
from pushrod.releases.promotion import Promotion
from pushrod.state.apps import App as OwnApp
from pushrod.state.apps import Root

SOURCE = Path(__file__).with_name("steady.py").read_text()
BOOT = 0.5  # seconds before the app listens, so that a pipeline that does not wait for it is noticed
SHAPES = {"keep": 6, "close": 3, "post": 3, "slow": 1, "upload": 1, "events": 1, "websocket": 1}
QUICK = {"keep", "close", "post"}
PROTOCOLS: tuple[Protocol, ...] = ("http", "tls", "h2")
GAP = 0.25  # seconds without a success that users do not notice
DISTANCE = 0.02  # seconds of the round trip between the edge and the client whose race is measured


# ---- the app --------------------------------------------------------------------------------------------------


class Instance(NamedTuple):
    """A process of the app: `name` is its own identification, an address and the process there."""

    name: str
    pid: int

    @property
    def address(self) -> str:
        """Its address in the edge's notation."""
        return self.name.partition("/")[0]


class Steady(abc.ABC):
    """The app under load, on one of the engines; `tree` is the work tree it is pushed from."""

    tree: Tree
    good = ""

    # Different on each engine.

    @abc.abstractmethod
    def manifest(self, deadline: str, **environment: str) -> str:
        """Its compose file, with these variables."""

    @abc.abstractmethod
    def ask(self, path: str) -> tuple[int, str]:
        """The status and body of an answer, on a new connection."""

    @abc.abstractmethod
    def load(self, rate: float, **options: Any) -> Load:
        """A load with these options, sent to it."""

    @abc.abstractmethod
    def must(self, *verb: str) -> object:
        """Run a verb of pushrod, which must succeed."""

    @property
    @abc.abstractmethod
    def live(self) -> int:
        """The release that is live."""

    @abc.abstractmethod
    def renew(self) -> object:
        """Give it a new certificate."""

    @abc.abstractmethod
    def hang_up(self) -> None:
        """Send SIGHUP to the edge's nginx, as an administrator would."""

    @abc.abstractmethod
    def end(self, instance: Instance) -> None:
        """Send SIGKILL to an instance, without the engine's knowledge."""

    @abc.abstractmethod
    def log(self) -> str:
        """The edge's access log."""

    # The same on both.

    def get(self, path: str = "/") -> str:
        """The body of its answer."""
        status, body = self.ask(path)
        assert status == 200, (path, status, body)
        return body

    def files(self, version: str = "one", deadline: str = "15s", **environment: str) -> dict[str, str]:
        """The files of its commit."""
        source = SOURCE.replace('VERSION = "one"', f'VERSION = "{version}"')
        return {"app.py": source, "compose.yaml": self.manifest(deadline, BOOT=str(BOOT), **environment)}

    def deploy(self) -> None:
        """Push a change, and check that it is live."""
        version = f"v{random.randrange(10**9)}"
        self.tree.commit(self.files(version), version)
        done = self.tree.push()
        assert done.ok, done.err
        self.good = self.tree.head()
        assert self.get() == version

    def fail(self, trouble: str) -> None:
        """Push a commit that must be rejected, because the app exits before it listens (`crash`) or is never
        healthy (`sick`)."""
        live = self.live
        self.tree.commit(self.files(trouble, "2s", TROUBLE=trouble), trouble)
        done = self.tree.push()
        self.tree.reset(self.good)
        assert not done.ok
        assert self.live == live

    def kill(self) -> "Killed":
        """Kill one of two instances, and wait until it is back."""
        victim = min(self.two_instances(without=None))
        began = time.monotonic()
        self.end(victim)
        self.two_instances(without=victim)
        return Killed(victim, began, time.monotonic())

    def two_instances(self, without: Instance | None) -> set[Instance]:
        """Wait until two have answered; the less busy one is asked first, so this can take a while."""
        instances: set[Instance] = set()

        def both() -> bool:
            name, pid = self.get("/process").split()
            instances.add(Instance(name, int(pid)))
            return len(instances - {without}) == 2

        eventually(both, "two instances share the requests", 60.0)
        return instances - {without}

    def rows(self) -> list[str]:
        """The rows it has stored."""
        return self.get("/rows").split()


class OnThisMachine(Steady):
    """On the embedded engine, with a certificate of the machine's own authority."""

    def __init__(self, machine: Machine) -> None:
        self.app = machine.app("steady", self.files())
        self.tree, self.good = self.app.tree, self.app.good
        self.machine = machine
        assert self.get() == "one"

    def manifest(self, deadline: str, **environment: str) -> str:
        web = {
            "build": ".",
            "command": "python app.py",
            "ports": ["8000:8000"],
            "stop_grace_period": "10s",
            "environment": environment,
            "x-pushrod": {"health": {"path": "/healthz", "deadline": deadline}},
        }
        whole = {"services": {"web": web}, "x-pushrod": {"tls": {"source": "local"}}}
        return yaml.safe_dump(whole, sort_keys=False)

    def ask(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Connection": "close", "X-Forwarded-Proto": "https"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def load(self, rate: float, **options: Any) -> Load:
        trust = self.machine.root / "authority" / "chain.pem"
        tls = ("localhost", tls_port(self.port), trust)
        # Without TLS, the load plays a proxy on this machine that has terminated it: other requests are redirected
        # to TLS.
        return load(f"http://127.0.0.1:{self.port}", rate, tls=tls, forwarded=True, **options)

    @property
    def port(self) -> int:
        return int(self.app.settings["port"])

    def must(self, *verb: str) -> object:
        return self.app.must(*verb)

    @property
    def live(self) -> int:
        return self.app.live

    def renew(self) -> object:
        return self.must("cert", "renew", "--force")

    def hang_up(self) -> None:
        os.kill(int((self.machine.root / "edge" / "run" / "nginx.pid").read_text()), signal.SIGHUP)

    def end(self, instance: Instance) -> None:
        os.kill(instance.pid, signal.SIGKILL)

    def log(self) -> str:
        files = (self.machine.root / "edge" / "logs").glob("access.log*")  # rotated ones too
        return "".join(path.read_text() for path in files)


Served = TypeVar("Served", bound=Steady)


# ---- the load -------------------------------------------------------------------------------------------------


def load(
    url: str,
    rate: float,
    *,
    lasting: float = 2.0,
    shapes: Mapping[str, int] | None = None,
    seconds: float = 600.0,
    protocols: Sequence[Protocol] = PROTOCOLS,
    **options: Any,
) -> Load:
    """All shapes at once by default; lasting ones take `lasting` seconds. `seconds` bounds the sending.

    There are so many kept connections that each is used about once a second: a client that pauses for longer than
    the 2 s of a draining worker may see it close the connection, which is what `race` measures.
    """
    return Load(
        f"{url}/",
        rate=rate,
        shapes=shapes or SHAPES,
        post_url=f"{url}/rows",
        slow_url=f"{url}/slow?seconds={lasting}",
        upload_url=f"{url}/rows",
        events_url=f"{url}/events?count={max(1, round(lasting / 0.25))}",
        websocket_url=f"{url}/socket",
        lasting=lasting,
        timeout=lasting + 15.0,
        seconds=seconds,
        protocols=protocols,
        connections=max(2, round(rate / 12)),
        **options,
    )


class Killed(NamedTuple):
    """A killed instance, and the time span in which it was gone, by the machine's clock."""

    instance: Instance
    began: float
    ended: float


@dataclasses.dataclass(frozen=True)
class Row:
    """The result of one step. `spared` are failures on an instance that the step killed."""

    step: str
    report: Report
    rows: Delivery
    spared: tuple[Failure, ...] = ()

    @property
    def failed(self) -> int:
        """The number of failures that are not excused."""
        return self.report.total.failed - len(self.spared)

    @property
    def clean(self) -> bool:
        """Whether nothing failed, and every acknowledged POST is stored exactly once."""
        return self.report.total.ok > 0 and self.failed == 0 and self.rows.exactly_once

    @property
    def gap(self) -> float:
        """The longest time without a success, in seconds; 0 if only lasting requests were sent, which say nothing
        about it."""
        return self.report.total.gap if any(map(_is_quick, self.report.shapes)) else 0.0

    def __str__(self) -> str:
        return f"{self.step}: {self.rows}\n{self.report.table()}\nspared: {list(map(str, self.spared))}"


def under_load(
    app: Served,
    step: str,
    does: Callable[[Served], object],
    rate: float,
    *,
    at_least: float = 0.0,
    **options: Any,
) -> Row:
    """Run a step while requests come, for `at_least` seconds."""
    with app.load(rate, **options) as running:
        start = time.monotonic()
        # Requests open at the beginning belong to the step: wait until each shape has been sent.
        time.sleep(max(0.2, len(PROTOCOLS) * sum(SHAPES.values()) / rate))
        done = does(app)
        time.sleep(max(0.3, at_least - (time.monotonic() - start)))
    report = running.report
    lost = spared(report, done, app.log()) if isinstance(done, Killed) else ()
    return Row(step, report, delivery(report, app.rows()), lost)


def spared(report: Report, killed: Killed, log: str) -> tuple[Failure, ...]:
    """The failures proved to be on the killed instance: no server can repeat these.

    An answer that had begun there, or a WebSocket, names the instance. A POST has only the edge's own 502 as its
    answer: the edge's log must show that it was sent to that address and to no other, while the instance was gone.
    """
    lines = (
        json.loads(line)
        for line in log.splitlines()
        if line.startswith("{") and '"upstream_status":"502"' in line
    )
    sent = {line["request"]: line["upstream"] for line in lines}

    def proved(f: Failure) -> bool:
        if f.kind in ("truncated", "cut"):
            return f.instance == killed.instance.name
        gone = killed.began <= report.started + f.at <= killed.ended
        post = f.shape.partition("/")[0] in ("post", "upload")
        return f.kind == "status 502" and post and gone and sent.get(f.id) == killed.instance.address

    return tuple(filter(proved, report.failures))


# ---- tables ---------------------------------------------------------------------------------------------------

COUNTS = (
    "requests", "ended early", "failed", "non-2xx", "resets", "truncated", "other",
    "unprocessed", "on the killed", "lost", "doubled",
)  # fmt: skip
_RESETS = ("reset", "refused", "unanswered", "cut", RACE)


def table(rows: Sequence[Row]) -> str:
    """The rows for people, and their sum. `late` is the longest delay of the generator itself: a machine that is
    too busy for it makes gaps too."""
    counted = [_counted(row, None) for row in rows]
    lines: list[Sequence[str | float]] = [
        (row.step, *counts, row.gap, row.report.total.p99 if row.gap else 0.0, row.report.lag)
        for row, counts in zip(rows, counted, strict=True)
    ]
    longest = max((row.gap for row in rows), default=0.0)
    lines.append(("all", *map(sum, zip(*counted, strict=True)), longest, 0.0, 0.0))
    return _table(("step", *COUNTS, "longest gap", "p99", "late"), lines)


def table_by_shape(rows: Sequence[Row]) -> str:
    """The same requests by shape and protocol, over all steps; then by protocol."""
    lines = []
    for name in dict.fromkeys(name for row in rows for name in row.report.shapes):
        of = [(row, row.report.shapes[name]) for row in rows if name in row.report.shapes]
        lines.append(_sum(name, [_counted(row, name) for row, _ in of], [f for _, f in of]))
    for protocol in PROTOCOLS:
        of = [(row, row.report.protocols[protocol]) for row in rows if protocol in row.report.protocols]
        names = {name for row in rows for name in row.report.shapes if _protocol(name) == protocol}
        counted = [_counted(row, name) for row, _ in of for name in names if name in row.report.shapes]
        quick = [f for row, f in of if any(map(_is_quick, row.report.shapes))]
        if of:
            lines.append(_sum(f"all {protocol}", counted, quick))
    return _table(("shape", *COUNTS, "longest gap", "p99"), lines)


def _sum(name: str, counted: Iterable[Sequence[int]], figures: Sequence[Figures]) -> tuple[str | float, ...]:
    sums = map(sum, zip(*counted, strict=True))
    quick = name.startswith("all ") or _is_quick(name)
    gap = max((f.gap for f in figures), default=0.0) if quick else 0.0
    return (name, *sums, gap, max((f.p99 for f in figures), default=0.0) if quick else 0.0)


def _counted(row: Row, shape: str | None) -> list[int]:
    """The COUNTS of a row, or of one of its shapes."""
    f = row.report.shapes[shape] if shape else row.report.total
    early = f.closed if shape else sum(s.closed for s in row.report.shapes.values())
    spared = [s for s in row.spared if shape in (None, s.shape)]
    kinds = dict(f.failures)
    for s in spared:
        kinds[s.kind] -= 1
    refused = sum(n for kind, n in kinds.items() if kind.startswith("status "))
    reset = sum(kinds.get(kind, 0) for kind in _RESETS)
    truncated, failed = kinds.get("truncated", 0), f.failed - len(spared)
    lost, doubled = (
        sum(1 for i in ids if shape in (None, i.split("-", 2)[-1]))
        for ids in (row.rows.lost, row.rows.doubled)
    )
    other = failed - refused - reset - truncated
    return [
        f.sent,
        early,
        failed,
        refused,
        reset,
        truncated,
        other,
        f.unprocessed,
        len(spared),
        lost,
        doubled,
    ]


def _table(titles: Sequence[str], rows: Sequence[Sequence[str | float]]) -> str:
    """Integers are counts, other numbers are seconds; zeros are left empty."""
    lines: list[Sequence[str]] = [titles]
    for name, *values in rows:
        lines.append((str(name), *(_cell(v) if isinstance(v, float) else str(v) for v in values)))
    return columns(lines, left=1)


def _cell(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds else ""


def _is_quick(shape: str) -> bool:
    return shape.partition("/")[0] in QUICK


def _protocol(shape: str) -> str:
    return shape.partition("/")[2] or "http"


# ---- the steps ------------------------------------------------------------------------------------------------

KILL = "kill -9 of one instance of two"
STEPS: Mapping[str, Callable[[Steady], object]] = {
    "deploy": Steady.deploy,
    "rollback": lambda app: app.must("rollback"),
    "failed deploy: crashes": lambda app: app.fail("crash"),
    "certificate renewed": lambda app: app.renew(),
    "failed deploy: never healthy": lambda app: app.fail("sick"),
    "scale to 2": lambda app: app.must("scale", "web=2"),
    KILL: Steady.kill,
    "restart": lambda app: app.must("restart"),
    "edge reload": lambda app: app.hang_up(),
    "scale to 1": lambda app: app.must("scale", "web=1"),
}


# ---- saboteurs ------------------------------------------------------------------------------------------------


class Silent:
    """Progress that is not shown."""

    def begin(self, step: str, detail: str) -> None: ...

    def end(self, step: str, detail: str, took: float) -> None: ...

    def fail(self, step: str, took: float) -> None: ...

    def line(self, text: str) -> None: ...

    def note(self, text: str) -> None: ...


class _HastyEdge(Edge):
    def drained(self, switch: Switch, budget: float = DRAIN_BUDGET) -> bool:
        return False


class _HastyContext(Context):
    @functools.cached_property
    def edge(self) -> Edge:
        return _HastyEdge(self.parts.nginx, self.root.edge, self.root.runtime / "edge", self.account)


class _HastyRuntime(Runtime):
    def stop(self, app: OwnApp, number: int) -> Sequence[str]:
        for state in self._context.supervisor.states(f"{app.name}-r{number}"):
            with contextlib.suppress(psutil.NoSuchProcess):
                # The app before its listener, whose end would tell the app to stop.
                for process in psutil.Process(state.pid).children(recursive=True):
                    process.kill()
        return super().stop(app, number)


def _hasty(root: Root) -> Engine:
    """An engine that waits for nobody, and kills what it stops."""
    context = _HastyContext(root)
    runtime = _HastyRuntime(context, Programs(context))
    return dataclasses.replace(embedded.compose(context), runtime=runtime)


class _StopThenStart(Promotion):
    def start(self, release: Release, previous: int) -> None:
        for number in self._engine.runtime.running(self._app):
            self._engine.runtime.stop(self._app, number)
        super().start(release, previous)


class _MoveTooSoon(Promotion):
    def start(self, release: Release, previous: int) -> None:
        self.serve(release)
        super().start(release, previous)


def pipeline(
    app: OnThisMachine, kind: type[Promotion] = Promotion, engine: Callable[[Root], Engine] = embedded.of
) -> Pipeline:
    """A pipeline in this process; by default without sabotage."""
    root = Root(app.machine.root)
    line = Pipeline(root.app(app.app.name), engine(root), Silent())
    line.promotion = kind(line.context, line.serving, OneShots(line.context))
    return line


SABOTAGE: Mapping[str, Callable[[OnThisMachine], object]] = {
    "killed right after the switch": lambda app: pipeline(app, engine=_hasty).renew(),
    "stopped, then started": lambda app: pipeline(app, _StopThenStart).renew(),
    "switched before it is ready": lambda app: pipeline(app, _MoveTooSoon).renew(),
}


# ---- the remaining race of HTTP/1.1 -------------------------------------------------------------------------------


class _OlderEdge(Edge):
    """Configures nginx like a version before 1.27.4, which does not know `keepalive_min_timeout`."""

    @functools.cached_property
    def version_output(self) -> str:
        return re.sub(r"nginx/[0-9.]+", "nginx/1.26.0", super().version_output)


def race(app: OnThisMachine, rate: float, reloads: int, *, older: bool) -> Row:
    """Requests on kept connections only, from a client DISTANCE away, while the edge is reloaded every second."""
    its = Context(Root(app.machine.root))
    kind = _OlderEdge if older else Edge
    kind(its.parts.nginx, its.root.edge, its.root.runtime / "edge", its.account).switch({})
    try:
        with app.load(rate, shapes={"keep": 1}, distance=DISTANCE) as running:
            for _ in itertools.repeat(None, reloads):
                app.hang_up()
                time.sleep(1.0)
    finally:
        its.edge.switch({})
    name = f"{reloads} reloads, {'without' if older else 'with'} keepalive_min_timeout"
    return Row(name, running.report, delivery(running.report, ()))


def held(app: Steady, count: int, lasting: float) -> Load:
    """WebSockets, opened within a second and held for longer than any drain lasts."""
    return app.load(count, lasting=lasting, shapes={"websocket": 1}, seconds=1.0, protocols=("http", "tls"))
