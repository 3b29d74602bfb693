"""Which pulled services of an unknown kind stay from push to push, as Compose would leave them alone."""

from typing import Any

import pytest

from pushrod import manifest

WEB = {"build": ".", "ports": ["8000:8000"], "depends_on": ["it"]}


def role(it: dict[str, Any], engine: str = "docker", **others: dict[str, Any]) -> str:
    web = others.pop("web", WEB)
    result = manifest.read({"services": {"web": web, "it": it, **others}}, engine=engine)  # type: ignore[arg-type]
    return result.service("it").role


@pytest.mark.parametrize(
    "it",
    [
        {"image": "redislabs/redismod"},
        {"image": "redislabs/redismod", "ports": ["6379:6379"]},
        {"image": "mcr.microsoft.com/azure-sql-edge"},
        {"image": "ghcr.io/somebody/their-database:7", "environment": {"PASSWORD": "x"}},
        {"image": "gvenzl/oracle-xe", "restart": "always"},
        {"image": "redislabs/redismod", "restart": "no"},  # Compose's default
    ],
)
def test_a_service_that_others_depend_on_is_kept(it: dict[str, Any]) -> None:
    assert role(it) == "store"
    result = manifest.read({"services": {"web": WEB, "it": it}}, engine="docker")
    assert any("stays as it is from push to push" in note for note in result.notes)


@pytest.mark.parametrize(
    "web",
    [
        {"build": ".", "ports": ["8000:8000"], "environment": {"DB": "firebird://u:p@it:3050/x"}},
        {"build": ".", "ports": ["8000:8000"], "environment": {"DB_HOST": "it"}},
        {"build": ".", "ports": ["8000:8000"], "command": "serve --database it:1234"},
        {"build": ".", "ports": ["8000:8000"], "links": ["it:database"]},
    ],
)
def test_a_service_named_in_another_services_environment_is_kept(web: dict[str, Any]) -> None:
    assert role({"image": "somebody/database"}, web=web) == "store"


def test_a_service_on_a_database_port_is_kept() -> None:
    web = {"build": ".", "ports": ["8000:8000"]}
    assert role({"image": "somebody/thing", "expose": ["1433"]}, web=web) == "store"
    assert role({"image": "somebody/thing", "expose": ["1999"]}, web=web) == "store"
    assert role({"image": "somebody/thing", "expose": ["1999"], "command": "work"}, web=web) == "store"
    assert role({"image": "somebody/thing"}, web=web) == "store"
    assert role({"image": "orientdb:3.2", "restart": "always"}, web=web) == "store"
    assert (
        role({"image": "victoriametrics/victoria-metrics", "command": ["-retention=12"]}, web=web) == "store"
    )
    assert role({"image": "somebody/thing", "command": "seed", "restart": "no"}, web=web) == "worker"
    assert role({"image": "thumbor/thumbor"}, web=web) == "worker"
    assert role({"image": "adminer", "expose": ["8080"]}, web=web) == "worker"
    assert role({"image": "grafana/grafana", "expose": ["3000"]}, web=web) == "store"


@pytest.mark.parametrize(
    "it",
    [
        {"build": "it"},
        {"image": "x/queue-worker", "depends_on": ["api"]},
        {"image": "x/gateway", "environment": {"UPSTREAM": "http://api:8080"}},
        {"image": "x/gateway", "command": ["proxy", "api:8080"]},
        {"image": "x/thing", "x-pushrod": {"role": "worker"}},
        {"image": "x/thing", "x-pushrod": {"routes": {"/it/": {}}}},
        {"image": "x/thing", "deploy": {"replicas": 2}},
        {"image": "somebody/app"},
        {"image": "somebody/another-part"},
        {"image": "ghcr.io/me/app", "environment": {"DATABASE_URL": "postgres://db/x"}},
        {"image": "nginx:1", "expose": ["80"]},
        {"image": "x/client", "restart": "no", "command": "seed"},
        {"image": "node:22", "command": "npm run dev", "expose": ["5173"]},
    ],
)
def test_a_service_that_belongs_to_a_release_is_replaced(it: dict[str, Any]) -> None:
    """Built services, services that connect to an instance, the entry, and parts of one application."""
    others: dict[str, Any] = {
        "other": {"image": "somebody/app", "command": "work"},
        "db": {"image": "postgres:17"},
    }
    assert role(it, api={"build": "api"}, **others) != "store"


NAMED = {"build": ".", "ports": ["8000:8000"], "environment": {"DB": "mydb://it:9999,peer:9999"}}


