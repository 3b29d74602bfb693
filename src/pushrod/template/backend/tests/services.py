"""The app's own services, as a server runs them, and its release command."""

import os
import subprocess
import sys
from pathlib import Path

import httpx

from parts import BACKEND, DEADLINE, Part, free_port


class Backend(Part):
    """The backend, served by uvicorn, and a client for it."""

    def __init__(self, directory: Path, database_url: str, redis_url: str) -> None:
        super().__init__(directory)
        self.port = free_port()
        self.stores = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=DEADLINE)

    def argv(self) -> list[str]:
        return [sys.executable, "-m", "uvicorn", "--port", str(self.port), "app.main:app"]

    def environment(self) -> dict[str, str]:
        return {**self.stores, "PUSHROD_APP": "shop", "PUSHROD_RELEASE": "7", "PUSHROD_COMMIT": "c0ffee"}

    def is_ready(self) -> bool:
        try:
            return self.client.get("/healthz").is_success
        except httpx.TransportError:
            return False

    def add(self, name: str = "Oak stool", price_cents: int = 8900, stock: int = 3) -> int:
        """The id of a new product."""
        product = {"name": name, "price_cents": price_cents, "stock": stock}
        return int(self.client.post("/products", json=product).raise_for_status().json()["id"])

    def look(self, id: int) -> str:
        """Look at a product; whether the cache had it: hit or miss."""
        return str(self.client.get(f"/products/{id}").raise_for_status().headers["X-Cache"])


class Worker(Part):
    """The worker."""

    def __init__(self, directory: Path, database_url: str, redis_url: str) -> None:
        super().__init__(directory)
        self.stores = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}

    def argv(self) -> list[str]:
        return [sys.executable, "-m", "app.worker"]

    def environment(self) -> dict[str, str]:
        return self.stores

    def is_ready(self) -> bool:
        return self.says("waiting for views")


def alembic(database_url: str, *arguments: str) -> None:
    """Run the release command, or another of alembic's."""
    argv = [sys.executable, "-m", "alembic", *arguments]
    environment = {**os.environ, "DATABASE_URL": database_url}
    ended = subprocess.run(
        argv, cwd=BACKEND, env=environment, capture_output=True, text=True, timeout=DEADLINE
    )
    if ended.returncode:
        raise ChildProcessError(ended.stderr)
