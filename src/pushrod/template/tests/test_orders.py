"""Orders: the last item is sold once, a key is one order, and jobs advance it."""

import secrets
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest

from parts import Keeper, wait_until
from servers import Postgres
from services import Backend, Visitor, Worker, order


@pytest.fixture
def buyer(backend: Backend) -> Visitor:
    return backend.user()


def stock(postgres: Postgres, id: int) -> int:
    return int(postgres.execute(f"SELECT stock FROM products WHERE id = {id}")[0][0])


def test_an_order_reduces_the_stock(backend: Backend, buyer: Visitor, postgres: Postgres) -> None:
    one, two = backend.add(price_cents=100, stock=5), backend.add(price_cents=25, stock=9)
    assert backend.client.get(f"/api/products/{one}").json()["stock"] == 5
    answer = buyer.post("/api/orders", {"items": order({one: 2, two: 4})}, **{"Idempotency-Key": "first"})
    assert answer.status_code == 201
    placed = answer.json()
    assert (placed["status"], placed["total_cents"]) == ("placed", 300)
    assert placed["items"] == [
        {"product_id": one, "quantity": 2, "price_cents": 100},
        {"product_id": two, "quantity": 4, "price_cents": 25},
    ]
    assert (stock(postgres, one), stock(postgres, two)) == (3, 5)
    assert backend.client.get(f"/api/products/{one}").json()["stock"] == 3  # not the cached value from before
    assert buyer.get(answer.headers["Location"]).json() == placed
    assert buyer.get("/api/orders").json() == {"items": [placed], "next": None}


def test_last_item_is_sold_once(backend: Backend, postgres: Postgres) -> None:
    buyers = [backend.user() for _ in range(8)]
    id = backend.add(stock=1)

    def buy(number: int) -> int:
        return buyers[number % 8].order({id: 1}).status_code

    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with ThreadPoolExecutor(200) as threads, psycopg.connect(postgres.url("app")) as holder:
        holder.execute("SELECT 1 FROM products WHERE id = %s FOR UPDATE", [id])
        statuses = threads.map(buy, range(200))
        wait_until(lambda: postgres.execute(waiting)[0][0] > 5, "several want it in one moment")
        holder.rollback()
        assert Counter(statuses) == {201: 1, 409: 199}
    assert stock(postgres, id) == 0
    assert postgres.execute(f"SELECT count(*) FROM order_items WHERE product_id = {id}") == [(1,)]


def test_a_refusal_reports_the_stock_and_changes_nothing(
    backend: Backend, buyer: Visitor, postgres: Postgres
) -> None:
    plenty, few = backend.add(stock=10), backend.add(stock=2)
    answer = buyer.order({plenty: 3, few: 3})
    assert (answer.status_code, answer.json()["items"]) == (409, [{"product_id": few, "stock": 2}])
    assert (stock(postgres, plenty), stock(postgres, few)) == (10, 2)
    assert buyer.get("/api/orders").json()["items"] == []


def test_orders_of_the_same_products_in_any_order_do_not_block_each_other(
    backend: Backend, buyer: Visitor, postgres: Postgres
) -> None:
    one, two = backend.add(stock=1000), backend.add(stock=1000)

    def buy(number: int) -> int:
        quantities = {one: 1, two: 1} if number % 2 else {two: 1, one: 1}
        return buyer.order(quantities).status_code

    with ThreadPoolExecutor(20) as threads:
        assert set(threads.map(buy, range(60))) == {201}
    assert (stock(postgres, one), stock(postgres, two)) == (940, 940)


def test_the_same_key_and_body_give_the_same_order(
    backend: Backend, buyer: Visitor, postgres: Postgres
) -> None:
    id = backend.add(stock=10)
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda _: buyer.order({id: 1}, key="once"), range(10)))
    assert {a.status_code for a in answers} == {201}
    assert len({a.text for a in answers}) == 1
    assert sum("Idempotent-Replayed" in a.headers for a in answers) == 9
    assert stock(postgres, id) == 9


