"""Outbox, worker, dead letters, the nightly job and its fencing token."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import date
from typing import Any

import psycopg
import pytest

from app import outbox
from app.jobs import GROUP, QUEUE, Jobs
from app.locks import Locks, SupersededError
from app.outbox import Relay
from app.settings import Settings
from app.shop.sales import Sales
from app.stores import Pool, open_postgres, open_redis
from parts import BACKEND, DEADLINE, Keeper, wait_until
from servers import Postgres, Valkey
from services import Backend, Visitor, Worker

DAY = date(2024, 2, 29)


@pytest.fixture
def buyer(backend: Backend) -> Visitor:
    return backend.user()


@pytest.fixture(autouse=True)
def nothing_left(postgres: Postgres) -> None:
    postgres.execute("TRUNCATE outbox, fences, daily_sales")


@pytest.fixture
def empty(own: Keeper) -> Valkey:
    """A Redis without the jobs of earlier tests, whose workers may have been killed."""
    return own(Valkey)


def settings(backend: Backend, **more: Any) -> Settings:
    given = {name.lower(): value for name, value in backend.given.items()}
    return Settings(**{**given, **more})


def put(postgres: Postgres, topic: str, **payload: object) -> int:
    """Insert a due row into the outbox."""
    values = f"('{topic}', '{json.dumps(payload)}', now())"
    sql = f"INSERT INTO outbox (topic, payload, due_at) VALUES {values} RETURNING id"
    return int(postgres.execute(sql)[0][0])


def rows(postgres: Postgres, columns: str = "count(*)") -> list[tuple[Any, ...]]:
    return postgres.execute(f"SELECT {columns} FROM outbox")


def with_relay(
    backend: Backend, scenario: Callable[[Pool, Relay, list[int]], Awaitable[None]], **more: Any
) -> None:
    """Run a scenario with a relay that records the ids it sends."""

    async def run() -> None:
        handed: list[int] = []

        async def note(id: int, _payload: dict[str, Any]) -> None:
            handed.append(id)

        async with open_postgres(backend.given["DATABASE_URL"]) as pool:
            await scenario(pool, Relay(pool, note, {"job": note}, settings(backend, **more)), handed)

    asyncio.run(run())


# ---- the outbox -------------------------------------------------------------------------------------------------


def test_an_uncommitted_entry_is_not_sent(backend: Backend, postgres: Postgres) -> None:
    async def scenario(pool: Pool, relay: Relay, handed: list[int]) -> None:
        with pytest.raises(RuntimeError):
            async with pool.acquire() as connection, connection.transaction():
                await outbox.put(connection, outbox.EVENT, {})
                assert await relay.round() == 0
                raise RuntimeError
        assert await relay.round() == 0
        assert handed == []

    with_relay(backend, scenario)


def test_a_kill_between_sending_and_commit_loses_nothing(backend: Backend, postgres: Postgres) -> None:
    ids = [put(postgres, topic) for topic in ("event", "job")]

    async def scenario(pool: Pool, relay: Relay, handed: list[int]) -> None:
        async def killed(id: int, payload: dict[str, Any]) -> None:
            handed.append(id)
            if id == ids[1]:
                raise ConnectionResetError

        dying = Relay(pool, killed, {"job": killed}, settings(backend))
        with pytest.raises(ConnectionResetError):
            await dying.round()
        assert rows(postgres) == [(2,)]
        assert await relay.round() == 2
        assert handed == ids * 2

    with_relay(backend, scenario)


def test_an_event_is_sent_twice_and_a_job_until_it_is_done(backend: Backend, postgres: Postgres) -> None:
    event, job = put(postgres, "event"), put(postgres, "job")

    async def scenario(pool: Pool, relay: Relay, handed: list[int]) -> None:
        for tries in (1, 2):
            assert await relay.round() == 2
            assert await relay.round() == 0
            assert handed == [event, job] * tries
            await asyncio.sleep(0.3)  # longer than the lease
        assert rows(postgres, "id, tries") == [(job, 2)]

    with_relay(backend, scenario, lease_seconds=0.2)


def test_a_job_unknown_to_this_release_is_left_to_another(backend: Backend, postgres: Postgres) -> None:
    put(postgres, "job_of_a_newer_release")

    async def scenario(pool: Pool, relay: Relay, handed: list[int]) -> None:
        assert await relay.round() == 0

    with_relay(backend, scenario)
    assert rows(postgres, "tries, dead_at") == [(0, None)]


def test_the_retry_delay_doubles_up_to_a_dead_letter(backend: Backend, postgres: Postgres) -> None:
    id = put(postgres, "job")

    async def scenario(pool: Pool, relay: Relay, handed: list[int]) -> None:
        mine = settings(backend, max_tries=3, retry_seconds=10)
        relay = Relay(pool, lambda *_: None, {"job": relay._senders["job"]}, mine)  # type: ignore[arg-type]
        for pause in (10, 20, 40):
            assert await relay.round() == 1
            await outbox.failed(pool, id, "no luck", mine)
            [(due,)] = rows(postgres, "round(extract(epoch FROM due_at - now()))")
            assert pause - 1 <= due <= pause
            await pool.execute("UPDATE outbox SET due_at = now()")
        assert await relay.round() == 1
        assert handed == [id] * 3
        assert await relay.round() == 0
        assert (await outbox.figures(pool))["dead"] == 1

    with_relay(backend, scenario)
    assert rows(postgres, "error, dead_at IS NULL") == [("no luck", False)]


# ---- the worker -------------------------------------------------------------------------------------------------


def test_a_duplicate_job_is_done_once(
    own: Keeper, backend: Backend, buyer: Visitor, empty: Valkey, postgres: Postgres
) -> None:
    worker = own(Worker, backend.given | {"REDIS_URL": empty.url}, empty)
    placed = buyer.order({backend.add(): 1}).json()["id"]
    wait_until(lambda: buyer.get(f"/api/orders/{placed}").json()["status"] == "shipped", "shipped")
    wait_until(lambda: rows(postgres) == [(0,)], "all of it done")

    async def again() -> None:
        async with open_postgres(backend.given["DATABASE_URL"]) as pool:
            mine = settings(backend, redis_url=empty.url)
            jobs = Jobs(pool, mine, {"advance_order": lambda *_: asyncio.sleep(0)})
            [(newest,)] = postgres.execute("SELECT last_value FROM outbox_id_seq")
            for id in range(newest - 20, newest + 1):
                await jobs.senders["advance_order"](id, {"order_id": placed, "status": "paid"})
            await jobs.broker.shutdown()

    asyncio.run(again())
    settled(empty)
    steps = postgres.execute(f"SELECT count(*) FROM order_steps WHERE order_id = {placed}")
    assert steps == [(4,)]
    assert not worker.logged("a job failed")


def settled(valkey: Valkey) -> None:
    """Wait until every message has been taken and acknowledged."""

    def left() -> list[tuple[int, int]]:
        groups: list[dict[str, int]] = valkey.client.xinfo_groups(QUEUE)
        return [(group["pending"], group["lag"]) for group in groups]

    wait_until(lambda: left() == [(0, 0)], "every message settled")


def test_a_failing_job_is_retried_and_becomes_a_dead_letter(
    own: Keeper, backend: Backend, buyer: Visitor, postgres: Postgres, valkey: Valkey, cache: Valkey
) -> None:
    worker = own(Worker, backend.given | {"MAX_TRIES": "3"}, valkey)
    missing = 10**12
    id = put(postgres, "advance_order", order_id=missing, status="paid")
    wait_until(lambda: rows(postgres, "dead_at IS NOT NULL") == [(True,)], "a dead letter")
    assert rows(postgres, "id, tries") == [(id, 3)]
    assert worker.log.read_text().count("a job failed") == 3
    assert str(missing) in backend.manage("dead")
    assert backend.figure("outbox_dead") == 1

    placed = buyer.order({backend.add(): 1}).json()["id"]
    wait_until(lambda: buyer.get(f"/api/orders/{placed}").json()["status"] == "shipped", "others go on")
    postgres.execute(f"UPDATE outbox SET payload = '{{}}' WHERE id = {id}")  # as a person would repair it
    postgres.execute(f"DELETE FROM outbox WHERE id = {id}")
    assert backend.manage("dead") == ""


def test_a_job_succeeds_once_the_cause_of_its_failure_is_gone(
    own: Keeper, backend: Backend, buyer: Visitor, postgres: Postgres, valkey: Valkey
) -> None:
    worker = own(Worker, backend.given, valkey)
    with psycopg.connect(postgres.url("app_owner")) as holder:
        holder.execute("ALTER TABLE orders ADD CONSTRAINT none_paid CHECK (status <> 'paid') NOT VALID")
        holder.commit()
        placed = buyer.order({backend.add(): 1}).json()["id"]
        wait_until(lambda: worker.logged("a job failed"), "a failure")
        holder.execute("ALTER TABLE orders DROP CONSTRAINT none_paid")
        holder.commit()
    wait_until(lambda: buyer.get(f"/api/orders/{placed}").json()["status"] == "shipped", "shipped")


@contextlib.contextmanager
def held_up(backend: Backend, buyer: Visitor, postgres: Postgres) -> Iterator[int]:
    """Place an order whose job waits in PostgreSQL during the block; yields the order's id."""
    with psycopg.connect(postgres.url("app")) as holder:
        placed = buyer.order({backend.add(): 1}).json()["id"]
        holder.execute("SELECT 1 FROM orders WHERE id = %s FOR UPDATE", [placed])
        waiting = (
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE orders%'"
        )
        wait_until(lambda: bool(postgres.execute(waiting)), "the job in PostgreSQL")
        yield int(placed)
        holder.rollback()


