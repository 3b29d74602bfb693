"""What is recorded of each request: an id, a log line, metrics for Prometheus."""

import json
import logging
import re
import secrets
import sys
from time import perf_counter
from typing import Any

import structlog
from prometheus_client import Counter, Histogram
from pydantic_core import PydanticSerializationError, to_json
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import problems

log = structlog.get_logger()

REQUESTS = Counter("http_requests", "Answered requests", ["method", "route", "status"])
SECONDS = Histogram(
    "http_request_seconds",
    "From a request to the end of its answer",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
QUIET = frozenset(("/healthz", "/readyz", "/metrics"))  # requested every few seconds: logged only on failure

_GIVEN_ID = re.compile(rb"[\w.-]{1,64}")


def configure_logging(level: str) -> None:
    """One JSON object per line on standard output, from structlog and from libraries that use `logging`."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
    ]
    exceptions = structlog.processors.format_exc_info
    structlog.configure(
        processors=[*shared, exceptions, structlog.processors.JSONRenderer(serializer=as_json)],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping().get(level.upper(), 20)
        ),
        logger_factory=structlog.BytesLoggerFactory(sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                exceptions,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.access").disabled = True  # logged here instead, with the request's id


def as_json(event: Any, **_: Any) -> bytes:
    """Pydantic's JSON writer, which takes a sixth of the time; it refuses invalid Unicode, which `json` escapes."""
    try:
        return to_json(event, fallback=repr)
    except PydanticSerializationError:
        return json.dumps(event, default=repr).encode()


class Telemetry:
    """Plain ASGI, because Starlette's BaseHTTPMiddleware costs a task and two queues for each request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._figures: dict[tuple[str, str, int], tuple[Any, Any]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = perf_counter()
        request_id = _request_id(scope)
        # The task belongs to this request, and so does its context.
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except Exception:
            log.exception("a request failed", path=scope["path"])
            if status:
                raise  # the client has half a response: uvicorn closes the connection, which tells it so
            await problems.response(500, "this is our mistake; it has been logged")(scope, receive, sending)
        finally:
            self._note(scope, status, perf_counter() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        figures = self._figures.get((method, route, status))
        if figures is None:
            figures = (REQUESTS.labels(method, route, status), SECONDS.labels(method, route))
            self._figures[method, route, status] = figures
        figures[0].inc()
        figures[1].observe(seconds)
        if scope["path"] not in QUIET or status >= 500:
            log.info("request", method=method, path=scope["path"], status=status, ms=round(seconds * 1000, 2))


def _request_id(scope: Scope) -> str:
    """The id from the edge, so that both logs use the same; otherwise a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _GIVEN_ID.fullmatch(value):
            return str(value.decode())
    return secrets.token_hex(16)
