"""The app's own services, as a server runs them, and its release command."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from parts import BACKEND, DEADLINE, Part, free_port
from servers import Postgres, Valkey


def environment(postgres: Postgres, redis: Valkey, cache: Valkey, **more: str) -> dict[str, str]:
    """What a service is told."""
    return {
        "DATABASE_URL": postgres.url("app"),
        "REDIS_URL": redis.url,
        "CACHE_URL": cache.url,
        "PUSHROD_APP": "shop",
        "PUSHROD_RELEASE": "7",
        "PUSHROD_COMMIT": "c0ffee",
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

    def add(self, name: str = "Oak stool", price_cents: int = 8900, stock: int = 3) -> int:
        """The id of a new product."""
        product = {"name": name, "price_cents": price_cents, "stock": stock}
        return int(self.client.post("/api/products", json=product).raise_for_status().json()["id"])

    def put(self, id: int, **changes: Any) -> httpx.Response:
        """Change a product."""
        product = {"name": "Oak stool", "price_cents": 9100, "stock": 2, **changes}
        return self.client.put(f"/api/products/{id}", json=product).raise_for_status()

    def look(self, id: int) -> str:
        """Look at a product; where it was from: hit, miss or stale."""
        return str(self.client.get(f"/api/products/{id}").raise_for_status().headers["X-Cache"])

    def price(self, id: int) -> int:
        """What a product costs, in cents."""
        return int(self.client.get(f"/api/products/{id}").raise_for_status().json()["price_cents"])

    def figure(self, line: str) -> float:
        """A figure of /metrics, by its name and labels; 0 where there is none yet."""
        found = [x for x in self.client.get("/metrics").text.splitlines() if x.startswith(f"{line} ")]
        return float(found[0].rpartition(" ")[2]) if found else 0.0


def alembic(database_url: str, *arguments: str) -> None:
    """Run the release command, or another of alembic's."""
    argv = [sys.executable, "-m", "alembic", *arguments]
    given = {**os.environ, "DATABASE_URL": database_url}
    ended = subprocess.run(argv, cwd=BACKEND, env=given, capture_output=True, text=True, timeout=DEADLINE)
    if ended.returncode:
        raise ChildProcessError(ended.stderr)
