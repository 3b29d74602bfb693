"""Deploys the shop of `pushrod new` over and over, under load and while people buy.

    python tools/soak_shop.py --stack spring --deployments 5 --requests 5000

It makes a new root in /tmp, and removes it. Exits with 0 if no request failed over the deployments and a rollback,
and if every acknowledged order was stored and processed once, whatever was killed with SIGKILL; else with 1.
"""

import argparse
import itertools
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from devtools import java
from devtools import shop as shops
from devtools.apps import a_machine
from devtools.load import Load
from devtools.load.shapes import MAX_SECONDS
from devtools.shop import STACKS, Crowd, Killer, Shop

KILLED = ("backend-1", "worker-1", "postgres", "redis")
PEOPLE = 16  # the app keeps the last thousand events of each, 250 orders, and all are looked at in the end
PAUSE = 0.25  # seconds between two orders: the load is that of reading


def main() -> int:
    """0 if the promise holds."""
    parser = argparse.ArgumentParser(prog="soak-shop", description="Deploy the shop under load.")
    parser.add_argument("--stack", choices=[*STACKS], default="spring")
    parser.add_argument("--deployments", type=int, default=5)
    parser.add_argument("--requests", type=int, default=5000, help="minimum over all deployments together")
    parser.add_argument("--rate", type=float, default=60.0, help="requests a second")
    options = parser.parse_args()
    if options.stack == "spring" and java.lacking():
        print(f"soak: {java.lacking()}", file=sys.stderr)
        return 1
    with a_machine("soak") as machine:
        shop = Shop(machine, options.stack, workers=1)
        crowd = shops.crowd(shop, PEOPLE)
        orders, wrong = deployments(shop, crowd, options.deployments, options.requests, options.rate)
        with Killer(shop, KILLED) as killer:
            while killer.trouble is None and len(killer.kills) < len(KILLED):
                orders |= shops.buy(crowd, orders=40, at_once=2).orders
        print(f"killed with SIGKILL: {dict(killer.kills)}")
        wrong += [str(killer.trouble)] if killer.trouble else []
        wrong += shops.wrong(orders, shops.settled(shop))
    print(
        f"{len(orders)} orders acknowledged; "
        + ("WRONG: " + "; ".join(wrong) if wrong else "each is done once")
    )
    return 1 if wrong else 0


def deployments(
    shop: Shop, crowd: Crowd, count: int, requests: int, rate: float
) -> tuple[dict[str, int], list[str]]:
    """Deploy, then roll back, under load and while people buy; returns the orders, and what was wrong."""
    orders, wrong, sent = dict[str, int](), list[str](), 0
    for number in range(1, count + 2):
        step, act = (
            (f"deployment {number}", lambda: push(shop))
            if number <= count
            else ("rollback", lambda: back(shop))
        )
        with Load(f"{shop.app.url}/api/products/2", rate=rate, seconds=MAX_SECONDS) as load:
            orders |= buying(crowd, act, at_least=requests / count / rate)
        total = load.report.total
        sent += total.sent
        print(f"{step}: {total.failed} of {total.sent} failed, release {shop.app.live} live", flush=True)
        wrong += [f"{step}: {load.report.table()}"] if total.failed else []
    return orders, wrong + ([f"only {sent} requests"] if sent < requests else [])


def push(shop: Shop) -> None:
    """Push a commit that changes nothing that is built."""
    shop.app.tree.commit({"README.md": f"after release {shop.app.live}\n"}, "change")
    shop.push()


def back(shop: Shop) -> None:
    """Roll back to the release before."""
    shop.app.must("rollback")


def buying(crowd: Crowd, act: Callable[[], None], at_least: float) -> dict[str, int]:
    """Act while people buy, for at least so many seconds; returns their orders."""
    orders: dict[str, int] = {}
    over, turn = threading.Event(), itertools.cycle(crowd.people)

    def work() -> None:
        while not over.wait(PAUSE):
            one = crowd._replace(people=[next(turn)])
            orders.update(shops.buy(one, orders=1, at_once=1).orders)

    buyer = threading.Thread(target=work)
    buyer.start()
    began = time.monotonic()
    try:
        act()
        time.sleep(max(0.0, at_least - (time.monotonic() - began)))
    finally:
        over.set()
        buyer.join()
    return orders


if __name__ == "__main__":
    sys.exit(main())
