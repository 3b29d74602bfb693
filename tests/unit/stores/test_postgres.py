"""What an image of a PostgreSQL promises, and what is made of that."""

from typing import Any

import pytest

from pushrod.core.values import Service
from pushrod.stores import postgres
from pushrod.stores.kinds import ContainerStore
from tests.unit import samples


def made(**changes: Any) -> Service:
    return samples.store(**changes)


def password(whose: str) -> str:
    return f"{whose}-pw"


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
def test_the_database(variables: dict[str, str], database: str) -> None:
    store = made(environment=variables)
    assert postgres.database(store, "shop") == database
    endpoint = postgres.KIND.endpoint(store, "shop", password, ours=True)
    assert (endpoint.url.rpartition("/")[2] if endpoint else "") == database
    archive = postgres.KIND.server(ContainerStore("shop", store, "c", password)).archive(ddl=True)
    assert (archive.suffix if archive else "") == ("dump" if database else "")


def test_one_that_has_other_variables_is_given_no_roles() -> None:
    for changes in ({"image": "bitnami/postgresql:16"}, {"environment": {"POSTGRESQL_DATABASE": "x"}}):
        store = made(**changes)
        assert not postgres.takes_roles(store)
        assert postgres.database(store, "shop") == ""
        assert postgres.KIND.environment(store, "shop", password) == store.environment
    assert postgres.takes_roles(made(image="postgis/postgis:16"))


def test_the_image_is_given_a_password_where_it_insists_on_one() -> None:
    def given(**variables: str | None) -> dict[str, str]:
        return postgres.KIND.environment(made(environment=variables), "shop", password)

    assert given(POSTGRES_DB="x", NONE=None) == {"POSTGRES_DB": "x", "POSTGRES_PASSWORD": "superuser-pw"}
    assert given(POSTGRES_PASSWORD="own") == {"POSTGRES_PASSWORD": "own"}
    assert given(POSTGRES_PASSWORD_FILE="/x") == {"POSTGRES_PASSWORD_FILE": "/x"}
    assert given(POSTGRES_HOST_AUTH_METHOD="trust") == {"POSTGRES_HOST_AUTH_METHOD": "trust"}


def test_it_is_found_under_its_name_as_two_roles() -> None:
    endpoint = postgres.KIND.endpoint(made(name="db"), "shop", password, ours=False)
    assert endpoint is not None
    assert endpoint.url == "postgresql://shop_app:app-pw@db:5432/shop"
    assert endpoint.migrating_url == "postgresql://shop_migrator:migrator-pw@db:5432/shop"
    assert not endpoint.adopts


def test_data_belong_to_a_major_version() -> None:
    assert postgres.KIND.series(made(), {"PG_MAJOR": "17", "PATH": "/"}) == "PostgreSQL 17"
    assert postgres.KIND.series(made(), {}) == ""
