"""Is any request dropped? Deployments and all else that happens to an app, under load, for as long as it takes.

    python tools/soak.py --deployments 20 --requests 100000 --rate 100

It makes a root of its own in /tmp, and removes it. Ends with 0 when no request was dropped where none may be, and
each saboteur was caught; with 1 otherwise.
"""

import argparse
import itertools
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.integration import no_drop
from tests.integration.apps import App, Machine
from tests.integration.no_drop import Row
from tests.load import RACE, delivery

LASTING = 10.0  # seconds of a slow answer, an upload, a stream and a WebSocket
HELD = 45.0  # seconds of a WebSocket that no drain waits for
RELOADS = 20

Step = Callable[[App], object]


def main() -> int:
    """0 when the promise holds."""
    parser = argparse.ArgumentParser(prog="soak", description="Is any request dropped?")
    parser.add_argument("--deployments", type=int, default=20)
    parser.add_argument("--requests", type=int, default=100_000, help="at least so many, all steps together")
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    directory = Path(tempfile.mkdtemp(prefix="pushrod-soak-", dir="/tmp"))
    directory.chmod(0o755)
    machine = Machine(directory)
    try:
        app = machine.app("steady", no_drop.FILES)
        return soak(app, options.deployments, options.requests, options.rate)
    finally:
        problems = machine.close()
        shutil.rmtree(directory, ignore_errors=True)
        print("\n".join(problems), file=sys.stderr, end="")


def soak(app: App, deployments: int, requests: int, rate: float) -> int:
    """Run all of it and print the tables."""
    at_least = requests / rate / (2 * deployments)
    rows, wrong = [], []
    for step, does in schedule(deployments):
        row = no_drop.under_load(app, step, does, rate, at_least=at_least, lasting=LASTING)
        good = row.spared(rate, LASTING) if step == no_drop.KILL else row.clean
        rows.append(row)
        wrong += [] if tell(row, good) else [step]
    row = _held(app)
    rows.append(row)
    wrong += [] if tell(row, row.clean) else [row.step]
    controls = []
    for step, does in no_drop.SABOTAGE.items():
        controls.append(no_drop.under_load(app, step, does, rate, lasting=LASTING))
        wrong += [] if tell(controls[-1], not controls[-1].clean) else [step]
    races = [no_drop.race(app, rate, RELOADS, older=older) for older in (True, False)]
    wrong += [] if tell(races[1], races[1].clean) else [races[1].step]

    longest = max(row.gap for row in rows)
    met = "met" if longest <= no_drop.GAP else "NOT met"
    print(f"\n{no_drop.table(rows)}\nlongest gap at most {no_drop.GAP * 1000:g} ms: {met}")
    print(f"\nsaboteurs, who must be caught\n{no_drop.table(controls)}")
    lost = races[0].count(RACE)
    print(
        f"\nthe idle-close race, client and edge {no_drop.DISTANCE * 1000:g} ms apart\n{no_drop.table(races)}"
    )
    print(f"without keepalive_min_timeout {lost / RELOADS:.1f} requests for each reload at {rate:g}/s")
    print("\nWRONG: " + ", ".join(wrong) if wrong else "\nno request was dropped but with a killed instance")
    return 1 if wrong else 0


def schedule(deployments: int) -> Iterator[tuple[str, Step]]:
    """So many deployments, and after each of them something else."""
    steps = dict(no_drop.STEPS)
    deploy = steps.pop("deploy")
    others: list[tuple[str, Step]] = list(steps.items())
    at = [name for name, _ in others].index("scale to 2") + 1
    others.insert(at, (no_drop.KILL, no_drop.kill))
    for number, other in zip(range(deployments), itertools.cycle(others), strict=False):
        yield f"deploy {number + 1}", deploy
        yield other


def _held(app: App) -> Row:
    with no_drop.held(app, 20, HELD) as running:
        time.sleep(1.5)
        app.must("restart")
    return Row(f"restart, WebSockets held for {HELD:g} s", running.report, delivery(running.report, ()))


def tell(row: Row, good: bool) -> bool:
    """Say how a step went, all of it where it went wrong."""
    total = row.report.total
    verdict = "as it should" if good else "WRONG"
    print(f"soak: {row.step}: {verdict}: {total.failed} of {total.sent} failed", file=sys.stderr, flush=True)
    if not good:
        print(row, file=sys.stderr, flush=True)
    return good


if __name__ == "__main__":
    sys.exit(main())
