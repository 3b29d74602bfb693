import psycopg
import pytest

from servers import Postgres
from services import alembic


def test_app_reads_and_writes_and_no_more(postgres: Postgres) -> None:
    update = "UPDATE products SET stock = stock WHERE id = 1 RETURNING id"
    assert postgres.execute(update, role="app") == [(1,)]
    for sql in ("CREATE TABLE mine ()", "ALTER TABLE products ADD mine int", "DROP TABLE product_views"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            postgres.execute(sql, role="app")


def test_second_run_changes_nothing(postgres: Postgres) -> None:
    before = postgres.execute("SELECT count(*), max(xmin::text) FROM alembic_version")
    alembic(postgres.url("app_owner"), "upgrade", "head")
    assert postgres.execute("SELECT count(*), max(xmin::text) FROM alembic_version") == before


def test_every_migration_goes_back_and_forth(postgres: Postgres) -> None:
    postgres.make_database("other")
    url = postgres.url("app_owner", "other")
    tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1"
    made = [("alembic_version",), ("product_views",), ("products",)]
    alembic(url, "upgrade", "head")
    assert postgres.execute(tables, database="other") == made
    alembic(url, "downgrade", "base")
    assert postgres.execute(tables, database="other") == made[:1]
    alembic(url, "upgrade", "head")
    assert postgres.execute("SELECT count(*) FROM products", database="other") == [(4,)]
