"""The measurements. Each row takes the stage and the number of repetitions, and returns its figures."""

import itertools
import sys
import time
from collections.abc import Iterable

from bench import floor
from bench.figures import Figure
from bench.gate import Gate, Turn, timed_switch
from bench.server import Server
from bench.stage import PUSHROD, PYTHON, TIMEOUT, BenchError, Stage
from devtools import fullest
from devtools.apps import edge_port
from devtools.load import Load, Report

RATE = 200.0
PATHS = ("/api/", "/api/products/1")  # one is answered without stores, the other from the cache
OVER_FLOOR = 1.0  # seconds that a push may take beyond its floor
LEAST = 0.95  # of a bare nginx's requests a second, as a target for the edge
MOST = 1.1  # of its 99th percentile
TURNS = 4  # for each start of the two
STOLEN = 0.01  # of the processor time that the machine's host may take from a load
MANY = 100  # apps
OVER_MANY = 2.0  # times the duration of a switch with one app
OVER_FULL = 2.0  # the same, beside one app with everything an app may have
OVER_HAND = 1.5  # seconds that a push to a Docker host may take beyond Docker's own commands


def startup(stage: Stage, times: int) -> list[Figure]:
    """The two most frequent commands, each in turn with an interpreter that does nothing."""
    commands = ([PYTHON, "-c", "pass"], [PUSHROD, "--version"], [PUSHROD, "status"])
    for command in commands:
        stage.run(command)  # Once for the bytecode.
    took: list[list[float]] = [[], [], []]
    for _ in range(times):
        for command, values in zip(commands, took, strict=True):
            values.append(stage.timed(command)[0])
    nothing = Figure("python -c pass", tuple(took[0]))
    return [
        nothing,
        Figure("pushrod --version", tuple(took[1]), target=0.150, reference=nothing),
        Figure("pushrod status", tuple(took[2]), target=0.300, reference=nothing),
    ]


def push_to_live(stage: Stage, times: int) -> list[Figure]:
    """A push of a changed line of code; in turn with its release command and start by hand."""
    floors, pushes = [], []
    for _ in range(times):
        floors.append(floor.measure(stage))
        stage.change()
        pushes.append(stage.push())
    by_hand = Figure("floor: both by hand", tuple(f.total for f in floors))
    return [
        Figure("release command by hand", tuple(f.release for f in floors)),
        Figure("boot to healthy by hand", tuple(f.boot for f in floors)),
        by_hand,
        Figure(
            "git push to its live line",
            tuple(p.live for p in pushes),
            target=by_hand.median + OVER_FLOOR,
            reference=by_hand,
        ),
        Figure("git push to its end", tuple(p.end for p in pushes), reference=by_hand),
    ]


def nothing_changed(stage: Stage, times: int) -> list[Figure]:
    """A deployment and a push of the commit that is already live."""
    deploys, pushes = [], []
    for _ in range(times):
        deploys.append(_expecting(stage, [PUSHROD, "deploy"], "already live"))
        pushes.append(_expecting(stage, ["git", "push", "pushrod", "HEAD:main"], "Everything up-to-date"))
    return [
        Figure("pushrod deploy, already live", tuple(deploys), target=1.0),
        Figure("git push, up to date", tuple(pushes), target=1.0),
    ]


def _expecting(stage: Stage, command: list[str], words: str) -> float:
    took, output = stage.timed(command)
    if words not in output:
        raise BenchError(f"`{' '.join(command)}` did not say “{words}” but: {output.strip()[-400:]}")
    return took


def under_load(stage: Stage, times: int) -> list[Figure]:
    """Pushes while requests come at a constant rate, half on kept connections, half on new ones.

    Each push alternates with the same load for as long without a push: failures and delays there are due to the
    machine or the app.
    """
    pushes, loaded, calm = [], [], []
    for _ in range(times):
        stage.change()
        with _load(stage) as load:
            pushes.append(stage.push())
        loaded.append(_both_seen(load.report))
        with _load(stage) as load:
            time.sleep(pushes[-1].end)
        calm.append(_reported(load.report))
    rate = f"at {RATE:g}/s"
    without = [
        Figure(f"{rate} without a push: failed", _failed(calm), "requests"),
        Figure(f"{rate} without a push: longest gap", tuple(r.total.gap for r in calm)),
        Figure(f"{rate} without a push: p99", tuple(r.total.p99 for r in calm)),
    ]
    return [
        *without,
        Figure(f"{rate}: git push to its live line", tuple(p.live for p in pushes)),
        Figure(f"{rate}: requests", tuple(float(r.total.sent) for r in loaded), "requests"),
        Figure(f"{rate}: failed", _failed(loaded), "requests", target=0, worst=True),
        Figure(f"{rate}: longest gap", tuple(r.total.gap for r in loaded), reference=without[1]),
        Figure(f"{rate}: p99", tuple(r.total.p99 for r in loaded), reference=without[2]),
    ]


