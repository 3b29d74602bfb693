"""A service's environment, and the values in it that are a store's address."""

from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushrod.core.values import Image
from pushrod.stores.variables import Endpoint, provided, resolve, store_variables
from tests.unit.samples import service

POSTGRES = Endpoint(
    "postgres",
    "postgres",
    url="postgresql://shop_app:pw@127.0.0.1:27001/shop",
    migrating_url="postgresql://shop_migrator:other@127.0.0.1:27001/shop",
)
REDIS = Endpoint("redis", "redis", "redis://app:pw@127.0.0.1:27002/0", "redis://app:pw@127.0.0.1:27002/0")


def endpoint(store: str, kind: str = "redis") -> Endpoint:
    return Endpoint(store, kind, f"{kind}://{store}", f"{kind}://{store}?migrating")


def environment(**given: str | None) -> dict[str, str]:
    """The variables that result from a manifest's `environment`, without those of the two stores."""
    resolved = resolve(
        service(environment=given), Image(id=""), secrets={}, endpoints=[POSTGRES, REDIS], identity={}
    )
    assert (resolved.pop("DATABASE_URL", ""), resolved.pop("REDIS_URL", "")) != ("", "")
    return resolved


# ---- variables of stores -----------------------------------------------------------------------------------


def test_the_first_store_of_a_kind_has_the_standard_variable() -> None:
    resolved = store_variables([POSTGRES, REDIS])
    assert resolved == {"DATABASE_URL": POSTGRES.url, "REDIS_URL": REDIS.url}
    migrating = store_variables([POSTGRES, REDIS], migrating=True)
    assert migrating["DATABASE_URL"] == POSTGRES.migrating_url


def test_another_store_has_a_variable_with_its_own_name() -> None:
    resolved = store_variables([endpoint("cache"), REDIS, endpoint("job-queue")])
    assert resolved == {
        "REDIS_URL": REDIS.url,
        "CACHE_URL": "redis://cache",
        "JOB_QUEUE_URL": "redis://job-queue",
    }


def test_without_a_usual_name_the_first_store_gets_the_standard_variable() -> None:
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


@pytest.mark.slow
@given(
    st.sets(st.sampled_from(["postgres", "db", "database", "orders", "a-b"])),
    st.sets(st.sampled_from(["redis", "valkey", "cache", "queue", "c-d"])),
    st.randoms(),
)
def test_every_store_has_a_variable(databases: set[str], caches: set[str], random: Random) -> None:
    endpoints = [endpoint(n, "postgres") for n in databases] + [endpoint(n) for n in caches]
    random.shuffle(endpoints)
    resolved = store_variables(endpoints)
    assert sorted(resolved.values()) == sorted(e.url for e in endpoints)
    assert ("DATABASE_URL" in resolved, "REDIS_URL" in resolved) == (bool(databases), bool(caches))


# ---- what comes later wins ---------------------------------------------------------------------------------


def test_later_sources_override_earlier_ones() -> None:
    everywhere = dict.fromkeys(("IMAGE", "SECRET", "DATABASE_URL", "OWN", "PUSHROD_APP"), "image")
    secrets = dict.fromkeys(("SECRET", "DATABASE_URL", "OWN", "PUSHROD_APP"), "secret")
    own: dict[str, str | None] = dict.fromkeys(("OWN", "PUSHROD_APP"), "own")
    resolved = resolve(
        service(environment=own),
        Image(id="", environment=everywhere),
        secrets=secrets,
        endpoints=[POSTGRES],
        identity={"PUSHROD_APP": "shop"},
    )
    assert resolved == {
        "IMAGE": "image",
        "SECRET": "secret",
        "DATABASE_URL": POSTGRES.url,
        "OWN": "own",
        "PUSHROD_APP": "shop",
    }


def test_the_manifest_can_replace_the_address_of_a_store() -> None:
    resolved = resolve(
        service(environment={"DATABASE_URL": "postgresql://elsewhere/x"}),
        Image(id=""),
        secrets={},
        endpoints=[POSTGRES],
        identity={},
    )
    assert resolved["DATABASE_URL"] == "postgresql://elsewhere/x"


