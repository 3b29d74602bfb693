"""The detection of orders that are wrong."""

import copy
from typing import Any

import pytest

from devtools.shop import STEPS, STOCK, wrong

ORDERED = {"a": 1, "b": 2}
SEEN: dict[str, Any] = {
    "keys": {"a": 1, "b": 2},
    "steps": [[order, status] for status in STEPS for order in (1, 2)],
    "statuses": ["shipped", "shipped"],
    "sold": {"7": 2},
    "stock": {"7": STOCK - 2, "1": 6},
    "outbox": 0,
    "dead": 0,
    "events": {"1": STEPS, "2": [*STEPS[2:], *STEPS[:2]]},
}


def test_correct_orders_give_no_findings() -> None:
    assert wrong(ORDERED, SEEN) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"keys": {"a": 1}}, "orders lost: 1"),
        ({"keys": {"a": 1, "b": 2, "c": 3}}, "invented: 1"),
        ({"keys": {"a": 1, "b": 1}}, "another id"),
        ({"steps": SEEN["steps"][:-1]}, "not each step once"),
        ({"steps": [*SEEN["steps"], [2, "paid"]]}, "not each step once"),
        ({"events": {"1": STEPS, "2": STEPS[:3]}}, "not each event once: 1"),
        ({"events": {"1": STEPS, "2": [*STEPS, "paid"]}}, "not each event once: 1"),
        ({"events": {"1": STEPS}}, "not each event once: 1"),
        ({"statuses": ["shipped", "packed"]}, "statuses"),
        ({"stock": {"7": STOCK - 1}}, "do not add up"),
        ({"sold": {"7": 3}, "stock": {"7": STOCK - 3}}, "do not add up"),
        ({"dead": 1}, "dead letters: 1"),
    ],
    ids=str,
)
def test_every_defect_is_reported(damage: dict[str, Any], message: str) -> None:
    assert message in " ".join(wrong(ORDERED, copy.deepcopy(SEEN) | damage))


def test_two_orders_with_one_id_are_detected() -> None:
    orders = {"a": 1, "b": 1}
    assert "two orders with one id" in wrong(orders, SEEN | {"keys": orders})
