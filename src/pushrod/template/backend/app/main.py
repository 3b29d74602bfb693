"""The backend: what uvicorn serves, from its first connection to its last."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from app.api import Shop, router
from app.cache import ProductCache
from app.products import Products
from app.settings import Settings
from app.stores import OptionalRedis, open_postgres, open_redis
from app.views import ViewRecord, ViewSender

MESSAGE = "Hello from {{name}}"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the stores before the first request, close them after the last one has been answered."""
    settings = Settings.from_environment()
    async with open_postgres(settings.database_url) as pool, open_redis(settings.redis_url) as client:
        redis = OptionalRedis(client)
        app.state.settings = settings
        app.state.pool = pool
        app.state.shop = Shop(
            products=Products(pool),
            cache=ProductCache(redis, settings.cache_seconds),
            sender=ViewSender(redis),
            record=ViewRecord(pool),
        )
        yield


app = FastAPI(title="{{name}}", lifespan=lifespan)
app.include_router(router)


@app.get("/")
async def root(request: Request) -> dict[str, str | None]:
    """Which app this is, and which release of it answers."""
    settings: Settings = request.app.state.settings
    return {
        "app": settings.name,
        "message": MESSAGE,
        "release": settings.release,
        "commit": settings.commit,
    }


@app.get("/healthz")
async def healthz(request: Request) -> dict[str, str]:
    """200 when requests can be served. That takes PostgreSQL; it does not take Redis."""
    async with request.app.state.pool.connection():  # which is tested as it is taken
        return {"status": "ok"}


@app.exception_handler(psycopg.OperationalError)
async def postgres_away(_request: Request, _error: Exception) -> JSONResponse:
    """PostgreSQL is away or too slow: not the client's fault, and worth another try."""
    return JSONResponse({"detail": "the database is away"}, status_code=503, headers={"Retry-After": "1"})
