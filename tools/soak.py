"""Counts dropped requests: runs deployments, kills, restarts and other steps on an app under load.

    python tools/soak.py --deployments 20 --requests 100000 --rate 100
    python tools/soak.py --engine docker --deployments 10 --requests 50000

It makes a new root in /tmp, or a server in a box (`make lab`), and removes it. Exits with 0 if no
request was dropped that must not be, the longest gap was short enough, and each saboteur was caught; else with 1.
"""

import argparse
import itertools
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from devtools import no_drop
from devtools.apps import a_machine
from devtools.lab import images
from devtools.lab.no_drop import a_server
from devtools.load import RACE, delivery
from devtools.no_drop import OnThisMachine, Row, Steady

LASTING = 10.0  # seconds of a slow answer, an upload, a stream and a WebSocket
HELD = 45.0  # seconds of a WebSocket that outlasts every drain
RELOADS = 20

Step = Callable[[Steady], object]


def main() -> int:
    """0 if the promise holds."""
    parser = argparse.ArgumentParser(prog="soak", description="Count dropped requests.")
    parser.add_argument("--engine", choices=["embedded", "docker"], default="embedded")
    parser.add_argument("--deployments", type=int, help="default 20, on Docker 10")
    parser.add_argument(
        "--requests", type=int, help="minimum over all steps together; default 100000, on Docker 50000"
    )
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second")
    options = parser.parse_args()
    run, *usual = (on_a_server, 10, 50_000) if options.engine == "docker" else (on_this_machine, 20, 100_000)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    return run(options.deployments or usual[0], options.requests or usual[1], options.rate)


def on_this_machine(deployments: int, requests: int, rate: float) -> int:
    """On the embedded engine, with the saboteurs and the race, which only this engine allows."""
    with a_machine("soak") as machine:
        app = OnThisMachine(machine)
        rows, wrong = soak(app, deployments, requests, rate)
        controls = []
        for step, does in no_drop.SABOTAGE.items():
            controls.append(no_drop.under_load(app, step, does, rate, lasting=LASTING))
            wrong += [] if report_step(controls[-1], not controls[-1].clean) else [step]
        races = [no_drop.race(app, rate, RELOADS, older=older) for older in (True, False)]
        wrong += [] if report_step(races[1], races[1].clean) else [races[1].step]
        print(f"\nsaboteurs, which must be caught\n{no_drop.table(controls)}")
        report_races(races, rate)
        return conclude(rows, wrong)


def on_a_server(deployments: int, requests: int, rate: float) -> int:
    """On the docker engine, on a server in a box."""
    if problem := images.box_problem():
        print(f"soak: {problem}; prepare it as root: make lab", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="pushrod-soak-") as directory, a_server(Path(directory)) as app:
        status = conclude(*soak(app, deployments, requests, rate))
        if status:
            print(app.box.journal())
        return status


def soak(app: Steady, deployments: int, requests: int, rate: float) -> tuple[list[Row], list[str]]:
    """The results of all steps, and which were wrong."""
    at_least = requests / rate / (2 * deployments)
    rows, wrong = [], []
    for step, does in schedule(deployments):
        row = no_drop.under_load(app, step, does, rate, at_least=at_least, lasting=LASTING)
        rows.append(row)
        wrong += [] if report_step(row, row.clean) else [step]
    rows.append(_held(app))
    wrong += [] if report_step(rows[-1], rows[-1].clean) else [rows[-1].step]
    return rows, wrong


def schedule(deployments: int) -> Iterator[tuple[str, Step]]:
    """A number of deployments, each followed by another step."""
    others = [(name, step) for name, step in no_drop.STEPS.items() if name != "deploy"]
    for number, other in zip(range(deployments), itertools.cycle(others), strict=False):
        yield f"deploy {number + 1}", Steady.deploy
        yield other


def conclude(rows: list[Row], wrong: list[str]) -> int:
    """Print the tables, and return 0 if the promise holds."""
    longest = max(row.gap for row in rows)
    short = longest <= no_drop.GAP
    print(f"\n{no_drop.table(rows)}\n\n{no_drop.table_by_shape(rows)}")
    print(f"\nlongest gap at most {no_drop.GAP * 1000:g} ms: {'met' if short else 'NOT met'}")
    lost, left = sum(len(r.spared) for r in rows), sum(r.report.total.unprocessed for r in rows)
    print(f"lost with a killed instance, proved by its answers or the edge's log: {lost}")
    print(f"HTTP/2, declared unprocessed by the edge, safe to send again: {left}")
    print("WRONG: " + ", ".join(wrong) if wrong else "no request was dropped except with a killed instance")
    return 0 if short and not wrong else 1


def report_races(races: list[Row], rate: float) -> None:
    lost = races[0].report.total.failures.get(RACE, 0)
    distance = no_drop.DISTANCE * 1000
    print(f"\nthe idle-close race, client and edge {distance:g} ms apart\n{no_drop.table(races)}")
    for row in races:
        print(f"\n{row.step}\n{no_drop.table_by_shape([row])}")
    print(f"without keepalive_min_timeout {lost / RELOADS:.1f} requests for each reload at {rate:g}/s")


def _held(app: Steady) -> Row:
    with no_drop.held(app, 20, HELD) as running:
        time.sleep(1.5)
        app.must("restart")
    return Row(f"restart, WebSockets held for {HELD:g} s", running.report, delivery(running.report, ()))


def report_step(row: Row, good: bool) -> bool:
    """Report a step; in full if its result is wrong."""
    total = row.report.total
    verdict = "as expected" if good else "WRONG"
    print(f"soak: {row.step}: {verdict}: {row.failed} of {total.sent} failed", file=sys.stderr, flush=True)
    if not good:
        print(row, file=sys.stderr, flush=True)
    return good


if __name__ == "__main__":
    sys.exit(main())