def through_the_edge(gate: Gate, times: int) -> list[Figure]:
    """Requests at full speed through the edge, in turn with those through a bare nginx.

    Processor time stolen by this machine's host can halve a load's result, whichever is measured. So only the turns
    with the least stolen time count, and up to twice as many are run until enough of them lost almost none. The
    table also shows how much was stolen in those that count.
    """
    figures = []
    for backend, port in gate.backends.items():
        turns: list[tuple[list[Turn], ...]] = []
        rounds = -(-times // TURNS)
        while len(turns) < rounds or (len(turns) < 2 * rounds and _disturbed(turns, times)):
            with gate.pair(port) as pair:
                turns.append(tuple(_turns(gate, *urls) for urls in zip(pair.bare, pair.edge, strict=True)))
        for protocol, made in zip(("HTTP", "TLS"), map(_chained, zip(*turns, strict=True)), strict=True):
            figures += _compared(f"{protocol}, {backend}", made, times)
    return figures


def _compared(what: str, made: list[Turn], times: int) -> list[Figure]:
    counted = sorted(made, key=lambda turn: turn.stolen)[:times]
    rate = Figure(f"{what}: requests/s, bare", tuple(t.bare.rate for t in counted), "1/s")
    p99 = Figure(f"{what}: p99, bare", tuple(t.bare.p99 for t in counted))
    rates = tuple(t.edge.rate / t.bare.rate for t in counted)
    p99s = tuple(t.edge.p99 / t.bare.p99 for t in counted)
    return [
        Figure(f"{what}: turns made", (float(len(made)),), "times"),
        Figure(
            f"{what}: taken by the host", tuple(t.stolen for t in counted), "x", target=STOLEN, worst=True
        ),
        rate,
        Figure(f"{what}: requests/s, edge", tuple(t.edge.rate for t in counted), "1/s", reference=rate),
        Figure(f"{what}: requests/s, edge to bare", rates, "x", target=LEAST, least=True),
        p99,
        Figure(f"{what}: p99, edge", tuple(t.edge.p99 for t in counted), reference=p99),
        Figure(f"{what}: p99, edge to bare", p99s, "x", target=MOST),
    ]


def _turns(gate: Gate, bare: str, edge: str) -> list[Turn]:
    """Once both are warm, load them alternately, each first every second time."""
    for url in (bare, edge):
        gate.load(url)
    turns = []
    for number in range(TURNS):
        if number % 2:
            second, first = gate.load(edge), gate.load(bare)
            turns.append(Turn(first, second))
        else:
            turns.append(Turn(gate.load(bare), gate.load(edge)))
    return turns


def _disturbed(turns: list[tuple[list[Turn], ...]], times: int) -> bool:
    """Whether too few turns of a protocol had the machine to themselves."""
    return any(
        sum(turn.stolen <= STOLEN for turn in _chained(made)) < times for made in zip(*turns, strict=True)
    )


def _chained(made: Iterable[list[Turn]]) -> list[Turn]:
    return list(itertools.chain.from_iterable(made))


def switch_among_many(gate: Gate, times: int) -> list[Figure]:
    """A switch of one app with many others on the edge, or with one that has everything an app may have, in turn
    with one that is alone."""
    among = gate.edge("many", MANY, edge_port())
    full = fullest.site("full", edge_port(), ("127.0.0.1:9",))
    bounds = gate.edge("bounds", 1, edge_port(), further=(full,))
    took: list[tuple[float, float, float]] = []
    for release in range(2, times + 2):
        took.append(
            (
                timed_switch(*gate.alone, release),
                timed_switch(*among, release),
                timed_switch(*bounds, release),
            )
        )
    one, many, bounded = zip(*took, strict=True)
    alone = Figure("edge switch, 1 app", one)
    return [
        alone,
        Figure(f"edge switch, {MANY} apps", many, target=OVER_MANY * alone.median, reference=alone),
        Figure(
            "edge switch, beside an app at its bounds",
            bounded,
            target=OVER_FULL * alone.median,
            reference=alone,
        ),
    ]


def push_to_server(server: Server, times: int) -> list[Figure]:
    """A push of a changed line of code to a Docker host, in turn with Docker's own commands for the same files
    there."""
    hands, pushes, switches, resident = [], [], [], []
    for _ in range(times):
        hands.append(server.by_hand())
        pushes.append(server.push())
        switches.append(server.switch())
        resident.append(server.resident())
    by_hand = Figure("floor: docker build, compose up --wait", tuple(h.total for h in hands))
    return [
        Figure("docker build by hand, warm", tuple(h.build for h in hands)),
        Figure("docker compose up --wait by hand", tuple(h.up for h in hands)),
        by_hand,
        Figure(
            "git push over SSH to its live line",
            tuple(p.live for p in pushes),
            target=by_hand.median + OVER_HAND,
            reference=by_hand,
        ),
        Figure("git push over SSH to its end", tuple(p.end for p in pushes), reference=by_hand),
        Figure("the switch alone", tuple(switches), target=0.5),
        Figure("processes of pushrod afterwards", tuple(resident), "processes", target=0, worst=True),
    ]


def _load(stage: Stage) -> Load:
    urls = [f"{stage.url}{path}" for path in PATHS]
    return Load(*urls, rate=RATE, shapes={"keep": 1, "close": 1}, seconds=TIMEOUT)


def _failed(reports: list[Report]) -> tuple[float, ...]:
    return tuple(float(r.total.failed) for r in reports)


def _both_seen(report: Report) -> Report:
    """Check that the load saw the switch: otherwise it has measured nothing."""
    if len(report.total.releases) != 2:
        raise BenchError(f"the load did not see two releases:\n{report.table()}")
    return _reported(report)


def _reported(report: Report) -> Report:
    """Report failures, if there are any."""
    if report.total.failed:
        print(report.table(), file=sys.stderr)
    return report
