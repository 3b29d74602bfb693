"""The kinds of stores. A new one is one value and one entry: plan, variables, health and backups follow."""

import subprocess
import sys
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest

from pushrod import manifest
from pushrod.core.errors import ManifestError, StateError
from pushrod.core.values import Image, Manifest, Service
from pushrod.engines.docker import containers, environment, names
from pushrod.engines.docker.stores import Stores
from pushrod.manifest import image_refs
from pushrod.state.apps import App
from pushrod.stores import registry, variables
from pushrod.stores.kinds import ContainerStore, Endpoint, Kind, Password, Server
from tests.unit.engines.docker import rendered
from tests.unit.samples import release


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("postgres:16", "postgres"),
        ("postgis/postgis:17-3.5", "postgres"),
        ("pgvector/pgvector:pg17", "postgres"),
        ("ghcr.io/x/pgvector", "postgres"),
        ("timescale/timescaledb:latest-pg17", "postgres"),
        ("bitnami/postgresql:16.4.0-debian-12-r1", "postgres"),
        ("valkey/valkey:9", "redis"),
        ("redis", "redis"),
        ("mariadb:11.4", "mariadb"),
        ("mysql/mysql-server:8.0", "mysql"),
        ("mongo:8", None),
        ("prometheuscommunity/postgres-exporter", None),
        ("redis/redis-stack", None),
        ("python:3.12", None),
    ],
)
def test_store_kinds_are_recognized_by_image(text: str, kind: str | None) -> None:
    result = registry.by_image(image_refs.parse(text).name)
    assert (result.name if result else None) == kind


def test_kinds_have_distinct_names_and_images() -> None:
    kinds = registry.KINDS
    assert len({kind.name for kind in kinds}) == len(kinds)
    images = [image for kind in kinds for image in kind.images]
    assert len(set(images)) == len(images)
    assert all(kind.title and kind.variable and kind.usual for kind in kinds)
    assert [registry.of(kind.name) for kind in kinds] == [*kinds]
    assert [kind.embeddable for kind in kinds] == [kind.embedded() is not None for kind in kinds]


@pytest.mark.parametrize(
    ("image", "app", "roles"),
    [
        ("postgres:18", "shop", {"app"}),
        ("mariadb:11", "shop", {"app"}),
        ("mysql:8.4", "a" * 31, {"app"}),
        ("redis:8", "shop", set()),
    ],
)
def test_the_users_of_a_kind_are_those_in_its_addresses(image: str, app: str, roles: set[str]) -> None:
    """A repair finds the passwords of stores in the addresses of sealed environments."""
    kind = registry.by_image(image_refs.parse(image).name)
    assert kind
    endpoint = kind.endpoint(Service("db", "store", image=image), app, lambda role: f"{role}-pw", ours=True)
    assert endpoint
    urls = [urlsplit(url) for url in (endpoint.url, endpoint.migrating_url)]
    known = {f"{kind.users(app)[url.username]}-pw": url.password for url in urls if url.username}
    assert (
        set(known)
        == set(known.values())
        == {f"{role}-pw" for role in (*roles, *(("migrator",) if roles else ()))}
    )


LATER = (
    "psutil",
    *(
        f"pushrod.adapters.{name}"
        for name in ("compose", "docker", "mariadb", "mariadb_dumps", "postgres", "redis")
    ),
    *("pushrod.manifest.services", "pushrod.manifest.policy", "pushrod.releases.pipeline"),
)
"""What most commands do without, and what would take a large part of their time to load."""


@pytest.mark.slow
def test_the_registry_imports_no_driver() -> None:
    """In a separate interpreter, with everything that `pushrod status` loads."""
    lines = "import sys, pushrod.cli.inspect, pushrod.engines.embedded.engine, pushrod.stores.registry as r"
    lines += f"\nassert r.of('postgres').images\nprint(*sorted({set(LATER)!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_an_unknown_store_runs_unmanaged() -> None:
    kind, store = registry.of(None), Service("db", "store", environment={"A": "b", "NONE": None})
    assert kind.environment(store, "shop", str) == {"A": "b"}
    assert kind.endpoint(store, "shop", str, ours=True) is None
    assert not kind.check(store)
    server = kind.server(ContainerStore("shop", store, "shop-db", str))
    assert (server.ensure(ddl=True), server.schema(), server.waits()) == ("", "", ())
    assert server.archive(ddl=True) is None


