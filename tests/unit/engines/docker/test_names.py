"""Names on the host: each is unique."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushrod.core.errors import UnknownNameError
from pushrod.engines.docker import name_owners, names
from pushrod.state.apps import App, Root
from tests.unit import samples

# The grammar of a path's component (OCI distribution specification).
PATH = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*")
SERVICE = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True)


def test_the_objects_of_an_app_are_named_after_it(app: App) -> None:
    assert names.project(app, 7) == "shop-r7"
    assert names.stores_network(app, 7) == "shop-r7-stores"
    assert names.store(app, "postgres") == "shop-postgres"
    assert names.instance(app, 7, "backend-1") == "shop-r7-backend-1"
    assert names.image(app, "backend", "abc") == "pushrod/shop/backend:abc"
    assert names.files(app, 7) == app.state / "releases" / "7"
    assert names.environments(app, 7) == app.secrets / "releases" / "7"


@given(SERVICE)
@pytest.mark.slow
def test_every_service_name_yields_a_valid_image_name(service: str) -> None:
    assert PATH.fullmatch(names.path(service))


@pytest.mark.slow
@given(st.lists(SERVICE, min_size=2, max_size=8, unique=True))
def test_two_services_never_share_an_image(services: list[str]) -> None:
    assert len({names.path(s) for s in services}) == len(services)


def test_similar_service_names_have_different_images() -> None:
    alike = ["a.b", "a-b", "a_b", "A-b", "a..b", "a-b-", "a._b", "web", "Web", "WEB"]
    assert len({names.path(s) for s in alike}) == len(alike)
    assert names.path("a.b") == "a.b"


def test_labels_of_a_store_have_no_release(app: App) -> None:
    assert names.labels(app, "postgres") == {"pushrod.app": "shop", "pushrod.service": "postgres"}
    assert names.labels(app, "backend", samples.release(7))["pushrod.release"] == "7"


def made(root: Root, name: str, *stores: str) -> App:
    app = App(root, name)
    directory = app.state / "releases" / "1"
    directory.mkdir(parents=True)
    (app.directory / "app.json").write_text("{}")
    (directory / "release.json").write_text(json.dumps({"stores": [{"name": s} for s in stores]}))
    return app


@pytest.mark.parametrize(
    ("app", "store", "foreign"),
    [
        ("shop", "db", False),
        ("shop", "api-db", True),  # what a store of `shop-api` may be called
        ("shop-api", "db", False),
        ("shop-api", "cache", True),  # which is the store `api-cache` of `shop`
        ("shop", "r7-web-1", True),  # what an instance of its own is called
        ("blog", "api-db", False),
    ],
)
def test_a_container_has_one_owner(tmp_path: Path, app: str, store: str, foreign: bool) -> None:
    root = Root(tmp_path)
    made(root, "shop", "postgres", "api-cache")
    made(root, "shop-api", "queue")
    mine = App(root, app)
    assert name_owners.foreign(mine, [names.store(mine, store)], root.apps()) == (
        [f"{app}-{store}"] if foreign else []
    )


@pytest.mark.parametrize("name", ["shop-r7", "shop-r7-web-1", "shop-r7-stores"])
def test_an_app_cannot_have_the_name_of_a_release(name: str) -> None:
    with pytest.raises(UnknownNameError, match="another app's release"):
        name_owners.check_app(name)


@pytest.mark.parametrize(
    ("name", "within"), [("shop-api", "shop-api-cache"), ("shop-ap", ""), ("sho", ""), ("x", "")]
)
def test_an_app_cannot_have_the_name_of_another_apps_container(
    tmp_path: Path, name: str, within: str
) -> None:
    root = Root(tmp_path)
    made(root, "shop", "api-cache")
    assert name_owners.within(name, root.apps()) == within
