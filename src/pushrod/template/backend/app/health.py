"""Endpoints for operators: liveness, readiness, metrics."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress

import asyncpg
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from redis.exceptions import RedisError

from app import outbox
from app.problems import Problem
from app.stores import POSTGRES_AWAY

router = APIRouter(include_in_schema=False)

OUTBOX = {
    "due": Gauge("outbox_due", "Events and jobs that are due"),
    "dead": Gauge("outbox_dead", "Jobs that have failed permanently"),
    "late": Gauge("outbox_late_seconds", "How long the oldest waiting event or job has been due"),
}
PATIENCE = 2.0  # seconds for each store


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process is alive, regardless of its stores: restarting it would not help them."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request) -> JSONResponse:
    """200 if the stores that the app needs answer. It can do without the cache."""
    state = request.app.state
    names = ("postgres", "redis", "cache")
    checks = (state.pool.execute("SELECT 1"), state.redis.ping(), state.cache_redis.ping())
    results = dict(zip(names, await asyncio.gather(*map(_answers, checks)), strict=True))
    ready = results["postgres"] == results["redis"] == "ok"
    return JSONResponse(results, 200 if ready else 503, None if ready else {"Retry-After": "1"})


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Metrics for Prometheus, which asks the instance directly; not available through the edge."""
    if "x-forwarded-for" in request.headers:
        raise Problem(404, "Not Found")
    with suppress(*POSTGRES_AWAY):
        for name, value in (await outbox.figures(request.app.state.pool)).items():
            OUTBOX[name].set(value)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _answers(question: Awaitable[object]) -> str:
    try:
        await asyncio.wait_for(question, PATIENCE)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, RedisError, OSError, TimeoutError):
        return "away"
    return "ok"