def test_the_job_of_a_killed_worker_is_done_by_another(
    own: Keeper, backend: Backend, buyer: Visitor, postgres: Postgres, valkey: Valkey
) -> None:
    first = own(Worker, backend.given | {"LEASE_SECONDS": "1"}, valkey)
    with held_up(backend, buyer, postgres) as placed:
        first.stop(signal.SIGKILL)
    own(Worker, backend.given | {"LEASE_SECONDS": "1"}, valkey)
    wait_until(lambda: buyer.get(f"/api/orders/{placed}").json()["status"] == "shipped", "shipped")
    assert postgres.execute(f"SELECT count(*) FROM order_steps WHERE order_id = {placed}") == [(4,)]


def test_a_running_job_is_completed_before_the_worker_ends(
    own: Keeper, backend: Backend, buyer: Visitor, postgres: Postgres, valkey: Valkey
) -> None:
    worker = own(Worker, backend.given, valkey)
    with held_up(backend, buyer, postgres) as placed:
        worker.send(signal.SIGTERM)
        wait_until(lambda: worker.logged("Waiting for 1 running tasks"), "the signal noticed")
    assert worker.wait() == 0
    assert worker.logged("stopped")
    assert postgres.execute(f"SELECT status FROM orders WHERE id = {placed}") == [("paid",)]


