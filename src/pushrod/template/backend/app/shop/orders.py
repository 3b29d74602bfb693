"""Orders: placed once for each Idempotency-Key, from the stock, and advanced by jobs."""

import hashlib
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, Field

from app import outbox
from app.cache import Cache
from app.problems import RESPONSES, Problem
from app.shop.baskets import Items
from app.shop.products import Id
from app.stores import Connection, Pool
from app.visitors import User

Status = Literal["placed", "paid", "packed", "shipped"]
STATUSES: tuple[Status, ...] = ("placed", "paid", "packed", "shipped")
ADVANCE = "advance_order"  # the job that advances an order


class NewOrder(BaseModel):
    """The products to order."""

    items: Annotated[Items, Field(min_length=1)]


class Line(BaseModel):
    """A number of one product, at its price when it was ordered."""

    product_id: Id
    quantity: int
    price_cents: int


class Order(BaseModel):
    """An order."""

    id: Id
    status: Status
    total_cents: int
    items: list[Line]
    created_at: datetime


class Page(BaseModel):
    """A page of orders, newest first; `next` is the `after` of the next page, or null."""

    items: list[Order]
    next: str | None


_SELECT = """
    SELECT o.id, o.status, o.created_at, o.fingerprint, sum(i.quantity * i.price_cents)::bigint AS total_cents,
           array_agg(i.product_id ORDER BY i.product_id) AS products,
           array_agg(i.quantity ORDER BY i.product_id) AS quantities,
           array_agg(i.price_cents ORDER BY i.product_id) AS prices
    FROM orders o JOIN order_items i ON i.order_id = o.id
"""


class Orders:
    """The tables `orders`, `order_items` and `order_steps`, and the stock of `products`."""

    def __init__(self, pool: Pool, cache: Cache, step_seconds: float) -> None:
        self._pool = pool
        self._cache = cache
        self._step_seconds = step_seconds

    async def place(self, user_id: int, key: str, new: NewOrder) -> tuple[Order, bool]:
        """The order with that key, and whether this call placed it. Raises Problem 409 or 422.

        READ COMMITTED is enough, because what matters is locked. A second transaction with the same key waits at
        the unique index until the first has ended, and then finds its order or places one. A transaction that
        orders the same product waits for its row, and then sees the remaining stock. Rows are locked in the order
        of their ids, so deadlocks cannot occur.
        """
        fingerprint = hashlib.sha256(new.model_dump_json().encode()).digest()
        async with self._pool.acquire() as connection, connection.transaction():
            sql = """INSERT INTO orders (user_id, idempotency_key, fingerprint) VALUES ($1, $2, $3)
                     ON CONFLICT (user_id, idempotency_key) DO NOTHING RETURNING id"""
            id = await connection.fetchval(sql, user_id, key, fingerprint)
            placed = id is not None
            if placed:
                await self._sell(connection, id, new)
                await self._step(connection, id, user_id, "placed")
            where = f"{_SELECT} WHERE o.user_id = $1 AND o.idempotency_key = $2 GROUP BY o.id"
            row = await connection.fetchrow(where, user_id, key)
        if row is None or row["fingerprint"] != fingerprint:
            raise Problem(422, "this Idempotency-Key has been used for another order")
        if placed:
            await self._cache.drop(*row["products"])
        return _order({**row, "status": "placed"}), placed

    async def _sell(self, connection: Connection, order_id: int, new: NewOrder) -> None:
        ordered = {item.product_id: item.quantity for item in new.items}
        rows = await connection.fetch(
            "SELECT id, price_cents, stock FROM products WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE",
            list(ordered),
        )
        if unknown := sorted(ordered.keys() - {row["id"] for row in rows}):
            raise Problem(422, "there is no such product", products=unknown)
        if short := [
            {"product_id": r["id"], "stock": r["stock"]} for r in rows if r["stock"] < ordered[r["id"]]
        ]:
            raise Problem(409, "not enough in stock", items=short)
        products, quantities = list(ordered), list(ordered.values())
        await connection.execute(
            """UPDATE products SET stock = stock - ordered.quantity
               FROM unnest($1::bigint[], $2::integer[]) AS ordered (id, quantity) WHERE products.id = ordered.id""",
            products,
            quantities,
        )
        prices = {row["id"]: row["price_cents"] for row in rows}
        await connection.execute(
            """INSERT INTO order_items (order_id, product_id, quantity, price_cents)
               SELECT $1, * FROM unnest($2::bigint[], $3::integer[], $4::integer[])""",
            order_id,
            products,
            quantities,
            [prices[id] for id in products],
        )

    async def advance(self, connection: Connection, order_id: int, status: Status) -> None:
        """Set an order's status in the transaction of the job. Raises LookupError if there is no such order."""
        before = STATUSES[STATUSES.index(status) - 1]
        user_id = await connection.fetchval(
            "UPDATE orders SET status = $3 WHERE id = $1 AND status = $2 RETURNING user_id",
            order_id,
            before,
            status,
        )
        if user_id is None:
            raise LookupError(f"no order {order_id} that is {before}")
        await self._step(connection, order_id, user_id, status)

    async def _step(self, connection: Connection, id: int, user_id: int, status: Status) -> None:
        """Record a status, tell the user, and schedule the next step."""
        sql = "INSERT INTO order_steps (order_id, status) VALUES ($1, $2) RETURNING at"
        at: datetime = await connection.fetchval(sql, id, status)
        data = {"order_id": id, "status": status, "at": at.isoformat()}
        await outbox.put(connection, outbox.EVENT, {"user_id": user_id, "event": "order", "data": data})
        if status != STATUSES[-1]:
            following = STATUSES[STATUSES.index(status) + 1]
            await outbox.put(connection, ADVANCE, {"order_id": id, "status": following}, self._step_seconds)

    async def find(self, user_id: int, id: int) -> Order | None:
        """A user's order with that id."""
        where = f"{_SELECT} WHERE o.user_id = $1 AND o.id = $2 GROUP BY o.id"
        row = await self._pool.fetchrow(where, user_id, id)
        return _order(row) if row else None

    async def page(self, user_id: int, before: int, limit: int) -> Page:
        """At most `limit` orders of a user with ids below `before`, newest first."""
        where = f"{_SELECT} WHERE o.user_id = $1 AND o.id < $2 GROUP BY o.id ORDER BY o.id DESC LIMIT $3"
        rows = await self._pool.fetch(where, user_id, before, limit + 1)
        items = [_order(row) for row in rows[:limit]]
        return Page(items=items, next=str(items[-1].id) if len(rows) > limit else None)


