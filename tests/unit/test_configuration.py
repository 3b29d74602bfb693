"""What a service's environment is made of, and which of its values mean a store."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushrod.configuration import Endpoint, resolve, store_variables
from pushrod.values import Image
from tests.unit.samples import service

POSTGRES = Endpoint(
    "postgres",
    "postgres",
    url="postgresql://shop_app:pw@127.0.0.1:27001/shop",
    migrating_url="postgresql://shop_migrator:other@127.0.0.1:27001/shop",
)
REDIS = Endpoint("redis", "redis", "redis://app:pw@127.0.0.1:27002/0", "redis://app:pw@127.0.0.1:27002/0")


def endpoint(store: str, kind: str = "redis") -> Endpoint:
    return Endpoint(store, kind, f"{kind}://{store}", f"{kind}://{store}?migrating")  # type: ignore[arg-type]


def environment(**given: str | None) -> dict[str, str]:
    """What becomes of a manifest's `environment`, beside both stores, alone."""
    found = resolve(
        service(environment=given), Image(id=""), secrets={}, endpoints=[POSTGRES, REDIS], identity={}
    )
    assert (found.pop("DATABASE_URL", ""), found.pop("REDIS_URL", "")) != ("", "")
    return found


# ---- variables of stores -----------------------------------------------------------------------------------


def test_the_first_store_of_a_kind_has_the_name_everyone_knows() -> None:
    found = store_variables([POSTGRES, REDIS])
    assert found == {"DATABASE_URL": POSTGRES.url, "REDIS_URL": REDIS.url}
    migrating = store_variables([POSTGRES, REDIS], migrating=True)
    assert migrating["DATABASE_URL"] == POSTGRES.migrating_url


def test_a_further_store_is_called_by_its_own_name() -> None:
    found = store_variables([endpoint("cache"), REDIS, endpoint("job-queue")])
    assert found == {
        "REDIS_URL": REDIS.url,
        "CACHE_URL": "redis://cache",
        "JOB_QUEUE_URL": "redis://job-queue",
    }


def test_without_a_usual_name_the_first_in_the_manifest_is_first() -> None:
    assert store_variables([endpoint("cache"), endpoint("queue")]) == {
        "REDIS_URL": "redis://cache",
        "QUEUE_URL": "redis://queue",
    }


@pytest.mark.parametrize(
    ("names", "kind"),
    [(("valkey", "redis"), "redis"), (("db", "database"), "postgres"), (("a", "redis"), "redis")],
)
def test_no_store_takes_the_variable_of_another(names: tuple[str, ...], kind: str) -> None:
    endpoints = [endpoint(n, kind) for n in names]
    assert sorted(store_variables(endpoints).values()) == sorted(e.url for e in endpoints)


@given(
    st.sets(st.sampled_from(["postgres", "db", "database", "orders", "a-b"])),
    st.sets(st.sampled_from(["redis", "valkey", "cache", "queue", "c-d"])),
    st.randoms(),
)
def test_every_store_can_be_reached_by_some_variable(
    databases: set[str], caches: set[str], random: Random
) -> None:
    endpoints = [endpoint(n, "postgres") for n in databases] + [endpoint(n) for n in caches]
    random.shuffle(endpoints)
    found = store_variables(endpoints)
    assert sorted(found.values()) == sorted(e.url for e in endpoints)
    assert ("DATABASE_URL" in found, "REDIS_URL" in found) == (bool(databases), bool(caches))


# ---- what comes later wins ---------------------------------------------------------------------------------