STUCK = """
import asyncio, signal
from app import worker

async def unanswered() -> None:
    await asyncio.Event().wait()

async def main() -> None:
    worker.configure_logging("INFO")
    worker.LAST = 0.1
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker._stop, asyncio.Event())
    signal.raise_signal(signal.SIGTERM)
    await asyncio.create_task(unanswered())

asyncio.run(main())
"""


def test_a_blocked_worker_exits_and_logs_its_pending_work() -> None:
    argv = [sys.executable, "-c", STUCK]
    ended = subprocess.run(argv, cwd=BACKEND, capture_output=True, text=True, timeout=DEADLINE)
    assert ended.returncode == 1, ended.stderr
    assert "not stopped in time" in ended.stdout
    assert "unanswered:" in ended.stdout


# ---- every night ------------------------------------------------------------------------------------------------


def test_nightly_job_is_done_once_by_many_workers(
    own: Keeper, backend: Backend, buyer: Visitor, postgres: Postgres, empty: Valkey
) -> None:
    buyer.order({backend.add(price_cents=250): 2})
    postgres.execute("UPDATE orders SET created_at = created_at - interval '1 day'")
    [(orders, cents)] = postgres.execute(
        """SELECT count(DISTINCT order_id), sum(quantity * price_cents) FROM order_items JOIN orders ON id = order_id
           WHERE created_at::date = (now() AT TIME ZONE 'UTC')::date - 1"""
    )
    workers = [own(Worker, backend.given | {"REDIS_URL": empty.url}, empty) for _ in range(3)]

    async def as_three_schedules_do() -> None:
        async with open_postgres(backend.given["DATABASE_URL"]) as pool:
            jobs = Jobs(pool, settings(backend, redis_url=empty.url), {})
            jobs.every("0 3 * * *", "close_day", lambda: asyncio.sleep(0))
            task = jobs.broker.find_task("close_day")
            assert task is not None and task.labels["schedule"] == [{"cron": "0 3 * * *"}]
            await asyncio.gather(*(task.kiq() for _ in range(9)))
            await jobs.broker.shutdown()

    asyncio.run(as_three_schedules_do())
    settled(empty)
    groups: list[dict[str, Any]] = empty.client.xinfo_groups(QUEUE)
    assert [(group["name"], group["consumers"]) for group in groups] == [(GROUP, 1)]
    assert postgres.execute("SELECT orders, total_cents FROM daily_sales") == [(orders, cents)]
    assert sum(w.log.read_text().count("day closed") for w in workers) == 1


