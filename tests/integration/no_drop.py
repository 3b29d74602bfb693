"""What a promise needs that no request is dropped: the load, what happens meanwhile, and who must be caught.

Each step is done while shapes of requests come at a constant rate, and gives a row of the table. The saboteurs are
the real pipeline on the real engine with one rule broken; if the load does not notice them, it proves nothing.
"""

import dataclasses
import functools
import itertools
import os
import random
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml

from pushrod.apps import App as OwnApp
from pushrod.apps import Root
from pushrod.engines.embedded.engine import Embedded
from pushrod.gears.nginx import DRAIN_BUDGET, Edge, Switch
from pushrod.pipeline import Pipeline
from pushrod.releases import Releases
from pushrod.values import Release
from tests.integration import apps
from tests.integration.apps import App
from tests.load import RACE, Delivery, Load, Report, delivery

SOURCE = Path(__file__).with_name("steady.py").read_text()
BOOT = 0.5  # seconds the app takes to listen, so that whoever does not wait for it is seen
SHAPES = {"keep": 6, "close": 3, "post": 3, "slow": 1, "upload": 1, "events": 1, "websocket": 1}
QUICK = {"keep", "close", "post"}
GAP = 0.25  # seconds without a success that nobody notices
DISTANCE = 0.02  # seconds from the edge to a client of which the race is measured, and back


def manifest(*, deadline: str = "15s", **environment: str) -> str:
    """The compose file of the app."""
    web = {
        "build": ".",
        "command": "python app.py",
        "ports": ["8000:8000"],
        "stop_grace_period": "10s",
        "environment": {"BOOT": str(BOOT), **environment},
        "x-pushrod": {"health": {"path": "/healthz", "deadline": deadline}},
    }
    return yaml.safe_dump({"services": {"web": web}}, sort_keys=False)


FILES = {"app.py": SOURCE, "compose.yaml": manifest()}


# ---- the load -------------------------------------------------------------------------------------------------


def load(
    app: App,
    rate: float,
    *,
    lasting: float = 2.0,
    shapes: Mapping[str, int] | None = None,
    seconds: float = 600.0,
    distance: float = 0.0,
) -> Load:
    """All shapes at once, unless told otherwise; what lasts takes `lasting` seconds. `seconds` bounds the sending."""
    url = app.url
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
        distance=distance,
    )


@dataclasses.dataclass(frozen=True)
class Row:
    """What came of one step."""

    step: str
    report: Report
    rows: Delivery

    @property
    def clean(self) -> bool:
        """Whether nothing failed, and every acknowledged POST is there exactly once."""
        return self.report.passed and self.rows.exactly_once

    def spared(self, rate: float, lasting: float) -> bool:
        """Whether nothing failed but what no server can repeat when an instance is killed.

        Of what was under way there: answers that had begun, WebSockets, and POSTs, whose client is told so.
        """
        allowed = {
            "events": {"truncated"},
            "websocket": {"cut"},
            "post": {"status 502"},
            "upload": {"status 502"},
        }
        shapes = self.report.shapes.items()
        kinds = all(set(f.failures) <= allowed.get(name, set()) for name, f in shapes)
        few = all(f.failed <= max(1.0, rate * lasting * _part(name)) for name, f in shapes)
        return kinds and few and self.rows.exactly_once

    def count(self, *kinds: str) -> int:
        """How many requests failed in one of these ways."""
        return sum(n for kind, n in self.report.total.failures.items() if kind in kinds)

    @property
    def gap(self) -> float:
        """The longest time without a success, in seconds; 0 where only what lasts was sent, and it says nothing."""
        return self.report.total.gap if QUICK & set(self.report.shapes) else 0.0

    @property
    def refused(self) -> int:
        """How many answers were not 2xx."""
        return sum(n for kind, n in self.report.total.failures.items() if kind.startswith("status "))

    @property
    def reset(self) -> int:
        """How many connections ended without an answer, or a WebSocket's without a Close frame."""
        return self.count("reset", "refused", "unanswered", "cut", RACE)

    def __str__(self) -> str:
        return f"{self.step}: {self.rows}\n{self.report.table()}"


def _part(name: str) -> float:
    return SHAPES[name] / sum(SHAPES.values())


def under_load(
    app: App,
    step: str,
    does: Callable[[App], object],
    rate: float,
    *,
    at_least: float = 0.0,
    **changes: float,
) -> Row:
    """Do something while requests come, for `at_least` seconds."""
    with load(app, rate, **changes) as running:  # type: ignore[arg-type]
        start = time.monotonic()
        # What is under way when it begins is part of it: wait until each shape has been sent.
        time.sleep(max(0.2, sum(SHAPES.values()) / rate))
        does(app)
        time.sleep(max(0.3, at_least - (time.monotonic() - start)))
    return Row(step, running.report, delivery(running.report, app.get("/rows").body.split()))


TITLES = ("step", "requests", "ended early", "failed", "non-2xx", "resets", "truncated", "lost", "doubled")


def table(rows: Sequence[Row]) -> str:
    """The rows for people, and their sum."""
    lines: list[tuple[str, ...]] = [(*TITLES, "longest gap", "p99")]
    for row in rows:
        total = row.report.total
        counts = (total.sent, sum(f.closed for f in row.report.shapes.values()), total.failed, row.refused)
        counts += (row.reset, row.count("truncated"), len(row.rows.lost), len(row.rows.doubled))
        times = (_ms(row.gap), _ms(total.p99)) if row.gap else ("", "")
        lines.append((row.step, *map(str, counts), *times))
    sums = [str(sum(int(line[at]) for line in lines[1:])) for at in range(1, len(TITLES))]
    lines.append(("all", *sums, _ms(max((row.gap for row in rows), default=0.0)), ""))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


