"""The results: counts, latencies, gaps, and the report that combines them."""

import array
import collections
import dataclasses
import json
import math
from collections.abc import Iterable
from typing import Any

from devtools.columns import columns
from devtools.load.wire import UNPROCESSED


@dataclasses.dataclass(frozen=True)
class Seen:
    """A value of the release header: how often, and from when to when, in seconds from the start."""

    count: int
    first: float
    last: float


@dataclasses.dataclass(frozen=True)
class Figures:
    """The results of the requests of one shape, or of all. Latencies and `gap` are in seconds.

    Requests that are not `ok` are counted by kind in `failures`; a status outside 2xx counts there as `status NNN`.
    `failed` is all of them except `unprocessed`, which the server has declared unprocessed and safe to resend.
    Latencies are those of 2xx answers. `gap` is the longest time without a success, including the time before the
    first and after the last; it began `gap_at` seconds after the start. `closed` counts successful streams and
    WebSockets that the server closed early and in order.
    """

    sent: int
    ok: int
    failed: int
    failures: dict[str, int]
    statuses: dict[str, int]
    p50: float
    p99: float
    max: float
    gap: float
    gap_at: float
    releases: dict[str, Seen]
    closed: int = 0

    @property
    def unprocessed(self) -> int:
        """How many requests the server has declared unprocessed."""
        return self.failures.get(UNPROCESSED, 0)


class Tally:
    """Counts during the run; `figures` summarises them."""

    def __init__(self, start: float) -> None:
        self.start = start
        self.sent = 0
        self.ok = 0
        self.closed = 0
        self.failures: collections.Counter[str] = collections.Counter()
        self.statuses: collections.Counter[str] = collections.Counter()
        self.releases: dict[str, Seen] = {}
        self._latencies = array.array("d")
        self._last = start
        self._gap = (0.0, 0.0)

    def success(self, due: float, now: float, *, timed: bool = True) -> None:
        """Count a complete 2xx answer at `now`; `timed` unless its duration says nothing."""
        self.ok += 1
        if not timed:
            return
        self._latencies.append(now - due)
        self._silence(now)
        self._last = now

    def release(self, value: str, now: float) -> None:
        """Count an answer of this release."""
        at = round(now - self.start, 4)
        old = self.releases.get(value, Seen(0, at, at))
        self.releases[value] = Seen(old.count + 1, old.first, at)

    def _silence(self, until: float) -> None:
        self._gap = max(self._gap, (until - self._last, self._last - self.start), key=lambda g: g[0])

    def figures(self, end: float) -> Figures:
        """The result of a run whose last request was due at `end`."""
        self._silence(max(end, self._last))
        latencies = sorted(self._latencies)
        return Figures(
            sent=self.sent,
            ok=self.ok,
            failed=self.sent - self.ok - self.failures[UNPROCESSED],
            failures=dict(self.failures.most_common()),
            statuses=dict(self.statuses.most_common()),
            p50=percentile(latencies, 0.50),
            p99=percentile(latencies, 0.99),
            max=percentile(latencies, 1.0),
            gap=round(self._gap[0], 6),
            gap_at=round(self._gap[1], 4),
            releases=self.releases,
            closed=self.closed,
        )


def percentile(ordered: list[float], part: float) -> float:
    """The nearest-rank percentile of sorted values; 0 if there are none."""
    return round(ordered[max(0, math.ceil(part * len(ordered)) - 1)], 6) if ordered else 0.0


