import json
import secrets
import signal
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest

from app.settings import Settings
from app.telemetry import as_json
from parts import Keeper, wait_until
from servers import Postgres, Valkey
from services import Backend, environment

WAITING = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE products%'"


def test_health_and_readiness_are_reported(backend: Backend) -> None:
    assert backend.client.get("/healthz").json() == {"status": "ok"}
    assert backend.client.get("/readyz").json() == {"postgres": "ok", "redis": "ok", "cache": "ok"}


def test_an_unavailable_postgresql_is_reported_and_survived(backend: Backend, postgres: Postgres) -> None:
    postgres.stop()
    try:
        for path in ("/readyz", "/api/products"):
            answer = backend.client.get(path)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        for path in ("/healthz", "/api/"):
            assert backend.client.get(path).status_code == 200
    finally:
        postgres.start()
    wait_until(lambda: backend.client.get("/readyz").status_code == 200, "ready again")


def test_a_hanging_postgresql_does_not_block_requests_for_long(backend: Backend, postgres: Postgres) -> None:
    """Ten have a connection until their statements time out after 5 s; the others wait for one for up to 8 s."""

    def ask(_: int) -> int:
        return httpx.get(f"{backend.url}/api/products", timeout=25).status_code

    with ThreadPoolExecutor(80) as threads, psycopg.connect(postgres.url("app_owner")) as holder:
        holder.execute("LOCK TABLE products")
        assert set(threads.map(ask, range(80))) == {503}


def test_an_unavailable_redis_is_reported_and_survived(
    own: Keeper, postgres: Postgres, cache: Valkey
) -> None:
    valkey = own(Valkey)
    backend = own(Backend, environment(postgres, valkey, cache))
    valkey.stop()
    assert backend.client.get("/readyz").status_code == 503
    assert backend.client.get("/api/products").status_code == 200
    assert backend.look(1) in ("hit", "miss")
    valkey.start()
    wait_until(lambda: backend.client.get("/readyz").status_code == 200, "ready again")


def test_a_request_has_an_id_that_is_logged(backend: Backend) -> None:
    given = secrets.token_hex(16)
    assert (
        backend.client.get("/api/nothing", headers={"X-Request-Id": given}).headers["X-Request-Id"] == given
    )
    made = backend.client.get("/api/products").headers["X-Request-Id"]
    for id, status in ((given, 404), (made, 200)):
        wait_until(lambda id=id: backend.logged(id), "logged")  # type: ignore[misc]
        [line] = [json.loads(x) for x in backend.log.read_text().splitlines() if id in x]
        assert (line["request_id"], line["event"], line["status"]) == (id, "request", status)


@pytest.mark.parametrize("odd", ["\ud800", b"\xff", float("inf"), {("a", "key"): 1}, object()])
def test_any_event_is_logged_as_one_json_line(odd: object) -> None:
    line = as_json({"event": "request", "odd": odd})
    assert json.loads(line)["event"] == "request"
    assert b"\n" not in line


@pytest.mark.parametrize("forged", ["x" * 65, 'a" b', "{}"])
def test_an_invalid_request_id_is_replaced(backend: Backend, forged: str) -> None:
    assert backend.client.get("/api/", headers={"X-Request-Id": forged}).headers["X-Request-Id"] != forged


def test_metrics_count_requests_by_route_and_are_not_public(backend: Backend) -> None:
    line = 'http_requests_total{method="GET",route="/api/products/{product_id}",status="404"}'
    before = backend.figure(line)
    for id in (777_777, 777_778):
        backend.client.get(f"/api/products/{id}")
    assert backend.figure(line) == before + 2
    through_the_edge = backend.client.get("/metrics", headers={"X-Forwarded-For": "192.0.2.1"})
    assert through_the_edge.status_code == 404


@pytest.mark.parametrize("missing", ["DATABASE_URL", "REDIS_URL", "CACHE_URL"])
def test_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "CACHE_URL"):
        monkeypatch.setenv(name, "swordfish")
    monkeypatch.setenv(missing, "")
    with pytest.raises(SystemExit, match=missing) as ended:
        Settings.from_environment()
    assert "swordfish" not in str(ended.value)


def test_after_a_restart_of_postgresql_no_request_fails(backend: Backend, postgres: Postgres) -> None:
    assert backend.client.get("/api/products").status_code == 200
    postgres.stop()
    postgres.start()
    assert backend.client.get("/api/products").status_code == 200


def test_a_request_in_progress_is_answered_before_the_process_ends(
    own: Keeper, postgres: Postgres, valkey: Valkey, cache: Valkey
) -> None:
    backend = own(Backend, environment(postgres, valkey, cache))
    id = backend.add()
    product = {"name": "Slow", "price_cents": 1, "stock": 1, "picture": None}
    with ThreadPoolExecutor() as threads, psycopg.connect(postgres.url("app")) as holder:
        holder.execute("SELECT 1 FROM products WHERE id = %s FOR UPDATE", [id])
        answer = threads.submit(backend.staff.put, f"/api/products/{id}", product)
        wait_until(lambda: bool(postgres.execute(WAITING)), "the request in PostgreSQL")
        backend.send(signal.SIGTERM)
        wait_until(lambda: backend.logged("Shutting down"), "the signal noticed")
        holder.rollback()
        assert answer.result().json() == {"id": id, **product}
    assert backend.wait() in (0, -signal.SIGTERM)
