"""The backend that uvicorn serves, from start to stop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request

from app import events, health, problems, users
from app.limits import BodyLimit, Rates
from app.sessions import Sessions
from app.settings import Settings
from app.shop import baskets, orders, products
from app.stores import open_postgres, open_redis
from app.telemetry import Telemetry, configure_logging

MESSAGE = "Hello from {{name}}"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the stores before the first request; close them after the last response."""
    settings = Settings.from_environment()
    configure_logging(settings.log_level)
    async with (
        open_postgres(settings.database_url) as pool,
        open_redis(settings.redis_url) as redis,
        open_redis(settings.cache_url) as cache_redis,
        events.open_hub(redis) as hub,
    ):
        app.state.settings = settings
        app.state.pool = pool
        app.state.redis = redis
        app.state.cache_redis = cache_redis
        cache = products.make_cache(cache_redis, settings)
        app.state.sessions = Sessions(redis, settings.session_seconds)
        app.state.rates = Rates(redis, writes=settings.writes_per_minute, logins=settings.logins_per_minute)
        app.state.users = users.Users(pool, users.Passwords())
        app.state.products = products.Products(pool, cache)
        app.state.orders = orders.Orders(pool, cache, settings.step_seconds)
        app.state.hub = hub
        yield


router = APIRouter(responses=problems.RESPONSES)


@router.get("/api/")
async def root(request: Request) -> dict[str, str | None]:
    """The name of the app, and the release that answers."""
    settings: Settings = request.app.state.settings
    return {
        "app": settings.name,
        "message": MESSAGE,
        "release": settings.release,
        "commit": settings.commit,
    }


# Routes are matched in this order, so the most frequent come first.
PARTS = (router, products.router, baskets.router, orders.router, events.router, users.router, health.router)

app = FastAPI(
    title="{{name}}",
    lifespan=lifespan,
    docs_url="/api/docs",
    openapi_url="/api/openapi.json",
    redoc_url=None,
    # Passed directly: `include_router` matches each request's route twice, which took a tenth of a read.
    routes=[route for part in PARTS for route in part.routes],
)
app.add_middleware(BodyLimit)
app.add_middleware(Telemetry)  # the last one added is the outermost
problems.install(app)