def test_each_source_goes_before_the_ones_ahead_of_it() -> None:
    everywhere = dict.fromkeys(("IMAGE", "SECRET", "DATABASE_URL", "OWN", "PUSHROD_APP"), "image")
    secrets = dict.fromkeys(("SECRET", "DATABASE_URL", "OWN", "PUSHROD_APP"), "secret")
    own: dict[str, str | None] = dict.fromkeys(("OWN", "PUSHROD_APP"), "own")
    found = resolve(
        service(environment=own),
        Image(id="", environment=everywhere),
        secrets=secrets,
        endpoints=[POSTGRES],
        identity={"PUSHROD_APP": "shop"},
    )
    assert found == {
        "IMAGE": "image",
        "SECRET": "secret",
        "DATABASE_URL": POSTGRES.url,
        "OWN": "own",
        "PUSHROD_APP": "shop",
    }


def test_a_manifest_may_put_another_address_in_a_stores_place() -> None:
    found = resolve(
        service(environment={"DATABASE_URL": "postgresql://elsewhere/x"}),
        Image(id=""),
        secrets={},
        endpoints=[POSTGRES],
        identity={},
    )
    assert found["DATABASE_URL"] == "postgresql://elsewhere/x"


def test_a_name_without_a_value_is_taken_from_the_secrets_even_before_a_store() -> None:
    found = resolve(
        service(environment={"DATABASE_URL": None, "TOKEN": None, "MISSING": None}),
        Image(id=""),
        secrets={"DATABASE_URL": "theirs", "TOKEN": "secret"},
        endpoints=[POSTGRES],
        identity={},
    )
    assert found == {"DATABASE_URL": "theirs", "TOKEN": "secret"}


# ---- values that are a store's address ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            "postgresql+asyncpg://user:p@postgres:5432/x?sslmode=disable",
            "postgresql+asyncpg://shop_app:pw@127.0.0.1:27001/shop?sslmode=disable",
        ),
        ("postgres://postgres/x", "postgres://shop_app:pw@127.0.0.1:27001/shop"),
        ("postgresql://u@POSTGRES", "postgresql://shop_app:pw@127.0.0.1:27001/shop"),
        ("redis://redis:6379/1", "redis://app:pw@127.0.0.1:27002/1"),
        ("redis://redis:6379", "redis://app:pw@127.0.0.1:27002/0"),
        ("redis://redis/", "redis://app:pw@127.0.0.1:27002/0"),
        ("redis://:old@redis:6379/2?timeout=5#x", "redis://app:pw@127.0.0.1:27002/2?timeout=5#x"),
        ("db+postgresql://u:p@postgres/x", "db+postgresql://shop_app:pw@127.0.0.1:27001/shop"),
    ],
)
def test_a_stores_address_becomes_the_apps_own(given: str, expected: str) -> None:
    assert environment(URL=given) == {"URL": expected}


def test_a_release_command_gets_the_address_that_may_migrate() -> None:
    found = resolve(
        service(environment={"URL": "postgresql+psycopg://u:p@postgres/x"}),
        Image(id=""),
        secrets={},
        endpoints=[POSTGRES],
        identity={},
        migrating=True,
    )
    assert found["URL"] == "postgresql+psycopg://shop_migrator:other@127.0.0.1:27001/shop"
    assert found["DATABASE_URL"] == POSTGRES.migrating_url


@pytest.mark.parametrize(
    "value",
    [
        "",
        "postgres",
        "postgres:5432",
        "redis",
        "https://example.com/redis",
        "postgresql://db.example.com/postgres",
        "postgresql://postgres:postgres@db.example.com:5432/postgres",
        "postgresql://postgres.example.com/x",
        "jdbc:postgresql://postgres:5432/x",
        "see postgresql://postgres/x",
        '["redis://redis:6379"]',
        "redis://[bad",
        "redis://[::1]:6379",
        "a://",
        "://postgres",
        "unix:///run/redis.sock",
    ],
)
def test_a_value_that_only_looks_like_one_stays(value: str) -> None:
    assert environment(VALUE=value) == {"VALUE": value}


@given(st.text(max_size=30), st.sampled_from(["", "redis://", "postgresql://u:p@"]))
def test_no_value_at_all_is_too_strange(value: str, scheme: str) -> None:
    assert set(environment(VALUE=scheme + value)) == {"VALUE"}
