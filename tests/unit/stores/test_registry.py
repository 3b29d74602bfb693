"""The kinds there are, and that a new one is one value and one entry: plan, variables, health and backups follow."""

import subprocess
import sys
from typing import Any, Literal

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
def test_store_kinds(text: str, kind: str | None) -> None:
    found = registry.by_image(image_refs.parse(text).name)
    assert (found.name if found else None) == kind


def test_every_kind_has_a_name_of_its_own_and_no_image_is_of_two() -> None:
    kinds = registry.KINDS
    assert len({kind.name for kind in kinds}) == len(kinds)
    images = [image for kind in kinds for image in kind.images]
    assert len(set(images)) == len(images)
    assert all(kind.title and kind.variable and kind.usual for kind in kinds)
    assert [registry.of(kind.name) for kind in kinds] == [*kinds]
    assert [kind.embeddable for kind in kinds] == [kind.embedded() is not None for kind in kinds]


LATER = (
    "psutil",
    *(
        f"pushrod.adapters.{name}"
        for name in ("compose", "docker", "mariadb", "mariadb_dumps", "postgres", "redis")
    ),
    *("pushrod.manifest.services", "pushrod.manifest.policy", "pushrod.releases.pipeline"),
)
"""What most commands do without, and what would take a large part of their time to load."""


def test_to_know_the_kinds_no_driver_is_loaded() -> None:
    """In an interpreter of its own, with all that `pushrod status` loads."""
    lines = "import sys, pushrod.cli.inspect, pushrod.engines.embedded.engine, pushrod.stores.registry as r"
    lines += f"\nassert r.of('postgres').images\nprint(*sorted({set(LATER)!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_store_of_no_known_kind_runs_as_it_is() -> None:
    kind, store = registry.of(None), Service("db", "store", environment={"A": "b", "NONE": None})
    assert kind.environment(store, "shop", str) == {"A": "b"}
    assert kind.endpoint(store, "shop", str, ours=True) is None
    assert not kind.check(store)
    server = kind.server(ContainerStore("shop", store, "shop-db", str))
    assert (server.ensure(ddl=True), server.schema(), server.waits()) == ("", "", ())
    assert server.archive(ddl=True) is None


def test_a_kind_that_a_newer_pushrod_has_written_is_told() -> None:
    with pytest.raises(StateError, match="has the kind `newer`"):
        registry.of("newer")


# ---- one more kind ------------------------------------------------------------------------------------------------


class Drawer:
    """What is backed up of a toy: one word."""

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

    def endpoint(self, store: Service, app: str, password: Password, *, ours: bool) -> Endpoint:
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
    """An app with a toy, where there is one kind more."""
    monkeypatch.setattr(registry, "KINDS", (*registry.KINDS, Toy()))
    return manifest.read(DOCUMENT, engine="docker")


def test_the_plan_knows_it(toys: Manifest) -> None:
    (store,) = toys.stores
    assert (store.role, store.store, toys.backups.every) == ("store", "toy", "day")
    assert "box: only one child at a time" in toys.notes
    with pytest.raises(ManifestError, match=r"box is a store .* runs PostgreSQL and Redis$"):
        manifest.read(DOCUMENT)


def test_the_app_finds_it(app: App, toys: Manifest) -> None:
    endpoints = Stores(app).endpoints(toys)
    found = variables.resolve(toys.service("web"), Image(id=""), secrets={}, endpoints=endpoints, identity={})
    assert found["TOY_URL"].startswith("toy://shop:")
    assert found["TOY_URL"].endswith("@box:99")
    assert found["PLAY"] == found["TOY_URL"]


def test_its_container_has_its_variables_and_its_check(app: App, toys: Manifest) -> None:
    (store,) = toys.stores
    assert Stores(app).environment(store).keys() == {"TOY_KEY"}
    found = rendered.render_document(DOCUMENT, {"box": containers.Parts("toybox", root=True)}, {})
    assert found.service("box")["healthcheck"]["test"] == ["CMD", "toy", "squeak"]


def test_it_is_backed_up(app: App, toys: Manifest) -> None:
    environment.write(names.store_environment(app, "box"), {})
    (archive,) = Stores(app).archives(release(stores=toys.stores).stores, ddl=False)
    assert (archive.store, archive.suffix) == ("box", "toy")
