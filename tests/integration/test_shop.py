"""The template's essential promises, on the embedded engine and through the edge: nothing is sold twice, and no
order is lost or processed twice whatever is killed. `make bench` has the long version."""

from collections.abc import Callable

import pytest

from devtools import shop as shops
from devtools.apps import Machine
from devtools.shop import Killer, OnThisMachine

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def shop(new_machine: Callable[[], Machine]) -> OnThisMachine:
    return OnThisMachine(new_machine())


def test_every_acknowledged_order_is_processed_once_despite_kills(shop: OnThisMachine) -> None:
    crowd = shops.crowd(shop, 10)
    acknowledged: dict[str, int] = {}
    with Killer(shop) as killer:
        while killer.trouble is None and (len(acknowledged) < 300 or len(killer.kills) < len(shops.KILLED)):
            acknowledged |= shops.buy(crowd, orders=50, at_once=4).orders
    assert killer.trouble is None, killer.trouble
    assert shops.wrong(acknowledged, shops.settled(shop)) == []


@pytest.mark.long
def test_the_last_item_is_sold_once_to_200_concurrent_buyers(shop: OnThisMachine) -> None:
    for _ in range(20):
        assert shops.last_item(shop, 200) == {201: 1, 409: 199}
