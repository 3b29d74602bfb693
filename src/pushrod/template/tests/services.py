"""The app's own services as a server runs them, and its release command."""

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import psycopg

from app.sessions import Sessions
from app.stores import open_redis
from parts import BACKEND, DEADLINE, Part, free_port
from servers import Postgres, Valkey

PASSWORD = "correct horse battery"


def environment(postgres: Postgres, redis: Valkey, cache: Valkey, **more: str) -> dict[str, str]:
    """The environment of a service."""
    return {
        "DATABASE_URL": postgres.url("app"),
        "REDIS_URL": redis.url,
        "CACHE_URL": cache.url,
        "PUSHROD_APP": "shop",
        "PUSHROD_RELEASE": "7",
        "PUSHROD_COMMIT": "c0ffee",
        "WRITES_PER_MINUTE": "100000",
        "STEP_SECONDS": "0",
        "RETRY_SECONDS": "0.05",
        "LEASE_SECONDS": "2",
        **more,
    }


class Backend(Part):
    """The backend, served by uvicorn, and a client for it."""

    def __init__(self, directory: Path, given: Mapping[str, str]) -> None:
        super().__init__(directory)
        self.port = free_port()
        self.given = dict(given)
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=DEADLINE)

    def argv(self) -> list[str]:
        return [sys.executable, "-m", "uvicorn", "--port", str(self.port), "app.main:app"]

    def environment(self) -> dict[str, str]:
        return self.given

    def is_ready(self) -> bool:
        try:
            return self.client.get("/healthz").is_success
        except httpx.TransportError:
            return False

    @cached_property
    def staff(self) -> "Visitor":
        """A visitor who may change products."""
        return self.user(is_staff=True)

    def user(self, *, is_staff: bool = False) -> "Visitor":
        """A logged-in visitor, without the cost of a password: this user has none."""
        email = f"{secrets.token_hex(8)}@example.com"
        sql = "INSERT INTO users (email, password, is_staff) VALUES (%s, '', %s) RETURNING id"
        with psycopg.connect(self.given["DATABASE_URL"], autocommit=True) as connection:
            [id] = connection.execute(sql, [email, is_staff]).fetchone() or [0]
        return Visitor(self.url, session=asyncio.run(self._log_in(id, email)))

    async def _log_in(self, user_id: int, email: str) -> str:
        async with open_redis(self.given["REDIS_URL"]) as redis:
            _, id = await Sessions(redis, 3600).log_in(None, user_id, email)
        return id

    def add(self, name: str = "Oak stool", price_cents: int = 8900, stock: int = 3) -> int:
        """The id of a new product."""
        product = {"name": name, "price_cents": price_cents, "stock": stock}
        return int(self.staff.post("/api/products", product).raise_for_status().json()["id"])

    def put(self, id: int, **changes: Any) -> httpx.Response:
        """Change a product."""
        product = {"name": "Oak stool", "price_cents": 9100, "stock": 2, **changes}
        return self.staff.put(f"/api/products/{id}", product).raise_for_status()

    def manage(self, *arguments: str) -> str:
        """Run the operators' command; returns its output."""
        return _run("app.manage", *arguments, **self.given)

    def look(self, id: int) -> str:
        """Request a product; returns where it came from: hit, miss or stale."""
        return str(self.client.get(f"/api/products/{id}").raise_for_status().headers["X-Cache"])

    def price(self, id: int) -> int:
        """What a product costs, in cents."""
        return int(self.client.get(f"/api/products/{id}").raise_for_status().json()["price_cents"])

    def figure(self, line: str) -> float:
        """A value from /metrics, by its name and labels; 0 if it does not exist yet."""
        matching = [x for x in self.client.get("/metrics").text.splitlines() if x.startswith(f"{line} ")]
        return float(matching[0].rpartition(" ")[2]) if matching else 0.0


class Worker(Part):
    """The worker."""

    def __init__(self, directory: Path, given: Mapping[str, str], redis: Valkey) -> None:
        super().__init__(directory)
        self.given = dict(given)
        self.redis = redis

    def argv(self) -> list[str]:
        return [sys.executable, "-m", "app.worker"]

    def environment(self) -> dict[str, str]:
        return self.given

    def is_ready(self) -> bool:
        return self.logged("waiting for jobs")


def order(quantities: Mapping[int, int]) -> list[dict[str, int]]:
    """A number of each product, in the API's format."""
    return [{"product_id": id, "quantity": quantity} for id, quantity in quantities.items()]


class Visitor:
    """A browser: it keeps its cookie, and sends the token that its page has read."""

    def __init__(self, url: str, **cookies: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=DEADLINE, cookies=cookies)
        self.refresh()

    @property
    def cookie(self) -> str:
        """The id of its session."""
        return str(self.client.cookies["session"])

    def refresh(self) -> str | None:
        """Who the backend says it is."""
        return self._learn(self.client.get("/api/session").raise_for_status())

    def register(self, email: str = "", password: str = PASSWORD) -> str:
        """Register, which also logs in; returns the address."""
        email = email or f"{secrets.token_hex(8)}@example.com"
        self._learn(self.post("/api/users", {"email": email, "password": password}).raise_for_status())
        return email

    def log_in(self, email: str, password: str = PASSWORD) -> httpx.Response:
        answer = self.post("/api/session", {"email": email, "password": password})
        if answer.is_success:
            self._learn(answer)
        return answer

    def get(self, path: str) -> httpx.Response:
        return self.client.get(path)

    def post(self, path: str, body: object, **headers: str) -> httpx.Response:
        return self.client.post(path, json=body, headers=headers)

    def order(self, quantities: Mapping[int, int], key: str = "") -> httpx.Response:
        """Buy something."""
        key = key or secrets.token_hex(16)
        return self.post("/api/orders", {"items": order(quantities)}, **{"Idempotency-Key": key})

    def put(self, path: str, body: object) -> httpx.Response:
        return self.client.put(path, json=body)

    def delete(self, path: str) -> httpx.Response:
        return self.client.delete(path)

    def _learn(self, answer: httpx.Response) -> str | None:
        who = answer.json()
        self.client.headers["X-CSRF-Token"] = who["csrf"]
        email: str | None = who["email"]
        return email


def alembic(database_url: str, *arguments: str) -> None:
    """Run the release command, or another alembic command."""
    _run("alembic", *arguments, DATABASE_URL=database_url)


def _run(module: str, *arguments: str, **given: str) -> str:
    argv = [sys.executable, "-m", module, *arguments]
    ended = subprocess.run(
        argv, cwd=BACKEND, env=os.environ | given, capture_output=True, text=True, timeout=DEADLINE
    )
    if ended.returncode:
        raise ChildProcessError(ended.stderr)
    return ended.stdout
