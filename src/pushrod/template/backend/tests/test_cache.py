from parts import Keeper, wait_until
from servers import Postgres, Valkey
from services import Backend

PRODUCT = {"name": "Oak stool", "price_cents": 9100, "stock": 2}


def test_second_read_is_a_hit_and_the_same(backend: Backend) -> None:
    id = backend.add()
    first, second = (backend.client.get(f"/products/{id}") for _ in range(2))
    assert [first.headers["X-Cache"], second.headers["X-Cache"]] == ["miss", "hit"]
    assert first.json() == second.json()


def test_cached_product_expires(backend: Backend, valkey: Valkey) -> None:
    id = backend.add()
    backend.look(id)
    assert 0 < valkey.client.ttl(f"product:v1:{id}") <= 60


def test_replacing_drops_it(backend: Backend) -> None:
    id = backend.add(price_cents=8900)
    assert [backend.look(id), backend.look(id)] == ["miss", "hit"]
    backend.client.put(f"/products/{id}", json=PRODUCT)
    answer = backend.client.get(f"/products/{id}")
    assert (answer.headers["X-Cache"], answer.json()["price_cents"]) == ("miss", 9100)


def test_adding_drops_what_an_earlier_row_left(backend: Backend, valkey: Valkey) -> None:
    next_id = backend.add() + 1
    valkey.client.set(f"product:v1:{next_id}", '{"id": 0}')
    assert backend.add() == next_id
    assert backend.client.get(f"/products/{next_id}").json()["id"] == next_id


def test_unknown_product_is_not_cached(backend: Backend, valkey: Valkey) -> None:
    backend.client.get("/products/888888")
    assert not valkey.client.exists("product:v1:888888")


def test_redis_may_go_and_come_back(own: Keeper, postgres: Postgres) -> None:
    valkey = own(Valkey)
    backend = own(Backend, postgres.url("app"), valkey.url)
    id = backend.add()
    assert [backend.look(id), backend.look(id)] == ["miss", "hit"]

    valkey.stop()
    assert [backend.look(id), backend.look(id)] == ["miss", "miss"]
    assert backend.client.put(f"/products/{id}", json=PRODUCT).json()["price_cents"] == 9100
    assert backend.client.get(f"/products/{id}").json()["price_cents"] == 9100
    assert backend.add()
    assert backend.client.get("/healthz").status_code == 200

    valkey.start()
    wait_until(lambda: backend.look(id) == "hit", "the cache used again")
