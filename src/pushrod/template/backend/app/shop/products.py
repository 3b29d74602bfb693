"""Products: their model, their table, and their routes."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from pydantic_core import to_json
from redis.asyncio import Redis

from app.cache import Cache
from app.problems import RESPONSES, Problem
from app.settings import Settings
from app.stores import OptionalRedis, Pool
from app.visitors import Staff

SHAPE = 1  # of a product's JSON in the cache; change it whenever that changes

Id = Annotated[int, Field(ge=1, le=2**63 - 1)]  # bigint
Amount = Annotated[int, Field(ge=0, le=2**31 - 1)]  # integer
Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]  # PostgreSQL has no NUL


class NewProduct(BaseModel):
    """A product as a client sends it. Prices are in whole cents."""

    name: Text
    price_cents: Amount
    stock: Amount
    picture: Text | None = None


class Product(BaseModel):
    """A product as it is stored."""

    id: Id
    name: Text
    price_cents: Amount
    stock: Amount
    picture: Text | None


class Page(BaseModel):
    """A page of products; `next` is the `after` of the next page, or null."""

    items: list[Product]
    next: str | None


def make_cache(redis: Redis, settings: Settings) -> Cache:
    """The cache of products, by id."""
    check = Product.model_validate_json
    return Cache(
        OptionalRedis(redis), "product", SHAPE, check, settings.cache_seconds, settings.stale_seconds
    )


_COLUMNS = "id, name, price_cents, stock, picture"


class Products:
    """The table `products` and the cache beside it."""

    def __init__(self, pool: Pool, cache: Cache) -> None:
        self._pool = pool
        self.cache = cache

    # Rows of the table are valid, so reads turn them into JSON without creating models.

    async def page(self, after: int, limit: int) -> bytes:
        """The JSON of at most `limit` products with ids above `after`, in the order of their ids."""
        sql = f"SELECT {_COLUMNS} FROM products WHERE id > $1 ORDER BY id LIMIT $2"  # noqa: S608  constants
        rows = await self._pool.fetch(sql, after, limit + 1)
        following = str(rows[limit - 1]["id"]) if len(rows) > limit else None
        return to_json({"items": [dict(row) for row in rows[:limit]], "next": following})

    async def load(self, id: int) -> bytes | None:
        """The JSON of a product, or None."""
        sql = f"SELECT {_COLUMNS} FROM products WHERE id = $1"  # noqa: S608  constants
        row = await self._pool.fetchrow(sql, id)
        return to_json(dict(row)) if row else None

    async def add(self, new: NewProduct) -> Product:
        """The added product. Its id is dropped from the cache, where rows that a restored backup lacks may have
        left it."""
        sql = f"""INSERT INTO products (name, price_cents, stock, picture) VALUES ($1, $2, $3, $4)
                  RETURNING {_COLUMNS}"""  # noqa: S608  constants
        row = await self._pool.fetchrow(sql, new.name, new.price_cents, new.stock, new.picture)
        product = Product.model_validate(dict(row or {}))
        await self.cache.drop(product.id)
        return product

    async def replace(self, id: int, new: NewProduct) -> Product | None:
        """The product after the change, or None if there is none with that id."""
        sql = f"""UPDATE products SET name = $2, price_cents = $3, stock = $4, picture = $5 WHERE id = $1
                  RETURNING {_COLUMNS}"""  # noqa: S608  constants
        row = await self._pool.fetchrow(sql, id, new.name, new.price_cents, new.stock, new.picture)
        if row is None:
            return None
        await self.cache.drop(id)
        return Product.model_validate(dict(row))


class NearFirst(APIRoute):
    """Answers from this process's memory before FastAPI parses the request, which took a third of such a read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def near_first(request: Request) -> Response:
            id = request.path_params["product_id"]
            value = _products(request).cache.near(int(id)) if id.isdecimal() else None
            return await handler(request) if value is None else _answer(value, "hit")

        return near_first


def _answer(value: bytes, how: str) -> Response:
    return Response(value, media_type="application/json", headers={"X-Cache": how})


router = APIRouter(prefix="/api/products", tags=["products"], responses=RESPONSES)

After = Annotated[int, Query(ge=0, le=2**63 - 1)]
Limit = Annotated[int, Query(ge=1, le=200)]


def _products(request: Request) -> Products:
    products: Products = request.app.state.products
    return products


@router.get("", response_model=Page)
async def list_products(request: Request, after: After = 0, limit: Limit = 50) -> Response:
    """A page of products."""
    return Response(await _products(request).page(after, limit), media_type="application/json")


@router.post("", status_code=201)
async def add_product(request: Request, _: Staff, new: NewProduct, response: Response) -> Product:
    """Add a product; for staff."""
    product = await _products(request).add(new)
    response.headers["Location"] = f"{request.url.path}/{product.id}"
    return product


async def get_product(request: Request, product_id: Id) -> Response:
    """One product; X-Cache says where it came from: hit, miss or stale."""
    products = _products(request)

    async def load() -> bytes | None:
        return await products.load(product_id)

    value, how = await products.cache.read(product_id, load)
    if value is None:
        raise Problem(404, "there is no such product")
    return _answer(value, how)


router.add_api_route("/{product_id}", get_product, response_model=Product, route_class_override=NearFirst)


@router.put("/{product_id}")
async def replace_product(request: Request, _: Staff, product_id: Id, new: NewProduct) -> Product:
    """Replace a product; for staff."""
    product = await _products(request).replace(product_id, new)
    if product is None:
        raise Problem(404, "there is no such product")
    return product