def test_repeated_requests_for_the_last_item_with_one_key_succeed(backend: Backend, buyer: Visitor) -> None:
    id = backend.add(stock=1)
    with ThreadPoolExecutor(10) as threads:
        assert {
            a.status_code for a in threads.map(lambda _: buyer.order({id: 1}, key="last"), range(10))
        } == {201}


def test_same_key_and_another_body_is_refused(backend: Backend, buyer: Visitor, postgres: Postgres) -> None:
    id = backend.add(stock=10)
    assert buyer.order({id: 1}, key="k").status_code == 201
    answer = buyer.order({id: 2}, key="k")
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json")
    assert stock(postgres, id) == 9


def test_a_key_belongs_to_its_user_and_is_reusable_after_a_refusal(backend: Backend, buyer: Visitor) -> None:
    other = backend.user()
    id = backend.add(stock=2)
    assert buyer.order({id: 3}, key="k").status_code == 409
    assert [v.order({id: 1}, key="k").status_code for v in (buyer, other)] == [201, 201]


@pytest.mark.parametrize("key", [None, "", "a b", "x" * 201])
def test_an_invalid_key_is_refused(buyer: Visitor, key: str | None) -> None:
    headers = {} if key is None else {"Idempotency-Key": key}
    assert buyer.post("/api/orders", {"items": order({1: 1})}, **headers).status_code == 422


@pytest.mark.parametrize(
    "items",
    [[], [{"product_id": 1}], order({1: 0}), order({1: 1}) * 2, order({999_999: 1}), "1; DROP TABLE orders"],
)
def test_an_invalid_order_is_refused(buyer: Visitor, items: Any) -> None:
    answer = buyer.post("/api/orders", {"items": items}, **{"Idempotency-Key": secrets.token_hex(8)})
    assert answer.status_code == 422


def test_a_user_sees_only_own_orders(backend: Backend, buyer: Visitor) -> None:
    nobody, other = Visitor(backend.url), backend.user()
    placed = buyer.order({backend.add(): 1}).json()
    path = f"/api/orders/{placed['id']}"
    assert [v.get(path).status_code for v in (buyer, other, nobody)] == [200, 404, 401]
    assert nobody.order({1: 1}).status_code == nobody.get("/api/events").status_code == 401
    assert other.get("/api/orders").json() == {"items": [], "next": None}


def test_orders_are_paginated(backend: Backend, buyer: Visitor) -> None:
    id = backend.add(stock=5)
    placed = [buyer.order({id: 1}).json()["id"] for _ in range(5)]
    listed: list[int] = []
    after = ""
    while True:
        page = buyer.get(f"/api/orders?limit=2{after}").json()
        listed += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert listed == placed[::-1]


def test_jobs_advance_an_order_to_its_end(
    backend: Backend, buyer: Visitor, worker: Worker, postgres: Postgres
) -> None:
    placed = buyer.order({backend.add(): 1}).json()
    path = f"/api/orders/{placed['id']}"
    wait_until(lambda: buyer.get(path).json()["status"] == "shipped", "shipped")
    steps = postgres.execute(f"SELECT status FROM order_steps WHERE order_id = {placed['id']} ORDER BY at")
    assert steps == [("placed",), ("paid",), ("packed",), ("shipped",)]
    wait_until(lambda: postgres.execute("SELECT count(*) FROM outbox") == [(0,)], "nothing is left to do")


def test_an_order_in_progress_is_completed_before_the_process_ends(
    own: Keeper, backend: Backend, postgres: Postgres
) -> None:
    mine = own(Backend, backend.given)
    buyer = mine.user()
    id = backend.add(stock=1)
    with ThreadPoolExecutor() as threads, psycopg.connect(postgres.url("app")) as holder:
        holder.execute("SELECT 1 FROM products WHERE id = %s FOR UPDATE", [id])
        answer = threads.submit(buyer.order, {id: 1})
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%FOR NO KEY UPDATE'"
        wait_until(lambda: bool(postgres.execute(waiting)), "the order in PostgreSQL")
        mine.send(15)
        wait_until(lambda: mine.logged("Shutting down"), "the signal noticed")
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{mine.url}/healthz")
        holder.rollback()
        assert answer.result().status_code == 201
