"""Products: what they are, and how PostgreSQL keeps them."""

from typing import Annotated

from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, Field

Id = Annotated[int, Field(ge=1, le=2**63 - 1)]  # bigint
Amount = Annotated[int, Field(ge=0, le=2**31 - 1)]  # integer
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]  # PostgreSQL has no NUL


class NewProduct(BaseModel):
    """A product as a client sends it. Prices are whole cents."""

    name: Name
    price_cents: Amount
    stock: Amount


class Product(BaseModel):
    """A product as it is kept."""

    id: Id
    name: Name
    price_cents: Amount
    stock: Amount


class Products:
    """The table `products`. Every method raises psycopg.OperationalError when PostgreSQL is away."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool

    async def page(self, after: int, limit: int) -> list[Product]:
        """At most `limit` products, in the order of their ids, from the first above `after`."""
        sql = "SELECT id, name, price_cents, stock FROM products WHERE id > %s ORDER BY id LIMIT %s"
        return await self._fetch(sql, after, limit)

    async def find(self, id: int) -> Product | None:
        """The product of that id, or None."""
        return _only(await self._fetch("SELECT id, name, price_cents, stock FROM products WHERE id = %s", id))

    async def add(self, new: NewProduct) -> Product:
        """The product as it was added, with its id."""
        sql = """INSERT INTO products (name, price_cents, stock) VALUES (%s, %s, %s)
                 RETURNING id, name, price_cents, stock"""
        return (await self._fetch(sql, new.name, new.price_cents, new.stock))[0]

    async def replace(self, id: int, new: NewProduct) -> Product | None:
        """The product as it is now, or None when there is none of that id."""
        sql = """UPDATE products SET name = %s, price_cents = %s, stock = %s WHERE id = %s
                 RETURNING id, name, price_cents, stock"""
        return _only(await self._fetch(sql, new.name, new.price_cents, new.stock, id))

    async def _fetch(self, sql: str, *values: str | int) -> list[Product]:
        async with self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=class_row(Product))
            return await (await cursor.execute(sql, values)).fetchall()


def _only(products: list[Product]) -> Product | None:
    return products[0] if products else None
