"""The minimum for an answer from PostgreSQL with FastAPI and asyncpg.

A pool with default settings, a handler, the query of the template's product page; no logging, metrics or limits.
Served in the environment of the template's backend.
"""

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
from fastapi import FastAPI

SQL = "SELECT id, name, price_cents, stock, picture FROM products WHERE id > $1 ORDER BY id LIMIT $2"


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The pool, with the template's size."""
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1, max_size=10) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/api/products")  # type: ignore[untyped-decorator]  # FastAPI is there for the template alone
async def page(after: int, limit: int) -> dict[str, Any]:
    """The same answer as the template's product page."""
    rows = await app.state.pool.fetch(SQL, after, limit + 1)
    return {"items": [dict(row) for row in rows[:limit]], "next": str(rows[limit - 1]["id"])}
