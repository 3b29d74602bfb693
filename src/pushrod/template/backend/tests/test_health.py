import signal
from concurrent.futures import ThreadPoolExecutor

import psycopg

from parts import Keeper, wait_until
from servers import Postgres, Valkey
from services import Backend

WAITING = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE products%'"


def test_healthy_with_its_stores(backend: Backend) -> None:
    assert backend.client.get("/healthz").json() == {"status": "ok"}


def test_postgres_away_is_said_and_survived(backend: Backend, postgres: Postgres) -> None:
    postgres.stop()
    try:
        for path in ("/healthz", "/products"):
            answer = backend.client.get(path)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert backend.client.get("/").status_code == 200
    finally:
        postgres.start()
    wait_until(lambda: backend.client.get("/healthz").status_code == 200, "healthy again")


def test_restart_of_postgres_fails_no_later_request(backend: Backend, postgres: Postgres) -> None:
    assert backend.client.get("/products").status_code == 200
    postgres.stop()
    postgres.start()
    assert backend.client.get("/products").status_code == 200


def test_request_under_way_is_answered_before_the_end(
    own: Keeper, postgres: Postgres, valkey: Valkey
) -> None:
    backend = own(Backend, postgres.url("app"), valkey.url)
    id = backend.add()
    product = {"name": "Slow", "price_cents": 1, "stock": 1}
    with ThreadPoolExecutor() as threads, psycopg.connect(postgres.url("app")) as holder:
        holder.execute("SELECT 1 FROM products WHERE id = %s FOR UPDATE", [id])
        answer = threads.submit(backend.client.put, f"/products/{id}", json=product)
        wait_until(lambda: bool(postgres.execute(WAITING)), "the request in PostgreSQL")
        backend.send(signal.SIGTERM)
        wait_until(lambda: backend.says("Shutting down"), "the signal noticed")
        holder.rollback()
        assert answer.result().json() == {"id": id, **product}
    assert backend.wait() in (0, -signal.SIGTERM)
