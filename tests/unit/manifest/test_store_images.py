"""What an image of a store promises."""

from typing import Any

import pytest

from pushrod.manifest import store_images
from tests.unit import samples


def redis(**changes: Any) -> Any:
    return samples.store("redis", store="redis", image="redis:7", **changes)


@pytest.mark.parametrize(
    ("given", "password", "port"),
    [
        ({}, "", 6379),
        ({"command": ("redis-server", "--appendonly", "yes")}, "", 6379),
        ({"command": ("redis-server", "--requirepass", "x y", "--port", "7000")}, "x y", 7000),
        ({"command": ("sh", "-c", "exec redis-server --requirepass hunter22")}, "hunter22", 6379),
        (
            {"command": ("sh", "-c", 'redis-server --requirepass "$PW"'), "environment": {"PW": "v"}},
            "v",
            6379,
        ),
        (
            {"command": ("sh", "-c", "redis-server --requirepass ${PW}"), "environment": {"PW": "v"}},
            "v",
            6379,
        ),
        ({"command": ("sh", "-c", "redis-server --requirepass $(cat /run/secrets/pw)")}, None, 6379),
        ({"command": ("redis-server", "--requirepass", "$PW")}, None, 6379),
        ({"command": ("redis-server", "--aclfile", "/users")}, None, 6379),
        ({"command": ("redis-server", "--requirepass")}, None, 6379),
        ({"command": ("redis-server", "--port", "x")}, "", 6379),
        ({"command": ("redis-server", "it's open")}, "", 6379),
    ],
)
def test_a_redis(given: dict[str, Any], password: str | None, port: int) -> None:
    store = redis(**given)
    assert (store_images.redis_password(store), store_images.redis_port(store)) == (password, port)


def test_a_redis_of_another_publisher() -> None:
    store = samples.store(
        "redis", store="redis", image="bitnami/redis:7", environment={"REDIS_PASSWORD": "x"}
    )
    assert store_images.redis_password(store) == "x"


@pytest.mark.parametrize(
    ("variables", "database"),
    [
        ({}, "shop"),
        ({"POSTGRES_DB": "sales", "POSTGRES_USER": "ada"}, "sales"),
        ({"POSTGRES_USER": "ada"}, "ada"),
        ({"POSTGRES_DB": "My DB"}, ""),
        ({"POSTGRES_DB_FILE": "/run/secrets/db"}, ""),
    ],
)
def test_the_database_of_a_postgres(variables: dict[str, str], database: str) -> None:
    assert store_images.database(samples.store(environment=variables), variables, "shop") == database


def test_a_postgres_that_has_other_variables_is_given_no_roles() -> None:
    for changes in ({"image": "bitnami/postgresql:16"}, {"environment": {"POSTGRESQL_DATABASE": "x"}}):
        assert not store_images.takes_roles(samples.store(**changes))
        assert store_images.database(samples.store(**changes), {}, "shop") == ""
    assert store_images.takes_roles(samples.store(image="postgis/postgis:16"))
    assert not store_images.takes_roles(redis())
