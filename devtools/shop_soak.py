"""Deployments of the shop of `pushrod new` under load and while people buy, a rollback, and kills."""

import functools
import itertools
import threading
import time
from collections.abc import Callable

from devtools import shop as shops
from devtools.apps import eventually
from devtools.load.shapes import MAX_SECONDS
from devtools.shop import BACK, Crowd, Killer, Shop

PARTS = ("backend-1", "worker-1", "postgres", "redis")
PEOPLE = 16  # the app keeps the last thousand events of each, 250 orders, and all are looked at in the end
PAUSE = 0.25  # seconds between two orders: the load is that of reading


def soak(shop: Shop, deployments: int, requests: int, rate: float) -> tuple[dict[str, int], list[str]]:
    """All steps, then the parts killed while people buy; returns the orders, and what was wrong."""
    crowd = shops.crowd(shop, PEOPLE)
    steps: list[tuple[str, Callable[[Shop], None]]] = [
        (f"deployment {number + 1}", push) for number in range(deployments)
    ]
    steps += [("rollback", back), ("kill -9 of one of two backends", kill_one)]
    orders, wrong, sent = dict[str, int](), list[str](), 0
    for step, act in steps:
        if act is kill_one:
            shop.must("scale", "backend=2")
        with shop.load("/api/products/2", rate, MAX_SECONDS) as load:
            orders |= buying(crowd, functools.partial(act, shop), requests / deployments / rate)
        total = load.report.total
        sent += total.sent
        print(f"{step}: {total.failed} of {total.sent} failed, release {shop.live} live", flush=True)
        wrong += [f"{step}: {load.report.table()}"] if total.failed else []
    wrong += [f"only {sent} requests"] if sent < requests else []
    shop.must("scale", "backend=1")
    with Killer(shop, PARTS) as killer:
        while killer.trouble is None and len(killer.kills) < len(PARTS):
            orders |= shops.buy(crowd, orders=40, at_once=2).orders
    print(f"killed with SIGKILL: {dict(killer.kills)}")
    wrong += [str(killer.trouble)] if killer.trouble else []
    return orders, wrong + shops.wrong(orders, shops.settled(shop))


def push(shop: Shop) -> None:
    """Push a commit that changes nothing that is built."""
    shop.tree.commit({"README.md": f"after release {shop.live}\n"}, "change")
    shop.push()


def back(shop: Shop) -> None:
    """Roll back to the release before."""
    shop.must("rollback")


def kill_one(shop: Shop) -> None:
    """Kill one of two backends; returns when it is back."""
    before = shop.pid("backend-1")
    shop.kill(before)
    eventually(lambda: shop.pid("backend-1") not in (0, before), "the backend is back", BACK)


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
