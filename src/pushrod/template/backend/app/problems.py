"""Errors as application/problem+json (RFC 9457): one format for all of them."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException

from app.stores import POSTGRES_AWAY, REDIS_AWAY

log = structlog.get_logger()


class Details(BaseModel):
    """The body of every error; some have further members."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


class Problem(Exception):
    """Raised by a route that refuses a request; `more` are further members of the body."""

    def __init__(
        self, status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.more = more


RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "What went wrong",
        "content": {"application/problem+json": {"schema": Details.model_json_schema()}},
    }
}


def response(status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> JSONResponse:
    """A problem as a response."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **more,
    }
    return JSONResponse(body, status, dict(headers or {}), media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Make the app return every error in this format."""

    @app.exception_handler(Problem)
    async def problem(_request: Request, error: Problem) -> JSONResponse:
        return response(error.status, error.detail, error.headers, **error.more)

    @app.exception_handler(HTTPException)
    async def http(_request: Request, error: HTTPException) -> JSONResponse:
        return response(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [{"where": list(map(str, e["loc"])), "what": e["msg"]} for e in error.errors()]
        return response(422, "the request is invalid", errors=errors)

    async def away(_request: Request, error: Exception) -> JSONResponse:
        log.warning("a store is unavailable or too slow", error=repr(error))
        return response(503, "a store is unavailable or too slow; try again", {"Retry-After": "1"})

    for kind in (*POSTGRES_AWAY, *REDIS_AWAY, RedisError):
        app.add_exception_handler(kind, away)