def _order(row: Any) -> Order:
    lines = zip(row["products"], row["quantities"], row["prices"], strict=True)
    return Order(
        id=row["id"],
        status=row["status"],
        total_cents=row["total_cents"],
        items=[Line(product_id=id, quantity=quantity, price_cents=price) for id, quantity, price in lines],
        created_at=row["created_at"],
    )


router = APIRouter(prefix="/api/orders", tags=["orders"], responses=RESPONSES)

Key = Annotated[
    str, Header(alias="Idempotency-Key", pattern=r"^[!-~]{1,200}$", description="new for each order")
]
After = Annotated[int, Query(ge=1, le=2**63 - 1)]
Limit = Annotated[int, Query(ge=1, le=100)]


def _orders(request: Request) -> Orders:
    orders: Orders = request.app.state.orders
    return orders


@router.post("", status_code=201)
async def place_order(request: Request, response: Response, user: User, key: Key, new: NewOrder) -> Order:
    """Place an order. Repeated with the same key, it returns the same order."""
    order, placed = await _orders(request).place(user.user_id or 0, key, new)
    response.headers["Location"] = f"{request.url.path}/{order.id}"
    if not placed:
        response.headers["Idempotent-Replayed"] = "true"
    return order


@router.get("")
async def list_orders(request: Request, user: User, after: After = 2**63 - 1, limit: Limit = 20) -> Page:
    """The user's own orders."""
    return await _orders(request).page(user.user_id or 0, after, limit)


@router.get("/{order_id}")
async def get_order(request: Request, user: User, order_id: Id) -> Order:
    """One of the user's own orders."""
    order = await _orders(request).find(user.user_id or 0, order_id)
    if order is None:
        raise Problem(404, "you have no such order")
    return order
