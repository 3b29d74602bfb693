from parts import Keeper, wait_until
from servers import Postgres, Valkey
from services import Backend, Worker

STREAM, GROUP = "product-views", "recorders"


def recorded(backend: Backend, id: int, views: int) -> None:
    """Wait until that many views of a product are recorded; more would not do either."""

    def count() -> int:
        return int(backend.client.get(f"/products/{id}/views").json().get("views", 0))

    wait_until(lambda: count() >= views, f"{views} views recorded")
    assert count() == views


def settled(valkey: Valkey) -> None:
    """Wait until every event has been taken, and none is left that was not done with."""

    def open_events() -> list[tuple[int, int]]:
        return [(group["pending"], group["lag"]) for group in valkey.client.xinfo_groups(STREAM)]

    wait_until(lambda: open_events() == [(0, 0)], "the views settled")


def test_views_are_recorded_once(backend: Backend, worker: Worker, valkey: Valkey) -> None:
    id = backend.add()
    for _ in range(3):
        backend.look(id)
    recorded(backend, id, 3)
    settled(valkey)


def test_events_that_come_twice_are_recorded_once(backend: Backend, worker: Worker, valkey: Valkey) -> None:
    id = backend.add()
    backend.look(id)
    recorded(backend, id, 1)
    settled(valkey)
    valkey.client.xgroup_setid(STREAM, GROUP, "0", entries_read=0)
    settled(valkey)
    recorded(backend, id, 1)


def test_stops_cleanly_and_the_next_one_goes_on(
    own: Keeper, backend: Backend, postgres: Postgres, valkey: Valkey
) -> None:
    id = backend.add()
    first = own(Worker, postgres.url("app"), valkey.url)
    backend.look(id)
    recorded(backend, id, 1)
    assert first.stop() == 0
    assert first.says("stopped")

    backend.look(id)
    own(Worker, postgres.url("app"), valkey.url)
    recorded(backend, id, 2)


def test_postgres_is_waited_for(backend: Backend, worker: Worker, postgres: Postgres, valkey: Valkey) -> None:
    id = backend.add()
    backend.look(id)
    recorded(backend, id, 1)
    postgres.stop()
    try:
        backend.look(id)  # from the cache, so PostgreSQL is not missed here
        wait_until(lambda: worker.says("will try again"), "the worker waiting")
    finally:
        postgres.start()
    recorded(backend, id, 2)
    settled(valkey)


def test_what_it_could_not_record_is_left_to_the_next_one(
    own: Keeper, backend: Backend, worker: Worker, postgres: Postgres, valkey: Valkey
) -> None:
    id = backend.add()
    backend.look(id)
    recorded(backend, id, 1)
    postgres.stop()
    try:
        backend.look(id)
        wait_until(lambda: worker.says("will try again"), "the worker waiting")
        assert worker.stop() == 0
    finally:
        postgres.start()
    [left] = valkey.client.xpending_range(STREAM, GROUP, "-", "+", 10)
    long_ago = 60_000  # milliseconds: as if a minute had passed
    valkey.client.xclaim(STREAM, GROUP, "worker", 0, [left["message_id"]], idle=long_ago)
    own(Worker, postgres.url("app"), valkey.url)
    recorded(backend, id, 2)
    settled(valkey)


def test_redis_may_come_back_empty(own: Keeper, postgres: Postgres) -> None:
    valkey = own(Valkey)
    backend = own(Backend, postgres.url("app"), valkey.url)
    worker = own(Worker, postgres.url("app"), valkey.url)
    id = backend.add()
    backend.look(id)
    recorded(backend, id, 1)

    valkey.stop()
    wait_until(lambda: worker.says("will try again"), "the worker waiting")
    valkey.start()
    wait_until(lambda: backend.look(id) == "hit", "the cache used again")
    wait_until(lambda: bool(valkey.client.exists(STREAM)), "views handed over again")
    settled(valkey)
    recorded(backend, id, 1 + valkey.client.xlen(STREAM))


def test_event_that_is_no_view_is_passed_over(backend: Backend, worker: Worker, valkey: Valkey) -> None:
    id = backend.add()
    event = str(valkey.client.xadd(STREAM, {"product_id": "walnut"}))
    valkey.client.xadd(STREAM, {"product_id": 777_777})  # no such product
    backend.look(id)
    recorded(backend, id, 1)
    settled(valkey)
    assert worker.says(f"passed over event {event}")