def with_sales(backend: Backend, scenario: Callable[[Sales, Locks], Awaitable[None]]) -> None:
    async def run() -> None:
        given = backend.given
        async with open_postgres(given["DATABASE_URL"]) as pool, open_redis(given["REDIS_URL"]) as redis:
            locks = Locks(redis, pool)
            await scenario(Sales(pool, locks), locks)

    asyncio.run(run())


def test_a_late_write_of_a_superseded_lock_holder_is_refused(backend: Backend, postgres: Postgres) -> None:
    async def scenario(sales: Sales, locks: Locks) -> None:
        paused = await locks.acquire("close_day", 0.2)
        assert paused is not None
        assert await locks.acquire("close_day", 0.2) is None
        await asyncio.sleep(0.3)  # longer than its time-out
        async with locks.hold("close_day", 10) as following:
            assert following is not None and following.token > paused.token
            await sales.write(following, DAY, 7, 700)
            with pytest.raises(SupersededError):
                await sales.write(paused, DAY, 6, 600)  # it believes that it still holds the lock
        assert postgres.execute("SELECT orders, total_cents FROM daily_sales") == [(7, 700)]

    with_sales(backend, scenario)


def test_a_former_lock_holder_does_not_release_the_lock(backend: Backend) -> None:
    async def scenario(_sales: Sales, locks: Locks) -> None:
        paused = await locks.acquire("x", 0.1)
        assert paused is not None
        await asyncio.sleep(0.2)
        async with locks.hold("x", 10) as following:
            assert following is not None
            await locks.release(paused)
            assert await locks.acquire("x", 10) is None
        assert await locks.acquire("x", 10) is not None

    with_sales(backend, scenario)


def test_fencing_tokens_increase_even_if_redis_loses_them(backend: Backend, valkey: Valkey) -> None:
    async def scenario(sales: Sales, locks: Locks) -> None:
        tokens = []
        for turn in (1, 2, 3):
            async with locks.hold("close_day", 10) as lock:
                assert lock is not None
                await sales.write(lock, DAY, turn, turn)
                tokens.append(lock.token)
            valkey.client.delete("token:close_day")
        assert tokens == sorted(set(tokens))

    with_sales(backend, scenario)
