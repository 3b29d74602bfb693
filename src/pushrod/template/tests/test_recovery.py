"""Stores that fail and return while orders are being placed."""

from parts import Keeper, wait_until
from servers import Postgres, Valkey
from services import Backend, Visitor, Worker, environment
from sources import STEPS, listening


def test_a_lost_redis_ends_the_stream_and_the_browser_reconnects(
    own: Keeper, postgres: Postgres, cache: Valkey
) -> None:
    valkey = own(Valkey)
    given = environment(postgres, valkey, cache)
    backend, _worker = own(Backend, given), own(Worker, given, valkey)
    with listening(backend.url, backend.user()) as source:
        valkey.stop()
        assert source.ended.wait(20)
    valkey.start()  # without its sessions
    buyer = backend.user()
    id = backend.add()
    with listening(backend.url, buyer) as source:
        placed = buyer.order({id: 1}).json()["id"]
        wait_until(lambda: source.steps(placed) == STEPS, "told again")


def test_orders_survive_an_empty_redis_and_a_restart_of_postgresql(
    own: Keeper, backend: Backend, postgres: Postgres, cache: Valkey
) -> None:
    valkey = own(Valkey)
    given = backend.given | {"REDIS_URL": valkey.url, "LEASE_SECONDS": "1", "STEP_SECONDS": "0.3"}
    mine, worker = own(Backend, given), own(Worker, given, valkey)
    buyer = Visitor(mine.url)
    email = buyer.register()
    placed = buyer.order({backend.add(): 1}).json()["id"]
    valkey.stop()
    wait_until(lambda: worker.logged("the outbox waits") or worker.logged("jobs wait"), "the worker waiting")
    valkey.start()  # without its sessions, its streams and the jobs in them
    postgres.stop()
    postgres.start()
    again = Visitor(mine.url)
    wait_until(lambda: again.log_in(email).status_code == 200, "logged in again")
    wait_until(lambda: again.get(f"/api/orders/{placed}").json()["status"] == "shipped", "shipped")
    assert postgres.execute(f"SELECT count(*) FROM order_steps WHERE order_id = {placed}") == [(4,)]


def test_an_event_lost_by_redis_is_published_again(
    own: Keeper, backend: Backend, postgres: Postgres, valkey: Valkey
) -> None:
    own(Worker, backend.given | {"LEASE_SECONDS": "6"}, valkey)
    buyer = backend.user()
    with listening(backend.url, buyer) as source:
        placed = buyer.order({backend.add(): 1}).json()["id"]
        wait_until(lambda: source.steps(placed) == STEPS, "told")
    for pattern in ("events:*", "event:*"):
        for key in valkey.client.keys(pattern):
            valkey.client.delete(key)  # as a crash of the machine may, for the last second
    wait_until(lambda: postgres.execute("SELECT count(*) FROM outbox") == [(0,)], "handed on once more")
    with listening(backend.url, buyer, "0-1") as source:
        wait_until(lambda: source.steps(placed) == STEPS, "told again")
