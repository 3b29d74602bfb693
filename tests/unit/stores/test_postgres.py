"""How an image of PostgreSQL is used as a store."""

from pathlib import Path
from typing import Any

import pytest

from pushrod.adapters.binaries import Parts
from pushrod.adapters.postgres import scram, tuning
from pushrod.adapters.postgres.server import ContainerServer, Row
from pushrod.core.values import Service
from pushrod.stores import postgres
from pushrod.stores.kinds import ContainerStore, LocalStore, Tuning
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
def test_the_database_name_is_read_from_the_variables(variables: dict[str, str], database: str) -> None:
    store = made(environment=variables)
    assert postgres.database(store, "shop") == database
    endpoint = postgres.KIND.endpoint(store, "shop", password, ours=True)
    assert (endpoint.url.rpartition("/")[2] if endpoint else "") == database
    archive = postgres.KIND.server(ContainerStore("shop", store, "c", password)).archive(ddl=True)
    assert (archive.suffix if archive else "") == ("dump" if database else "")


def test_an_image_with_other_variables_gets_no_roles() -> None:
    for changes in ({"image": "bitnami/postgresql:16"}, {"environment": {"POSTGRESQL_DATABASE": "x"}}):
        store = made(**changes)
        assert not postgres.takes_roles(store)
        assert postgres.database(store, "shop") == ""
        assert postgres.KIND.environment(store, "shop", password) == store.environment
    assert postgres.takes_roles(made(image="postgis/postgis:16"))


def test_a_password_is_generated_if_the_image_requires_one() -> None:
    def given(**variables: str | None) -> dict[str, str]:
        return postgres.KIND.environment(made(environment=variables), "shop", password)

    assert given(POSTGRES_DB="x", NONE=None) == {"POSTGRES_DB": "x", "POSTGRES_PASSWORD": "superuser-pw"}
    assert given(POSTGRES_PASSWORD="own") == {"POSTGRES_PASSWORD": "own"}
    assert given(POSTGRES_PASSWORD_FILE="/x") == {"POSTGRES_PASSWORD_FILE": "/x"}
    assert given(POSTGRES_HOST_AUTH_METHOD="trust") == {"POSTGRES_HOST_AUTH_METHOD": "trust"}


def test_the_endpoint_has_the_store_name_and_two_roles() -> None:
    endpoint = postgres.KIND.endpoint(made(name="db"), "shop", password, ours=False)
    assert endpoint is not None
    assert endpoint.url == "postgresql://shop_app:app-pw@db:5432/shop"
    assert endpoint.migrating_url == "postgresql://shop_migrator:migrator-pw@db:5432/shop"
    assert not endpoint.adopts


def test_the_data_series_is_the_major_version() -> None:
    assert postgres.KIND.series(made(), {"PG_MAJOR": "17", "PATH": "/"}) == "PostgreSQL 17"
    assert postgres.KIND.series(made(), {}) == ""


def test_a_server_that_needs_no_change_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each query of a server in a container costs a `docker exec`."""
    asked: list[str] = []

    def query(self: object, sql: str, database: str = "postgres", *, timeout: float = 30.0) -> list[Row]:
        asked.append(sql)
        waits = ("shared_buffers", "", "postmaster", "command line", "t")
        roles = {"shop_app": "app", "shop_migrator": "migrator", "shop_readonly": "readonly"}
        verifiers = [(role, scram.verifier(password(whose))) for role, whose in roles.items()]
        return [waits, ("", ""), ("",), *verifiers]

    monkeypatch.setattr(ContainerServer, "query", query)
    store = ContainerStore("shop", made(), "c", password, tmp_path / "notes.json", memory=1 << 30)
    assert postgres.KIND.server(store).settle(Tuning(), ddl=False) == ("", ("shared_buffers",))
    assert len(asked) == 1
    assert asked[0].startswith(tuning.question())


def test_a_rotation_replaces_the_role_and_its_password_in_every_form() -> None:
    server = postgres.KIND.server(ContainerStore("shop", made(), "c", password))
    sealed = (
        "postgresql://shop_app:app-pw@db/shop jdbc:postgresql://db/shop?user=shop_app&password=app-pw "
        'user=shop_app\\u0026password=app-pw "SPRING_DATASOURCE_USERNAME":"shop_app" "PASSWORD":"app-pw" shop_app'
    )
    assert server.rotates
    for old, new in server.replacements("app", "app2").items():
        sealed = sealed.replace(old, new)
    assert sealed == (
        "postgresql://shop_app2:app2-pw@db/shop jdbc:postgresql://db/shop?user=shop_app2&password=app2-pw "
        'user=shop_app2\\u0026password=app2-pw "SPRING_DATASOURCE_USERNAME":"shop_app2" "PASSWORD":"app2-pw" shop_app'
    )


@pytest.mark.parametrize(
    ("exists", "known", "role"), [(True, False, "superuser"), (True, True, ""), (False, False, "")]
)
def test_a_cluster_without_its_superusers_password_is_locked_out(
    tmp_path: Path, exists: bool, known: bool, role: str
) -> None:
    (tmp_path / "data").mkdir()
    if exists:
        (tmp_path / "data" / "PG_VERSION").touch()
    store = LocalStore("shop", "db", 5432, tmp_path, tmp_path / "log", Parts(), None, password)
    assert postgres.KIND.embedded().lost(store, lambda _: known) == role
