"""Is an order lost, or done twice? Thousands of orders while workers, PostgreSQL and Redis are killed, one at a time.

    python tools/chaos.py --orders 10000

It makes a root of its own in /tmp with the template's shop, and removes it. Ends with 0 when every acknowledged order
exists once and everything has happened to it once, and no other order exists; with 1 otherwise.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.integration import shop as shops
from tests.integration.apps import Machine
from tests.integration.shop import Killer, Shop

WAVE = 500  # orders between two lines of what has come about


def main() -> int:
    """0 when the promise holds."""
    parser = argparse.ArgumentParser(prog="chaos", description="Is an order lost, or done twice?")
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--people", type=int, default=60)
    parser.add_argument("--at-once", type=int, default=6)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    directory = Path(tempfile.mkdtemp(prefix="pushrod-chaos-", dir="/tmp"))
    directory.chmod(0o755)
    machine = Machine(directory)
    try:
        return run(Shop(machine), options.orders, options.people, options.at_once)
    finally:
        problems = machine.close()
        shutil.rmtree(directory, ignore_errors=True)
        print("\n".join(problems), file=sys.stderr, end="")


def run(shop: Shop, orders: int, people: int, at_once: int) -> int:
    """Buy, kill, wait until nothing is left to do, and look."""
    crowd = shops.crowd(shop, people)
    told: dict[str, int] = {}
    sent = 0
    started = time.monotonic()
    with Killer(shop) as killer:
        while len(told) < orders and killer.trouble is None:
            found = shops.buy(crowd, min(WAVE, orders - len(told)), at_once)
            told |= found.orders
            sent += found.sent
            so_far = f"{len(told)} orders acknowledged, {sent} sent, {_said(killer.kills)}"
            print(f"{time.monotonic() - started:6.0f} s  {so_far}", flush=True)
    took = time.monotonic() - started
    problems = shops.wrong(told, shops.settled(shop))
    problems += [f"it did not come back: {killer.trouble}"] if killer.trouble else []
    print(
        f"{len(told)} orders acknowledged in {took:.0f} s, for which {sent} requests were sent; {_said(killer.kills)}"
    )
    print(
        "\n".join(f"WRONG: {p}" for p in problems)
        or "each of them exists once, was done once, was told once; no other"
    )
    return 1 if problems else 0


def _said(kills: Counter[str]) -> str:
    return "killed: " + (", ".join(f"{name} {times}" for name, times in sorted(kills.items())) or "none")


if __name__ == "__main__":
    sys.exit(main())