# ---- what happens meanwhile -----------------------------------------------------------------------------------


def deploy(app: App) -> None:
    """A change, pushed, is live."""
    version = f"v{random.randrange(10**9)}"
    app.tree.commit({"app.py": SOURCE.replace('VERSION = "one"', f'VERSION = "{version}"')}, version)
    done = app.tree.push()
    assert done.ok, done.err
    app.good = app.tree.head()
    assert app.get().body == version


def fail(app: App, trouble: str) -> None:
    """A push that is rejected, because the app ends before it listens (`crash`) or is never healthy (`sick`)."""
    live = app.live
    app.tree.commit({"compose.yaml": manifest(deadline="2s", TROUBLE=trouble)}, trouble)
    done = app.tree.push()
    app.tree.reset(app.good)
    assert not done.ok
    assert app.live == live


def reload(app: App) -> None:
    """The edge reads its configuration anew, as an administrator would have it."""
    os.kill(int((app.machine.root / "edge" / "run" / "nginx.pid").read_text()), signal.SIGHUP)


def kill(app: App) -> None:
    """One of two instances is killed, and comes back."""
    both = processes(app)
    assert len(both) == 2, "two instances share the requests"
    victim = min(both)
    os.kill(victim, signal.SIGKILL)
    apps.eventually(lambda: len(processes(app) - {victim}) == 2, "the killed instance is back")


def processes(app: App) -> set[int]:
    """The instances that answer."""
    return {int(app.get("/process").body) for _ in range(12)}


STEPS: Mapping[str, Callable[[App], object]] = {
    "deploy": deploy,
    "rollback": lambda app: app.must("rollback"),
    "failed deploy: crashes": functools.partial(fail, trouble="crash"),
    "failed deploy: never healthy": functools.partial(fail, trouble="sick"),
    "scale to 2": lambda app: app.must("scale", "web=2"),
    "restart": lambda app: app.must("restart"),
    "edge reload": reload,
    "scale to 1": lambda app: app.must("scale", "web=1"),
}
KILL = "kill -9 of one instance of two"


# ---- saboteurs ------------------------------------------------------------------------------------------------


class Silent:
    """Progress that nobody watches."""

    def begin(self, step: str, detail: str) -> None: ...

    def end(self, step: str, detail: str, took: float) -> None: ...

    def fail(self, step: str, took: float) -> None: ...

    def line(self, text: str) -> None: ...

    def note(self, text: str) -> None: ...


class _HastyEdge(Edge):
    def drained(self, switch: Switch, budget: float = DRAIN_BUDGET) -> bool:
        return False


class _Hasty(Embedded):
    """Waits for nobody, and kills what it stops."""

    @functools.cached_property
    def edge(self) -> Edge:
        return _HastyEdge(self.parts.nginx, self.root.edge, self.root.runtime / "edge", self.account)

    def stop(self, app: OwnApp, number: int) -> None:
        for instance in Releases(app).read(number).instances:
            self.supervisor.signal(f"{app.name}-r{number}", instance.name, "KILL")
        super().stop(app, number)


class _StopThenStart(Pipeline):
    def _start(self, release: Release) -> None:
        for number in self.engine.running(self.app):
            self.engine.stop(self.app, number)
        super()._start(release)


class _MoveTooSoon(Pipeline):
    def _ready(self, release: Release) -> None:
        self._serve(release)
        super()._ready(release)


def pipeline(app: App, kind: type[Pipeline] = Pipeline, engine: type[Embedded] = Embedded) -> Pipeline:
    """A pipeline in this process, honest unless told otherwise."""
    root = Root(app.machine.root)
    return kind(root.app(app.name), engine(root), Silent())


SABOTAGE: Mapping[str, Callable[[App], object]] = {
    "killed right after the switch": lambda app: pipeline(app, engine=_Hasty).renew(),
    "stopped, then started": lambda app: pipeline(app, _StopThenStart).renew(),
    "switched before it is ready": lambda app: pipeline(app, _MoveTooSoon).renew(),
}


# ---- what HTTP/1.1 leaves -------------------------------------------------------------------------------------


class _OlderEdge(Edge):
    """Configures nginx as one before 1.27.4, which does not know `keepalive_min_timeout`."""

    @functools.cached_property
    def version(self) -> tuple[int, ...]:
        return (1, 26, 0)


def race(app: App, rate: float, reloads: int, *, older: bool) -> Row:
    """Requests on kept connections alone, from a client DISTANCE away, while the edge is reloaded once a second."""
    engine = Embedded(Root(app.machine.root))
    kind = _OlderEdge if older else Edge
    kind(engine.parts.nginx, engine.root.edge, engine.root.runtime / "edge", engine.account).switch({})
    try:
        with load(app, rate, shapes={"keep": 1}, distance=DISTANCE) as running:
            for _ in itertools.repeat(None, reloads):
                reload(app)
                time.sleep(1.0)
    finally:
        engine.edge.switch({})
    name = f"{reloads} reloads, {'without' if older else 'with'} keepalive_min_timeout"
    return Row(name, running.report, delivery(running.report, ()))


def held(app: App, count: int, lasting: float) -> Load:
    """As many WebSockets, opened within a second and held for longer than any drain waits."""
    return load(app, count, lasting=lasting, shapes={"websocket": 1}, seconds=1.0)
