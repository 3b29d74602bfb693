"""The template's files on a real Docker engine, with Compose alone."""

import pytest

from tests.integration.apps import eventually
from tests.lab.stack import Stack

pytestmark = pytest.mark.lab


def test_the_published_port_reads_postgresql_and_then_the_cache(shop: Stack) -> None:
    shop.sql("UPDATE products SET stock = 41 WHERE id = 2")
    first = shop.get("/products/2")
    assert (first.status, first.cache, first.body["stock"]) == (200, "miss", 41)

    shop.sql("UPDATE products SET stock = 42 WHERE id = 2")
    assert shop.get("/products/2") == first._replace(cache="hit")
    assert '"stock":41' in shop.redis("GET", "product:v1:2")

    changed = shop.send("PUT", "/products/2", {"name": "Reading lamp", "price_cents": 7950, "stock": 43})
    assert changed.status == 200
    assert shop.get("/products/2").body["stock"] == 43
    assert shop.sql("SELECT stock FROM products WHERE id = 2") == "43"


def test_the_worker_records_every_view(shop: Stack) -> None:
    before = shop.views(3)
    for _ in range(3):
        assert shop.get("/products/3").status == 200
    eventually(lambda: shop.views(3) == before + 3, "the worker has recorded three views")
    assert int(shop.sql("SELECT count(*) FROM product_views WHERE product_id = 3")) == before + 3


@pytest.mark.parametrize("service", ["backend", "worker"])
def test_the_image_runs_as_an_account_that_cannot_change_its_code(shop: Stack, service: str) -> None:
    look = "import os; print(os.stat('/proc/1').st_uid, os.getuid(), os.access('app/main.py', os.W_OK))"
    runs_as, enters_as, writes = shop.inside(service, "python", "-c", look).split()
    assert runs_as == enters_as != "0"
    assert writes == "False"


def test_what_both_stores_hold_outlives_the_containers(shop: Stack) -> None:
    added = shop.send("POST", "/products", {"name": "Brass hook", "price_cents": 650, "stock": 12})
    assert added.status == 201
    assert shop.get(f"/products/{added.body['id']}").status == 200
    events = shop.redis("XLEN", "product-views")

    shop.compose("down")
    assert shop.compose("ps", "--all", "--quiet") == ""
    shop.up()

    assert shop.redis("XLEN", "product-views") == events != "0"
    assert added.body in shop.get("/products").body


def test_all_of_it_ends_when_it_is_told_to(shop: Stack) -> None:
    shop.compose("stop")
    assert shop.exits() == {"backend": 0, "worker": 0, "postgres": 0, "redis": 0}
