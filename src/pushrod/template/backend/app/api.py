"""The HTTP side of the shop: routes, and nothing but routes."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from pydantic import BaseModel

from app.cache import ProductCache
from app.products import Id, NewProduct, Product, Products
from app.views import ViewRecord, ViewSender

router = APIRouter(prefix="/products", tags=["products"])


@dataclass(frozen=True)
class Shop:
    """What the routes work with."""

    products: Products
    cache: ProductCache
    sender: ViewSender
    record: ViewRecord


async def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop


Parts = Annotated[Shop, Depends(_shop)]
After = Annotated[int, Query(ge=0, le=2**63 - 1)]
Limit = Annotated[int, Query(ge=1, le=200)]


class Views(BaseModel):
    """How often a product was looked at."""

    views: int


@router.get("")
async def list_products(shop: Parts, after: After = 0, limit: Limit = 50) -> list[Product]:
    """A page of products; the next one is `?after=` the last id."""
    return await shop.products.page(after, limit)


@router.post("", status_code=201)
async def add_product(shop: Parts, new: NewProduct, response: Response) -> Product:
    """Add a product. An id may have been used before: by rows that a restored backup does not have."""
    product = await shop.products.add(new)
    await shop.cache.drop(product.id)
    response.headers["Location"] = f"/products/{product.id}"
    return product


@router.get("/{product_id}", response_model=Product)
async def get_product(shop: Parts, product_id: Id) -> Response:
    """One product, from Redis if it is there; X-Cache says which: hit or miss."""
    text = await shop.cache.get(product_id)
    cached = text is not None
    if text is None:
        text = _found(await shop.products.find(product_id)).model_dump_json()
        await shop.cache.put(product_id, text)
    await shop.sender.send(product_id)
    return Response(text, media_type="application/json", headers={"X-Cache": "hit" if cached else "miss"})


@router.put("/{product_id}")
async def replace_product(shop: Parts, product_id: Id, new: NewProduct) -> Product:
    """Replace a product, and drop it from the cache once PostgreSQL has it."""
    product = _found(await shop.products.replace(product_id, new))
    await shop.cache.drop(product_id)
    return product


@router.get("/{product_id}/views")
async def count_views(shop: Parts, product_id: Id) -> Views:
    """How often the worker has recorded a view of a product."""
    return Views(views=await shop.record.count(product_id))


def _found(product: Product | None) -> Product:
    if product is None:
        raise HTTPException(404, "there is no such product")
    return product