def test_a_store_kind_of_a_newer_version_is_reported() -> None:
    with pytest.raises(StateError, match="has the kind `newer`"):
        registry.of("newer")


# ---- one more kind ------------------------------------------------------------------------------------------------


class Drawer:
    """The backup driver of a toy: its data is one word."""

    store = "box"
    suffix = "toy"


class ToyServer(Server):
    def ensure(self, *, ddl: bool) -> str:
        return "wound up"

    def archive(self, *, ddl: bool) -> Any:
        return Drawer()


class Toy(Kind):
    name = "toy"
    title = "Toy"
    images = {"toybox": "Toy"}
    variable = "TOY_URL"
    usual = ("toy",)

    def period(self, store: Service) -> Literal["day", "never"]:
        return "day"

    def remark(self, store: Service) -> str:
        return "only one child at a time"

    def environment(self, store: Service, app: str, password: Password) -> dict[str, str]:
        return super().environment(store, app, password) | {"TOY_KEY": password("key")}

    def endpoint(
        self, store: Service, app: str, password: Password, *, ours: bool, login: str = "app"
    ) -> Endpoint:
        url = f"toy://{app}:{password('app')}@{store.name}:99"
        return Endpoint(store.name, self.name, url, url)

    def check(self, store: Service) -> list[str]:
        return ["CMD", "toy", "squeak"]

    def server(self, store: ContainerStore) -> Server:
        return ToyServer()


DOCUMENT: dict[str, Any] = {
    "x-pushrod": {},
    "services": {
        "web": {"build": ".", "environment": {"PLAY": "toy://somebody@box:1/x"}},
        "box": {"image": "example.org/toybox:3"},
    },
}


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """An app with a toy, which is an additional kind."""
    monkeypatch.setattr(registry, "KINDS", (*registry.KINDS, Toy()))
    return manifest.read(DOCUMENT, engine="docker")


def test_the_plan_uses_a_new_kind(toys: Manifest) -> None:
    (store,) = toys.stores
    assert (store.role, store.store, toys.backups.every) == ("store", "toy", "day")
    assert "box: only one child at a time" in toys.notes
    with pytest.raises(ManifestError, match=r"box is a store .* runs PostgreSQL and Redis$"):
        manifest.read(DOCUMENT)


def test_the_app_gets_the_variable_of_a_new_kind(app: App, toys: Manifest) -> None:
    endpoints = Stores(app).endpoints(toys)
    result = variables.resolve(
        toys.service("web"), Image(id=""), secrets={}, endpoints=endpoints, identity={}
    )
    assert result["TOY_URL"].startswith("toy://shop:")
    assert result["TOY_URL"].endswith("@box:99")
    assert result["PLAY"] == result["TOY_URL"]


def test_the_container_of_a_new_kind_has_its_variables_and_check(app: App, toys: Manifest) -> None:
    (store,) = toys.stores
    assert Stores(app).environment(store).keys() == {"TOY_KEY"}
    result = rendered.render_document(DOCUMENT, {"box": containers.Parts("toybox", root=True)}, {})
    assert result.service("box")["healthcheck"]["test"] == ["CMD", "toy", "squeak"]


def test_a_new_kind_is_backed_up(app: App, toys: Manifest) -> None:
    environment.write(names.store_environment(app, "box"), {})
    (archive,) = Stores(app).archives(release(stores=toys.stores).stores, ddl=False)
    assert (archive.store, archive.suffix) == ("box", "toy")


@pytest.mark.parametrize(
    ("line", "result"),
    [
        ("psycopg.errors.LockNotAvailable: canceling statement due to lock timeout", True),
        ("ERROR 1205 (HY000): Lock wait timeout exceeded; try restarting transaction", True),
        ("canceling statement due to statement timeout", False),
        ("", False),
    ],
)
def test_a_lock_that_was_not_got_in_time_is_recognised(line: str, result: bool) -> None:
    assert registry.is_lock_timeout(line) is result
