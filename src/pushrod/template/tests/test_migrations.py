import psycopg
import pytest

from servers import Postgres
from services import alembic


def test_the_app_role_can_only_read_and_write(postgres: Postgres) -> None:
    update = "UPDATE products SET stock = stock WHERE id = 1 RETURNING id"
    assert postgres.execute(update, role="app") == [(1,)]
    for sql in ("CREATE TABLE mine ()", "ALTER TABLE products ADD mine int", "DROP TABLE products"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            postgres.execute(sql, role="app")


def test_second_run_changes_nothing(postgres: Postgres) -> None:
    before = postgres.execute("SELECT count(*), max(xmin::text) FROM alembic_version")
    alembic(postgres.url("app_owner"), "upgrade", "head")
    assert postgres.execute("SELECT count(*), max(xmin::text) FROM alembic_version") == before


def test_every_migration_can_be_reverted_and_reapplied(postgres: Postgres) -> None:
    postgres.make_database("other")
    url = postgres.url("app_owner", "other")
    tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1"
    made = [
        (name,)
        for name in (
            "alembic_version",
            "daily_sales",
            "fences",
            "order_items",
            "order_steps",
            "orders",
            "outbox",
            "products",
            "users",
        )
    ]
    alembic(url, "upgrade", "head")
    assert postgres.execute(tables, database="other") == made
    alembic(url, "downgrade", "base")
    assert postgres.execute(tables, database="other") == made[:1]
    alembic(url, "upgrade", "head")
    assert postgres.execute("SELECT count(*) FROM products", database="other") == [(7,)]


def test_the_previous_release_works_during_a_two_step_migration(postgres: Postgres) -> None:
    """The previous release wrote and read `price`; the next one uses `price_cents`."""
    postgres.make_database("halfway")
    url = postgres.url("app_owner", "halfway")

    def both(id: int) -> tuple[str, int]:
        [(old, new)] = postgres.execute(
            f"SELECT price::text, price_cents FROM products WHERE id = {id}", "app", "halfway"
        )
        return old, new

    alembic(url, "upgrade", "0001")
    postgres.execute("INSERT INTO products (name, price, stock) VALUES ('x', 12.34, 1)", "app", "halfway")
    alembic(url, "upgrade", "0002")
    assert both(8) == ("12.34", 1234)
    postgres.execute("INSERT INTO products (name, price, stock) VALUES ('y', 99.99, 1)", "app", "halfway")
    assert both(9) == ("99.99", 9999)
    postgres.execute("UPDATE products SET price = 0.05 WHERE id = 8", "app", "halfway")
    assert both(8) == ("0.05", 5)
    postgres.execute("UPDATE products SET price_cents = 777 WHERE id = 8", "app", "halfway")
    assert both(8) == ("7.77", 777)
    postgres.execute("INSERT INTO products (name, price_cents, stock) VALUES ('z', 1, 1)", "app", "halfway")
    assert both(10) == ("0.01", 1)
    alembic(url, "upgrade", "0003")
    cents = "SELECT price_cents FROM products WHERE id >= 8 ORDER BY id"
    assert postgres.execute(cents, "app", "halfway") == [(777,), (9999,), (1,)]
    alembic(url, "downgrade", "0002")
    assert both(8) == ("7.77", 777)
