"""The template's files on a real Docker engine, with Compose alone."""

import pytest

from devtools.apps import eventually
from devtools.lab.stack import Stack

pytestmark = [pytest.mark.lab, pytest.mark.long]


def test_the_published_port_serves_from_postgresql_then_from_the_cache(shop: Stack) -> None:
    shop.sql("UPDATE products SET stock = 41 WHERE id = 2")
    first = shop.get("/api/products/2")
    assert (first.status, first.cache, first.body["stock"]) == (200, "miss", 41)

    shop.sql("UPDATE products SET stock = 42 WHERE id = 2")
    assert shop.get("/api/products/2") == first._replace(cache="hit")
    assert '"stock":41' in shop.redis("GET", "product:2", service="cache")

    shop.log_in()
    changed = shop.send("PUT", "/api/products/2", {"name": "Reading lamp", "price_cents": 7950, "stock": 43})
    assert changed.status == 200
    assert shop.get("/api/products/2").body["stock"] == 43
    assert shop.sql("SELECT stock FROM products WHERE id = 2") == "43"


def test_nginx_serves_the_page_and_passes_on_only_the_api(shop: Stack) -> None:
    page = shop.page("/")
    assert "<title>shop</title>" in page
    assert shop.page("/metrics") == page
    look = "stat -c %u /proc/1 && ! echo >/usr/share/nginx/html/index.html"
    assert shop.inside("nginx", "sh", "-c", look).splitlines()[0] != "0"


def test_the_worker_processes_an_order(shop: Stack) -> None:
    shop.log_in()
    order = {"items": [{"product_id": 3, "quantity": 1}]}
    placed = shop.send("POST", "/api/orders", order, **{"Idempotency-Key": "one"})
    assert (placed.status, placed.body["status"]) == (201, "placed")
    path = f"/api/orders/{placed.body['id']}"
    eventually(lambda: shop.get(path).body["status"] == "shipped", "the order is shipped", 60.0)
    assert shop.sql("SELECT count(*) FROM order_steps WHERE order_id = (SELECT max(id) FROM orders)") == "4"


@pytest.mark.parametrize("service", ["backend", "worker"])
def test_the_image_runs_as_an_account_that_cannot_change_its_code(shop: Stack, service: str) -> None:
    look = "import os; print(os.stat('/proc/1').st_uid, os.getuid(), os.access('app/main.py', os.W_OK))"
    runs_as, enters_as, writes = shop.inside(service, "python", "-c", look).split()
    assert runs_as == enters_as != "0"
    assert writes == "False"


def test_the_containers_are_read_only(shop: Stack) -> None:
    with pytest.raises(AssertionError, match="Read-only file system"):
        shop.inside("backend", "sh", "-c", "echo >/tmp/x")


def test_data_in_durable_stores_survives_the_containers(shop: Stack) -> None:
    shop.log_in()
    added = shop.send("POST", "/api/products", {"name": "Brass hook", "price_cents": 650, "stock": 12})
    assert added.status == 201
    shop.redis("SET", "kept", "yes")
    shop.redis("SET", "kept", "no", service="cache")

    shop.compose("down")
    assert shop.compose("ps", "--all", "--quiet") == ""
    shop.up()

    assert shop.redis("GET", "kept") == "yes"
    assert shop.redis("GET", "kept", service="cache") == ""
    assert added.body in shop.get("/api/products").body["items"]


def test_the_redis_stores_have_the_settings_of_their_files(shop: Stack) -> None:
    def policy(service: str) -> str:
        return shop.redis("CONFIG", "GET", "maxmemory-policy", service=service).split()[1]

    assert (policy("redis"), policy("cache")) == ("noeviction", "allkeys-lfu")
    assert shop.redis("CONFIG", "GET", "appendonly").split()[1] == "yes"


def test_all_containers_stop_with_status_0(shop: Stack) -> None:
    shop.compose("stop")
    assert shop.exits() == {"nginx": 0, "backend": 0, "worker": 0, "postgres": 0, "redis": 0, "cache": 0}
