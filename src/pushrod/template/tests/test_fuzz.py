"""Requests to every route, generated from the API's own description: none may cause a 500."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from parts import Keeper
from servers import Postgres, Valkey
from services import Backend, alembic, environment

CHECKS = "not_a_server_error,content_type_conformance,response_schema_conformance"
SCHEMATHESIS = str(Path(sys.executable).with_name("schemathesis"))


WHO = "--{}-path-regex=^/api/(users|sessions?)$"


def fuzz(place: Path, url: str, *arguments: str) -> None:
    argv = [SCHEMATHESIS, "run", f"{url}/api/openapi.json", f"--checks={CHECKS}", "--phases=coverage,fuzzing"]
    argv += [
        "--max-examples=5",
        "--seed=1",
        "--generation-database=none",
        "--request-timeout=10",
        *arguments,
    ]
    ended = subprocess.run(argv, cwd=place, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout[-5000:]


@pytest.fixture(scope="module")
def backend(directory: Path, postgres: Postgres, valkey: Valkey, cache: Valkey) -> Iterator[Backend]:
    """A backend with its own database, because these tests change everything in it."""
    postgres.make_database("fuzzed")
    alembic(postgres.url("app_owner", "fuzzed"), "upgrade", "head")
    cache.client.flushdb()
    given = environment(postgres, valkey, cache) | {"DATABASE_URL": postgres.url("app", "fuzzed")}
    with Keeper(directory) as keep:
        yield keep(Backend, given)
    cache.client.flushdb()


def test_generated_requests_of_staff_cause_no_server_error(backend: Backend, tmp_path: Path) -> None:
    """Without requests that would end or change their session, and without the stream, which never ends."""
    token = backend.staff.client.headers["X-CSRF-Token"]
    session = [f"--header=Cookie: session={backend.staff.cookie}", f"--header=X-CSRF-Token: {token}"]
    fuzz(tmp_path, backend.url, *session, WHO.format("exclude"), "--exclude-path=/api/events")
    assert not backend.logged("a request failed")
    for reached in (  # requests that got past all checks
        'method="POST",route="/api/products",status="201"',
        'method="PUT",route="/api/products/{product_id}",status="422"',
        'method="PUT",route="/api/basket",status="200"',
        'method="GET",route="/api/products/{product_id}",status="404"',
        'method="POST",route="/api/orders",status="422"',
        'method="GET",route="/api/orders/{order_id}",status="404"',
    ):
        assert backend.figure(f"http_requests_total{{{reached}}}"), reached


def test_generated_requests_of_visitors_cause_no_server_error(backend: Backend, tmp_path: Path) -> None:
    fuzz(tmp_path, backend.url, WHO.format("include"))
    assert not backend.logged("a request failed")
