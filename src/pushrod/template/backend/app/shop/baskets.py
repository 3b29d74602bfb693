"""The basket, which lives in the session."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, BaseModel, Field, ValidationError

from app.problems import RESPONSES
from app.sessions import Session, set_cookie
from app.shop.products import Id
from app.visitors import Visitor, sessions


class Item(BaseModel):
    """A number of one product."""

    product_id: Id
    quantity: Annotated[int, Field(ge=1, le=1000)]


def _each_once(items: list[Item]) -> list[Item]:
    if len({item.product_id for item in items}) < len(items):
        raise ValueError("each product once")
    return items


Items = Annotated[list[Item], Field(max_length=50), AfterValidator(_each_once)]


class Basket(BaseModel):
    """The products a visitor wants to buy."""

    items: Items = []


router = APIRouter(prefix="/api/basket", tags=["basket"], responses=RESPONSES)


@router.get("")
async def get_basket(request: Request, visitor: Visitor) -> Basket:
    """The basket's content."""
    kept = await sessions(request).basket(visitor) if visitor else None
    try:
        return Basket.model_validate_json(kept) if kept else Basket()
    except ValidationError:
        return Basket()  # written by another release, in another format


@router.put("")
async def put_basket(request: Request, response: Response, visitor: Visitor, basket: Basket) -> Basket:
    """Replace the basket's content."""
    session: Session | None = visitor
    if session is None:
        session, id = await sessions(request).begin()
        set_cookie(response, request.url.scheme, id)
    await sessions(request).put_basket(session, basket.model_dump_json().encode())
    return basket
