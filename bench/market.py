"""What must hold where people buy: nothing is sold twice, and no order is lost or done twice, whatever dies."""

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterator

from bench.figures import Figure
from bench.stage import BenchError
from devtools import shop as shops
from devtools.apps import a_machine
from devtools.shop import Killer, Shop

BUYERS = 200
PEOPLE, AT_ONCE = 60, 2  # who order while parts are killed, and how many of them at a time
WAVE = 500  # orders between two lines of what has come about


@contextlib.contextmanager
def market() -> Iterator[Shop]:
    """The template's shop on a machine of its own; leaving removes both."""
    with a_machine("market") as machine:
        yield Shop(machine)


def killed_parts(shop: Shop, orders: int) -> list[Figure]:
    """So many orders, while PostgreSQL, Redis and the worker are killed, one at a time, at any moment.

    In a shop of its own, because an order of anybody else counts as invented. What is wrong is said on stderr.
    BenchError where a part that was killed does not come back.
    """
    crowd = shops.crowd(shop, PEOPLE)
    told: dict[str, int] = {}
    sent = 0
    started = time.perf_counter()
    with Killer(shop) as killer:
        while len(told) < orders and killer.trouble is None:
            found = shops.buy(crowd, min(WAVE, orders - len(told)), AT_ONCE)
            told |= found.orders
            sent += found.sent
            print(f"bench: {len(told)} orders, killed {_said(killer.kills)}", file=sys.stderr, flush=True)
    took = time.perf_counter() - started
    if killer.trouble:
        raise BenchError(f"it did not come back: {killer.trouble}")
    problems = shops.wrong(told, shops.settled(shop))
    for problem in problems:
        print(f"bench: WRONG: {problem}", file=sys.stderr)
    return [
        Figure("orders while parts are killed", (float(len(told)),), "requests"),
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
    found = [shops.last_item(shop, BUYERS) for _ in range(times)]
    return [
        Figure(f"{BUYERS} buyers, 1 item: orders", tuple(float(a.get(201, 0)) for a in found), "requests"),
        Figure(f"{BUYERS} buyers, 1 item: refusals", tuple(float(a.get(409, 0)) for a in found), "requests"),
        Figure("anything else", tuple(float(a != clean) for a in found), "times", 0, worst=True),
    ]


def _said(kills: Counter[str]) -> str:
    return ", ".join(f"{name} {times}" for name, times in sorted(kills.items())) or "nothing yet"
