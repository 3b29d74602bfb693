"""Cache-aside, as a client and as concurrent readers see it."""

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import psycopg
import pytest

from app.cache import NEAR, PATIENCE, Cache
from app.stores import OptionalRedis, open_redis
from parts import Keeper, wait_until
from servers import Postgres, Valkey
from services import Backend, environment

SECONDS = 60


@asynccontextmanager
async def caches(url: str, count: int = 1, version: int = 1) -> AsyncIterator[list[Cache]]:
    """One cache for each of `count` processes."""
    async with open_redis(url) as redis:
        yield [Cache(OptionalRedis(redis), "thing", version, check, SECONDS, 600) for _ in range(count)]


def check(value: bytes) -> None:
    if not value.startswith(b"{"):
        raise ValueError


class Table:
    """A source to load from: its value, the number of loads, and how long a load takes."""

    def __init__(self, value: bytes = b"{1}", seconds: float = 0.0) -> None:
        self.value = value
        self.seconds = seconds
        self.loads = 0
        self.fails = False

    async def load(self) -> bytes:
        self.loads += 1
        value = self.value
        await asyncio.sleep(self.seconds)
        if self.fails:
            raise ConnectionRefusedError
        return value


@pytest.fixture(autouse=True)
def empty(cache: Valkey) -> None:
    cache.client.flushdb()


def age(cache: Valkey, id: int, seconds: float) -> None:
    """Make a cached value older."""
    head, _, value = str(cache.client.get(f"thing:{id}")).partition("\n")
    version, until = head.split()
    cache.client.set(f"thing:{id}", f"{version} {int(until) - int(seconds * 1000)}\n{value}")


def test_a_second_read_is_a_cache_hit_with_the_same_answer(backend: Backend) -> None:
    id = backend.add()
    first, second = (backend.client.get(f"/api/products/{id}") for _ in range(2))
    assert [first.headers["X-Cache"], second.headers["X-Cache"]] == ["miss", "hit"]
    assert first.json() == second.json()


def test_hit_rate_is_measured(backend: Backend) -> None:
    def reads(result: str) -> float:
        return backend.figure(f'cache_reads_total{{kind="product",result="{result}"}}')

    id = backend.add()
    hits, misses = reads("hit"), reads("miss")
    for _ in range(100):
        backend.look(id)
    assert (reads("hit") - hits, reads("miss") - misses) == (99, 1)


def test_a_write_invalidates_the_cache_of_every_instance(
    own: Keeper, backend: Backend, postgres: Postgres, valkey: Valkey, cache: Valkey
) -> None:
    other = own(Backend, environment(postgres, valkey, cache))
    id = backend.add(price_cents=8900)
    assert [backend.look(id), backend.look(id), other.look(id)] == ["miss", "hit", "hit"]
    backend.put(id, price_cents=9100)
    written = time.monotonic()
    assert backend.price(id) == 9100
    wait_until(lambda: other.price(id) == 9100, "the other instance has it too")
    assert time.monotonic() - written < NEAR + 5  # far less than the time a value stays fresh


def test_the_cache_can_stop_and_return(own: Keeper, postgres: Postgres, valkey: Valkey) -> None:
    cache = own(Valkey)
    backend = own(Backend, environment(postgres, valkey, cache))
    ids = [backend.add() for _ in range(3)]
    assert [backend.look(ids[0]), backend.look(ids[0])] == ["miss", "hit"]
    cache.stop()
    assert [backend.look(id) for id in ids[1:]] == ["miss", "miss"]
    backend.put(ids[0], price_cents=9100)
    assert backend.price(ids[0]) == 9100
    assert backend.client.get("/readyz").json() == {"postgres": "ok", "redis": "ok", "cache": "away"}
    assert backend.client.get("/readyz").status_code == 200
    cache.start()
    wait_until(
        lambda: backend.look(ids[2]) == "hit" and cache.client.exists(f"product:{ids[2]}") == 1, "used again"
    )


def test_stale_values_are_served_while_postgresql_is_slow_or_down(
    own: Keeper, postgres: Postgres, valkey: Valkey, cache: Valkey
) -> None:
    backend = own(Backend, environment(postgres, valkey, cache, CACHE_SECONDS="1"))
    id = backend.add(price_cents=8900)
    assert backend.look(id) == "miss"
    with psycopg.connect(postgres.url("app_owner")) as holder:
        holder.execute("LOCK TABLE products")
        time.sleep(1.1)  # it must become stale
        begun = time.monotonic()
        assert [backend.look(id) for _ in range(5)] == ["stale"] * 5
        assert time.monotonic() - begun < 4  # a statement gives up after 5
        holder.rollback()
    wait_until(lambda: backend.look(id) != "stale", "loaded anew")
    postgres.stop()
    try:
        wait_until(lambda: backend.look(id) == "stale", "stale")
        assert backend.price(id) == 8900
        assert backend.client.get(f"/api/products/{id + 1000}").status_code == 503
    finally:
        postgres.start()


def test_concurrent_readers_cause_one_load(backend: Backend) -> None:
    id = backend.add()
    loads = 'cache_loads_total{kind="product"}'
    before = backend.figure(loads)
    with ThreadPoolExecutor(40) as threads:
        seen = list(threads.map(lambda _: backend.look(id), range(200)))
    assert set(seen) <= {"hit", "miss"}
    assert backend.figure(loads) == before + 1