@pytest.mark.parametrize(
    ("it", "others"),
    [
        (
            {"image": "acme/mydb", "command": "--join peer"},
            {"peer": {"image": "acme/mydb", "command": "--join it"}},
        ),
        ({"image": "acme/mydb"}, {"peer": {"image": "acme/mydb", "command": "--join=it"}}),
        (
            {"image": "acme/mydb", "command": "--join=peer"},
            {"peer": {"image": "acme/mydb"}, "third": {"image": "acme/mydb", "command": "--join=peer"}},
        ),
        (
            {"image": "hazelcast/hazelcast:5", "environment": {"MEMBERS": "it,peer"}},
            {"peer": {"image": "hazelcast/hazelcast:5", "environment": {"MEMBERS": "it,peer"}}},
        ),
        (
            {"image": "aerospike/aerospike-server", "environment": {"OTEL": "http://otel:4318"}},
            {"otel": {"image": "otel/opentelemetry-collector"}},
        ),
        (
            {"image": "acme/mongo-with-plugins", "depends_on": ["setup"]},
            {"setup": {"image": "busybox", "command": "sleep 1"}},
        ),
        ({"image": "acme/mydb:1", "command": "serve", "restart": "no"}, {}),
        ({"image": "bitnami/somedb"}, {"other": {"image": "bitnami/redmine"}}),
        ({"image": "acme/mydb:1"}, {"job": {"build": "job", "x-pushrod": {"release": "loadit --commit"}}}),
    ],
)
def test_a_database_is_kept_whatever_is_beside_it(it: dict[str, Any], others: dict[str, Any]) -> None:
    """Members of its cluster, collectors, programs that prepare it, other images of its packager."""
    assert role(it, web=NAMED, **others) == "store"


def test_a_service_may_be_named_by_its_containers_name() -> None:
    it: dict[str, Any] = {
        "image": "acme/mydb:1",
        "command": "serve",
        "restart": "no",
        "container_name": "shop-db",
    }
    assert role(it, web={**NAMED, "environment": {"DB": "mydb://shop-db:9999"}}) == "store"
    client = {"image": "other/api", "environment": {"DB_HOST": "shop-db"}}
    db = {"image": "postgres:17", "container_name": "shop-db"}
    assert role(client, web={"build": ".", "ports": ["8000:8000"]}, db=db) == "worker"


def test_a_collector_is_not_kept() -> None:
    it = {"image": "otel/opentelemetry-collector"}
    beside = {"image": "aerospike/aerospike-server", "environment": {"OTEL": "http://it:4318"}}
    assert role(it, web={"build": ".", "ports": ["8000:8000"]}, other=beside) == "worker"


def test_parts_of_one_application_are_not_a_cluster() -> None:
    web = {"image": "somebody/app", "ports": ["8000:8000"]}
    assert role({"image": "somebody/app", "command": "work", "depends_on": ["web"]}, web=web) == "worker"
    assert role({"image": "somebody/app", "command": "work web:8000"}, web=web) == "worker"


MEDIA = [{"type": "volume", "source": "media", "target": "/m"}]
READ = [{"type": "volume", "source": "media", "target": "/m", "read_only": True}]
SITE = {"build": ".", "ports": ["8000:8000"]}
DB: dict[str, Any] = {
    "db": {"image": "postgres:17", "volumes": [{"type": "volume", "source": "pg", "target": "/p"}]}
}


@pytest.mark.parametrize(
    ("it", "others"),
    [
        ({"image": "ghcr.io/acme/thumbs", "volumes": MEDIA}, {"web": {**SITE, "volumes": MEDIA}}),
        ({"image": "darthsim/imgproxy", "volumes": READ}, {"web": {**SITE, "volumes": MEDIA}}),
        (
            {"image": "x/backup", "volumes": [{**DB["db"]["volumes"][0], "read_only": True}]},
            {"web": SITE, **DB},
        ),
        (
            {"image": "penpotapp/backend", "volumes": MEDIA},
            {"web": {"image": "penpotapp/frontend", "ports": ["8000:8080"], "volumes": MEDIA}},
        ),
        (
            {"image": "acme/api", "volumes": MEDIA, "environment": {"URL": "postgres://db/x"}},
            {"web": {"image": "acme/web", "ports": ["8000:8080"], "depends_on": ["it"]}, **DB},
        ),
    ],
)
def test_a_part_of_the_app_is_no_store_because_of_a_volume(
    it: dict[str, Any], others: dict[str, Any]
) -> None:
    assert role(it, **others) == "worker"


@pytest.mark.parametrize(
    ("it", "others"),
    [
        ({"image": "acme/mydb", "volumes": MEDIA}, {"web": SITE}),
        (
            {"image": "acme/mydb", "volumes": [{"type": "volume", "target": "/d"}], "depends_on": ["web"]},
            {"web": SITE},
        ),
        (
            {"image": "acme/mydb", "volumes": MEDIA},
            {"web": SITE, "copy": {"image": "x/backup", "volumes": READ}},
        ),
        (
            {"image": "acme/mydb", "volumes": MEDIA},
            {"web": SITE, "rights": {"image": "busybox", "command": "chown 1 /m", "volumes": MEDIA}},
        ),
        ({"image": "acme/mydb", "volumes": READ}, {"web": {**SITE, "depends_on": ["it"]}}),
        ({"image": "acme/mydb", "volumes": MEDIA}, {"web": {**SITE, "depends_on": ["it"], "volumes": MEDIA}}),
    ],
)
def test_a_database_with_a_volume_stays_a_store(it: dict[str, Any], others: dict[str, Any]) -> None:
    assert role(it, **others) == "store"
