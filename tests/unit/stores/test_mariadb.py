"""How an image of MariaDB or MySQL is used as a store; the lab has real servers."""

from typing import Any

import pytest

from pushrod import manifest
from pushrod.core.errors import ManifestError, StoreError
from pushrod.core.values import Image, Service
from pushrod.stores import mariadb, registry, variables
from pushrod.stores.kinds import ContainerStore, Endpoint
from tests.unit import samples

MARIA, MY = mariadb.KINDS
TOP = {"MARIADB_ROOT_PASSWORD": "top"}


def made(image: str = "mariadb:11", **environment: str | None) -> Service:
    kind = registry.by_image(image.partition(":")[0].rpartition("/")[2])
    assert kind
    return samples.store("db", store=kind.name, image=image, environment=environment)


def password(whose: str) -> str:
    return f"{whose}-pw"


def endpoint(store: Service, *, ours: bool = True) -> Endpoint | None:
    return registry.of(store.store).endpoint(store, "shop", password, ours=ours)


@pytest.mark.parametrize(("image", "prefix"), [("mariadb:11", "MARIADB"), ("mysql:8.4", "MYSQL")])
def test_by_default_pushrod_creates_the_root_password_and_database(image: str, prefix: str) -> None:
    store = made(image, NONE=None)
    result = registry.of(store.store).environment(store, "shop", password)
    assert result == {f"{prefix}_ROOT_PASSWORD": "superuser-pw", f"{prefix}_DATABASE": "shop"}
    at = endpoint(store)
    assert at is not None
    assert at.url == "mysql://shop_app:app-pw@db:3306/shop"
    assert at.migrating_url == "mysql://shop_migrator:migrator-pw@db:3306/shop"
    assert (at.adopts, at.spring) == (True, True)
    assert registry.of(store.store).period(store) == "day"


def test_variables_of_the_manifest_are_kept() -> None:
    given = {**TOP, "MARIADB_DATABASE": "sales", "MARIADB_USER": "me", "MARIADB_PASSWORD": "mine"}
    store = made(**given)
    assert MARIA.environment(store, "shop", password) == given
    at = endpoint(store)
    assert at is not None
    assert (at.url.rpartition("/")[2], at.adopts, at.spring) == ("sales", False, False)
    assert not MARIA.remark(store)
    assert endpoint(made("mysql:8", MYSQL_ROOT_PASSWORD="x", MYSQL_DATABASE="y")) is not None
    assert endpoint(made("mariadb:10.6", MYSQL_ROOT_PASSWORD="x", MYSQL_DATABASE="y")) is not None
    assert endpoint(made("mariadb", MARIADB_ROOT_PASSWORD_FILE="/x", MARIADB_DATABASE="y")) is not None
    assert endpoint(made("mariadb", MARIADB_ALLOW_EMPTY_ROOT_PASSWORD="1", MARIADB_DATABASE="y")) is not None


@pytest.mark.parametrize(
    ("store", "why"),
    [
        (made(**TOP), "`MARIADB_DATABASE` names no database"),
        (made("mysql:8", MYSQL_ROOT_PASSWORD="x"), "`MYSQL_DATABASE` names no database"),
        (
            made(MARIADB_RANDOM_ROOT_PASSWORD="1", MARIADB_DATABASE="x"),
            "root password is not in the manifest",
        ),
        (made(MARIADB_ROOT_PASSWORD_HASH="*1", MARIADB_DATABASE="x"), "root password is not in the manifest"),
        (made("bitnami/mariadb:11"), "has other variables"),
        (made("linuxserver/mariadb"), "has other variables"),
    ],
)
def test_a_store_that_pushrod_cannot_access_runs_unmanaged(store: Service, why: str) -> None:
    kind = registry.of(store.store)
    assert kind.environment(store, "shop", password) == store.environment
    assert endpoint(store) is None
    assert why in kind.remark(store)
    assert kind.period(store) == "never"
    assert kind.server(ContainerStore("shop", store, "c", password)).archive(ddl=False) is None