def test_concurrent_processes_cause_one_load(cache: Valkey) -> None:
    async def scenario() -> None:
        table = Table(seconds=0.2)
        async with caches(cache.url, 20) as processes:
            answers = await asyncio.gather(*(p.read(1, table.load) for p in processes for _ in range(10)))
        assert {a.value for a in answers} == {b"{1}"}
        assert table.loads == 1

    asyncio.run(scenario())


def test_a_dead_loader_is_not_waited_for_beyond_its_lease(cache: Valkey) -> None:
    async def scenario() -> None:
        table = Table()
        cache.client.set("thing:1:lease", "of a dead process", px=300)
        async with caches(cache.url) as [one]:
            assert await one.read(1, table.load) == (b"{1}", "miss")

    asyncio.run(scenario())


def test_one_process_refreshes_a_value_before_it_is_stale(cache: Valkey) -> None:
    async def scenario() -> None:
        table = Table()
        async with caches(cache.url) as [one]:
            await one.read(1, table.load)
        age(cache, 1, SECONDS - 1)
        table.value = b"{2}"
        async with caches(cache.url, 10) as processes:
            answers = await asyncio.gather(*(p.read(1, table.load) for p in processes))
            assert [a.how for a in answers] == ["hit"] * 10  # no reader waits for it
            async with asyncio.timeout(5):
                while "{2}" not in str(cache.client.get("thing:1")):
                    await asyncio.sleep(0.01)
        assert table.loads == 2

    asyncio.run(scenario())


def test_a_failed_load_is_not_retried_by_every_process(cache: Valkey) -> None:
    async def scenario() -> None:
        table = Table()
        async with caches(cache.url) as [one]:
            await one.read(1, table.load)
        age(cache, 1, SECONDS + 1)
        table.fails = True
        async with caches(cache.url, 20) as processes:
            for process in processes:
                assert await process.read(1, table.load) == (b"{1}", "stale")
        assert table.loads == 2

    asyncio.run(scenario())


def test_a_slow_load_delays_only_one_reader_briefly(cache: Valkey) -> None:
    async def scenario() -> None:
        table = Table()
        async with caches(cache.url) as [one]:
            await one.read(1, table.load)
        age(cache, 1, SECONDS + 1)
        table.value, table.seconds = b"{2}", PATIENCE * 3
        async with caches(cache.url, 10) as processes:
            answers = await asyncio.gather(*(p.read(1, table.load) for p in processes))
            assert set(answers) == {(b"{1}", "stale")}
            async with asyncio.timeout(5):  # and the refresh succeeds
                while (await processes[0].read(1, table.load)).value != b"{2}":
                    await asyncio.sleep(0.01)
        assert table.loads == 2

    asyncio.run(scenario())


def test_a_value_loaded_before_a_write_is_not_cached_after_it(cache: Valkey) -> None:
    async def scenario() -> None:
        table = Table(seconds=0.3)
        async with caches(cache.url, 2) as [reader, writer]:
            reading = asyncio.create_task(reader.read(1, table.load))
            await asyncio.sleep(0.1)  # it has loaded the old value, but not stored it yet
            table.value, table.seconds = b"{2}", 0.0
            await writer.drop(1)
            assert (await reading).value == b"{1}"  # the read began before the write
            assert not cache.client.exists("thing:1")
            assert (await writer.read(1, table.load)).value == b"{2}"
            assert "{2}" in str(cache.client.get("thing:1"))

    asyncio.run(scenario())


def test_a_writer_reads_its_own_write_without_redis(own: Keeper) -> None:
    away = own(Valkey)
    away.stop()

    async def scenario() -> None:
        table = Table(seconds=0.2)
        async with caches(away.url) as [one]:
            reading = asyncio.create_task(one.read(1, table.load))
            await asyncio.sleep(0.1)
            table.value = b"{2}"
            await one.drop(1)
            await reading
            assert (await one.read(1, table.load)).value == b"{2}"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "unknown",
    [
        "{version} {later}\n{{1}}",
        "1 {later}\nnot of this shape",
        "1 soon\n{{1}}",
        '{{"id": 1}}',
        "",
        "\xff\xfe",
    ],
    ids=["newer", "other shape", "no time", "older form", "empty", "garbage"],
)
def test_value_of_another_release_is_a_miss(cache: Valkey, unknown: str) -> None:
    later = int((time.time() + 100) * 1000)
    cache.client.set("thing:1", unknown.format(version=2, later=later))

    async def scenario() -> None:
        table = Table(b"{mine}")
        async with caches(cache.url) as [one]:
            assert await one.read(1, table.load) == (b"{mine}", "miss")
        async with caches(cache.url) as [one]:
            assert await one.read(1, table.load) == (b"{mine}", "hit")

    asyncio.run(scenario())


def test_write_of_one_release_drops_the_value_of_the_other(cache: Valkey) -> None:
    async def scenario() -> None:
        table = Table()
        async with caches(cache.url, version=1) as [old], caches(cache.url, version=2) as [new]:
            await old.read(1, table.load)
            await new.drop(1)
            assert not cache.client.exists("thing:1")

    asyncio.run(scenario())


def test_a_cached_value_expires(cache: Valkey) -> None:
    async def scenario() -> None:
        async with caches(cache.url) as [one]:
            await one.read(1, Table().load)

    asyncio.run(scenario())
    assert 600_000 < int(cache.client.pttl("thing:1")) <= 660_000
