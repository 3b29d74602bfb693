"""What must hold for a shop: nothing is sold twice, and no order is lost or processed twice, whatever is killed."""

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterator

from bench.figures import Figure
from bench.stage import BenchError
from devtools import shop as shops
from devtools.apps import a_machine
from devtools.shop import Killer, OnThisMachine, Shop

BUYERS = 200
PEOPLE, AT_ONCE = 60, 2  # buyers while parts are killed, and how many of them at a time
WAVE = 500  # orders between two lines of progress


@contextlib.contextmanager
def market() -> Iterator[Shop]:
    """The template's shop in a new root; leaving the block removes both."""
    with a_machine("market") as machine:
        yield OnThisMachine(machine)


def killed_parts(shop: Shop, orders: int) -> list[Figure]:
    """Place orders while PostgreSQL, Redis and the worker are killed, one at a time, at random moments.

    Uses a new shop, because an order from elsewhere would count as invented. Reports what is wrong on stderr.
    BenchError if a killed part does not come back.
    """
    crowd = shops.crowd(shop, PEOPLE)
    orders_placed: dict[str, int] = {}
    sent = 0
    started = time.perf_counter()
    with Killer(shop) as killer:
        while len(orders_placed) < orders and killer.trouble is None:
            wave = shops.buy(crowd, min(WAVE, orders - len(orders_placed)), AT_ONCE)
            orders_placed |= wave.orders
            sent += wave.sent
            print(
                f"bench: {len(orders_placed)} orders, killed {_kills_text(killer.kills)}",
                file=sys.stderr,
                flush=True,
            )
    took = time.perf_counter() - started
    if killer.trouble:
        raise BenchError(f"it did not come back: {killer.trouble}")
    problems = shops.wrong(orders_placed, shops.settled(shop))
    for problem in problems:
        print(f"bench: WRONG: {problem}", file=sys.stderr)
    return [
        Figure("orders while parts are killed", (float(len(orders_placed)),), "requests"),
        Figure("… sent for them, until they were acknowledged", (float(sent),), "requests"),
        Figure("… seconds for all", (took,)),
        *(
            Figure(f"… {name} killed", (float(times),), "times")
            for name, times in sorted(killer.kills.items())
        ),
        Figure("… lost, doubled, done twice or invented", (float(len(problems)),), "requests", 0, worst=True),
    ]


def last_item(shop: Shop, times: int) -> list[Figure]:
    """One item, and many who want it at once: one gets it, all others are refused."""
    clean = {201: 1, 409: BUYERS - 1}
    statuses = [shops.last_item(shop, BUYERS) for _ in range(times)]
    return [
        Figure(f"{BUYERS} buyers, 1 item: orders", tuple(float(a.get(201, 0)) for a in statuses), "requests"),
        Figure(
            f"{BUYERS} buyers, 1 item: refusals", tuple(float(a.get(409, 0)) for a in statuses), "requests"
        ),
        Figure("anything else", tuple(float(a != clean) for a in statuses), "times", 0, worst=True),
    ]


def _kills_text(kills: Counter[str]) -> str:
    return ", ".join(f"{name} {times}" for name, times in sorted(kills.items())) or "nothing yet"