def test_a_name_without_a_value_is_taken_from_the_secrets_first() -> None:
    resolved = resolve(
        service(environment={"DATABASE_URL": None, "TOKEN": None, "MISSING": None}),
        Image(id=""),
        secrets={"DATABASE_URL": "theirs", "TOKEN": "secret"},
        endpoints=[POSTGRES],
        identity={},
    )
    assert resolved == {"DATABASE_URL": "theirs", "TOKEN": "secret"}


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
def test_the_address_of_a_store_is_replaced_by_the_apps_own(given: str, expected: str) -> None:
    assert environment(URL=given) == {"URL": expected}


def test_a_release_command_gets_the_migrating_address() -> None:
    resolved = resolve(
        service(environment={"URL": "postgresql+psycopg://u:p@postgres/x"}),
        Image(id=""),
        secrets={},
        endpoints=[POSTGRES],
        identity={},
        migrating=True,
    )
    assert resolved["URL"] == "postgresql+psycopg://shop_migrator:other@127.0.0.1:27001/shop"
    assert resolved["DATABASE_URL"] == POSTGRES.migrating_url


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
        "jdbc:postgresql://db.example.com/postgres",
        "jdbc:postgresql://postgres,other/x",
        "jdbc:postgresql:postgres",
        "jdbc:postgresql://[bad",
        "jdbc:postgresql://redis:6379/x",
        "jdbc:mysql://postgres:3306/x",
        "see postgresql://postgres/x",
        '["redis://redis:6379"]',
        "redis://[bad",
        "redis://[::1]:6379",
        "a://",
        "://postgres",
        "unix:///run/redis.sock",
    ],
)
def test_a_similar_value_is_unchanged(value: str) -> None:
    assert environment(VALUE=value) == {"VALUE": value}


@pytest.mark.slow
@given(st.text(max_size=30), st.sampled_from(["", "redis://", "postgresql://u:p@"]))
def test_any_value_is_accepted(value: str, scheme: str) -> None:
    assert set(environment(VALUE=scheme + value)) == {"VALUE"}


# ---- Java ----------------------------------------------------------------------------------------------------


def test_an_address_may_have_any_name_of_the_store() -> None:
    named = msgspec.structs.replace(REDIS, aliases=("Shop-Redis",))
    given_by = service(environment={"CACHE": "redis://shop-redis:6379/2", "OTHER": "redis://other:6379/2"})
    result = resolve(given_by, Image(id="x"), secrets={}, endpoints=[named], identity={})
    assert result["CACHE"] == "redis://app:pw@127.0.0.1:27002/2"
    assert result["OTHER"] == "redis://other:6379/2"


QUOTED = Endpoint(
    "postgres",
    "postgres",
    url="postgresql://shop_app:p%26w@127.0.0.1:27001/shop",
    migrating_url="postgresql://shop_migrator:other@127.0.0.1:27001/shop",
)
SPRING = {
    "SPRING_DATASOURCE_URL": "jdbc:postgresql://127.0.0.1:27001/shop",
    "SPRING_DATASOURCE_USERNAME": "shop_app",
    "SPRING_DATASOURCE_PASSWORD": "pw",
    "SPRING_DATA_REDIS_HOST": "127.0.0.1",
    "SPRING_DATA_REDIS_PORT": "27002",
    "SPRING_DATA_REDIS_USERNAME": "app",
    "SPRING_DATA_REDIS_PASSWORD": "pw",
}


def of_spring(
    *endpoints: Endpoint, java: bool = False, migrating: bool = False, **given: str | None
) -> dict[str, str]:
    """Spring's variables in a service's environment."""
    resolved = resolve(
        service(environment=given, java=java),
        Image(id=""),
        secrets={},
        endpoints=endpoints or (POSTGRES, REDIS),
        identity={},
        migrating=migrating,
    )
    return {name: value for name, value in resolved.items() if name.startswith("SPRING_")}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            "jdbc:postgresql://postgres:5432/appdb",
            "jdbc:postgresql://127.0.0.1:27001/shop?user=shop_app&password=p%26w",
        ),
        (
            "jdbc:postgresql://postgres/appdb?user=a&sslmode=disable&password=b&ApplicationName=x",
            "jdbc:postgresql://127.0.0.1:27001/shop?user=shop_app&password=p%26w&sslmode=disable&ApplicationName=x",
        ),
    ],
)
def test_a_jdbc_address_has_the_account_as_parameters(given: str, expected: str) -> None:
    resolved = resolve(
        service(environment={"URL": given}), Image(id=""), secrets={}, endpoints=[QUOTED], identity={}
    )
    assert resolved["URL"] == expected