@dataclasses.dataclass(frozen=True)
class Failure:
    """A failed request, `at` seconds from the start; `instance` and `id` are the answering instance and the edge's
    id of the request, if an answer's head named them."""

    shape: str
    number: int
    at: float
    kind: str
    detail: str
    instance: str = ""
    id: str = ""

    def __str__(self) -> str:
        why = f": {self.detail}" if self.detail else ""
        return f"{self.at:8.3f} s  {self.shape} request {self.number}: {self.kind}{why}"


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of a run.

    `rate` is the rate achieved and `lag` the longest delay of the generator itself, in seconds: if it is large, the
    machine was too busy for meaningful results. `started` is in the machine's monotonic time. `failures` lists the
    first ones. `goaways` counts HTTP/2 connections on which the server accepted nothing more. `acknowledged` are
    the ids of requests that carried one and got a 2xx answer, `unacknowledged` those of the others.
    """

    rate: float
    seconds: float
    started: float
    lag: float
    idle_closed: int
    idle_reset: int
    goaways: int
    shapes: dict[str, Figures]
    protocols: dict[str, Figures]
    total: Figures
    failures: list[Failure]
    acknowledged: list[str]
    unacknowledged: list[str]

    @property
    def passed(self) -> bool:
        """Whether something was sent and nothing failed."""
        return self.total.ok > 0 and self.total.failed == 0

    @property
    def samples(self) -> list[str]:
        """The first failures, for people."""
        return [str(f) for f in self.failures[:20]]

    def json(self) -> str:
        """The whole report, in the format that `load` reads."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def load(cls, text: str) -> "Report":
        """Read back what `json` wrote."""
        raw = json.loads(text)
        for part in ("shapes", "protocols"):
            raw[part] = {name: _figures(f) for name, f in raw[part].items()}
        raw["failures"] = [Failure(**f) for f in raw["failures"]]
        raw["total"] = _figures(raw["total"])
        return cls(**raw)

    def table(self) -> str:
        """The report for people."""
        titles = ("shape", "sent", "ok", "closed", "failed", UNPROCESSED, "p50", "p99", "max", "longest gap")
        rows: list[tuple[str, ...]] = [titles]
        several = self.protocols if len(self.protocols) > 1 else {}
        parts = {**self.shapes, **{f"all {name}": f for name, f in several.items()}, "all": self.total}
        rows += [_row(name, f) for name, f in parts.items()]
        lines = [columns(rows, left=0)]
        lines += [
            f"{name}: {n} x {kind}" for name, f in self.shapes.items() for kind, n in f.failures.items()
        ]
        lines += [
            f"release {value}: {seen.count} answers, {seen.first:.2f} s to {seen.last:.2f} s"
            for value, seen in self.total.releases.items()
        ]
        lines.append(f"{self.rate:.1f}/s for {self.seconds:.1f} s; generator at most {_ms(self.lag)} late")
        idle = f"idle connections closed by the server: {self.idle_closed}, reset: {self.idle_reset}"
        lines.append(f"{idle}; HTTP/2 connections ended by GOAWAY: {self.goaways}")
        return "\n".join([*lines, *self.samples])


def _figures(raw: dict[str, Any]) -> Figures:
    releases = {value: Seen(**seen) for value, seen in raw["releases"].items()}
    return Figures(**{**raw, "releases": releases})


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _row(name: str, f: Figures) -> tuple[str, ...]:
    counts = map(str, (f.sent, f.ok, f.closed, f.failed, f.unprocessed))
    return (name, *counts, _ms(f.p50), _ms(f.p99), _ms(f.max), f"{_ms(f.gap)} at {f.gap_at:.2f} s")


@dataclasses.dataclass(frozen=True)
class Delivery:
    """What became of numbered requests, by the ids that the server has stored.

    `lost`: acknowledged but not stored. `doubled`: stored more than once. `late`: stored but not acknowledged,
    which is allowed once, as the client cannot know. `strange`: stored but never sent.
    """

    lost: list[str]
    doubled: list[str]
    late: list[str]
    strange: list[str]

    @property
    def exactly_once(self) -> bool:
        """Whether everything acknowledged is stored once, and nothing twice."""
        return not (self.lost or self.doubled or self.strange)


def delivery(report: Report, stored: Iterable[str]) -> Delivery:
    """Compare what a run sent with everything the server has stored, from this run and others."""
    count = collections.Counter(stored)
    failed = set(report.unacknowledged)
    sent = failed | set(report.acknowledged)
    runs = {identity.partition("-")[0] for identity in sent}
    ours = [identity for identity in count if identity.partition("-")[0] in runs]
    return Delivery(
        lost=[i for i in report.acknowledged if i not in count],
        doubled=[i for i in ours if count[i] > 1],
        late=[i for i in ours if i in failed],
        strange=[i for i in ours if i not in sent],
    )