def test_a_running_store_has_the_generated_variables() -> None:
    running = made(**MARIA.environment(made(), "shop", password))
    archive = MARIA.server(ContainerStore("shop", running, "shop-db", password)).archive(ddl=False)
    assert archive is not None
    assert (archive.store, archive.suffix) == ("db", "sql.gz")


def test_the_port_is_taken_from_the_command() -> None:
    store = samples.store("db", store="mariadb", image="mariadb:11", command=("--port=3307",))
    at = endpoint(store)
    assert at is not None
    assert "@db:3307/" in at.url
    (how, script) = MARIA.check(store)
    assert how == "CMD-SHELL"
    assert "--port=3307" in script


@pytest.mark.parametrize(
    ("image", "given", "series"),
    [
        ({"MARIADB_VERSION": "1:11.8.3+maria~ubu2404"}, {}, "MariaDB 11"),
        ({"MARIADB_VERSION": "11.8"}, {"MARIADB_AUTO_UPGRADE": "1"}, "MariaDB"),
        ({"MYSQL_MAJOR": "8.4", "MYSQL_VERSION": "8.4.3-1.el9"}, {}, "MySQL 8.4"),
        ({"MYSQL_VERSION": "8.0.40-1.el9"}, {}, "MySQL 8.0"),
        ({}, {}, ""),
    ],
)
def test_the_series_of_the_data_is_known(image: dict[str, str], given: dict[str, str], series: str) -> None:
    assert MARIA.series(made(**given), image) == series
    assert given or MY.series(made(), image) == series


def resolved(endpoints: list[Endpoint], *, java: bool = False, **given: str | None) -> dict[str, str]:
    service = samples.service(environment=given, java=java)
    return variables.resolve(service, Image(id=""), secrets={}, endpoints=endpoints, identity={})


def test_a_postgres_next_to_it_keeps_database_url() -> None:
    postgres = Endpoint("pg", "postgres", "postgresql://pg", "")
    at = endpoint(made())
    assert at is not None
    assert resolved([at])["DATABASE_URL"] == at.url
    assert resolved([at, postgres]) == {"DATABASE_URL": "postgresql://pg", "DB_URL": at.url}


def test_spring_gets_the_driver_of_the_image() -> None:
    for image, scheme in (("mariadb:11", "jdbc:mariadb:"), ("mysql:8", "jdbc:mysql:")):
        at = endpoint(made(image))
        assert at is not None
        result = resolved([at], java=True)
        assert result["SPRING_DATASOURCE_URL"] == f"{scheme}//db:3306/shop"
        assert result["SPRING_DATASOURCE_USERNAME"] == "shop_app"
    at = endpoint(made("mysql:8"))
    assert at is not None
    address = "jdbc:mysql://db:3306/x?useSSL=false"
    assert resolved([at], APP=address)["APP"] == (
        "jdbc:mysql://db:3306/shop?user=shop_app&password=app-pw&useSSL=false"
    )
    own = endpoint(made(**TOP, MARIADB_DATABASE="x"))
    assert own is not None
    assert "SPRING_DATASOURCE_URL" not in resolved([own], java=True)
    assert resolved([own], APP=address)["APP"] == address


def test_the_embedded_engine_refuses_mariadb() -> None:
    document: Any = {"services": {"web": {"build": "."}, "db": {"image": "mariadb:11"}}}
    with pytest.raises(
        ManifestError, match=r"db is a store \(mariadb:11\) that needs the Docker engine"
    ) as caught:
        manifest.read(document)
    assert caught.value.where == "services.db"
    assert manifest.read(document, engine="docker").service("db").store == "mariadb"


def test_a_root_password_that_no_longer_matches_does_not_block_a_push(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StoreError("Access denied for user 'root'@'localhost' (using password: YES)")

    monkeypatch.setattr("pushrod.adapters.mariadb.ensure", refuse)
    own = made(**TOP, MARIADB_DATABASE="x")
    server = MARIA.server(ContainerStore("shop", own, "c", password))
    assert server.ensure(ddl=False).startswith("without accounts")
    running = made(**MARIA.environment(made(), "shop", password))
    with pytest.raises(StoreError, match="Access denied"):
        MARIA.server(ContainerStore("shop", running, "c", password)).ensure(ddl=False)