def test_spring_variables_are_set_only_for_java_or_on_request() -> None:
    assert of_spring() == {}
    assert of_spring(java=True) == SPRING
    assert of_spring(SPRING_PROFILES_ACTIVE="prod") == {"SPRING_PROFILES_ACTIVE": "prod", **SPRING}
    assert of_spring(SPRING_DATASOURCE_URL=None) == SPRING


def test_the_account_for_plain_compose_is_replaced() -> None:
    given: dict[str, Any] = {
        "SPRING_DATASOURCE_URL": "jdbc:postgresql://postgres:5432/appdb?user=u&password=p&sslmode=disable",
        "SPRING_DATASOURCE_USERNAME": "app",
        "SPRING_DATASOURCE_PASSWORD": "local-only",
        "SPRING_DATA_REDIS_HOST": "redis",
        "SPRING_DATA_REDIS_PORT": "6379",
    }
    url = "jdbc:postgresql://127.0.0.1:27001/shop?sslmode=disable"
    assert of_spring(**given) == {**SPRING, "SPRING_DATASOURCE_URL": url}


def test_a_separate_password_variable_is_not_url_quoted() -> None:
    assert of_spring(QUOTED, java=True)["SPRING_DATASOURCE_PASSWORD"] == "p&w"


def test_an_external_server_keeps_its_account() -> None:
    given: dict[str, Any] = {
        "SPRING_DATASOURCE_URL": "jdbc:postgresql://db.example.com/x",
        "SPRING_DATASOURCE_USERNAME": "them",
        "SPRING_DATA_REDIS_HOST": "redis.example.com",
    }
    assert of_spring(**given) == given


def test_a_release_command_gets_the_migrating_account_in_the_same_variables() -> None:
    resolved = of_spring(java=True, migrating=True)
    assert resolved["SPRING_DATASOURCE_USERNAME"] == "shop_migrator"
    assert resolved["SPRING_DATASOURCE_PASSWORD"] == "other"


def test_spring_can_use_a_store_other_than_the_first() -> None:
    orders = Endpoint("orders", "postgres", "postgresql://a:b@127.0.0.1:1/shop", "")
    assert of_spring(orders, POSTGRES, java=True)["SPRING_DATASOURCE_USERNAME"] == "shop_app"
    resolved = of_spring(orders, POSTGRES, SPRING_DATASOURCE_URL="jdbc:postgresql://orders:5432/x")
    assert resolved["SPRING_DATASOURCE_URL"] == "jdbc:postgresql://127.0.0.1:1/shop"
    assert resolved["SPRING_DATASOURCE_USERNAME"] == "a"


def test_spring_variables_of_a_manifest_not_written_for_pushrod_are_kept() -> None:
    """There the address means another account, and a part of ours in its place would fit no other part."""
    foreign = Endpoint("postgres", "postgres", POSTGRES.url, POSTGRES.migrating_url, adopts=False)
    given: dict[str, Any] = {"SPRING_DATASOURCE_URL": "jdbc:postgresql://postgres:5432/appdb"}
    assert of_spring(foreign, **given) == given
    assert of_spring(foreign, SPRING_DATASOURCE_USERNAME="x") == {"SPRING_DATASOURCE_USERNAME": "x"}
    open_redis = Endpoint("redis", "redis", "redis://redis:6379/0", "redis://redis:6379/0", adopts=False)
    assert of_spring(open_redis, java=True) == {
        "SPRING_DATA_REDIS_HOST": "redis",
        "SPRING_DATA_REDIS_PORT": "6379",
    }


def test_provided_variables_are_those_of_any_service() -> None:
    plain, java = service(), service("java", java=True)
    assert provided([plain], [POSTGRES]) == {"DATABASE_URL"}
    assert provided([plain, java], [POSTGRES, REDIS]) == {"DATABASE_URL", "REDIS_URL", *SPRING}
