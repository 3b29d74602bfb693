"""What things are called: nothing is called as another thing is."""

import re

from hypothesis import given
from hypothesis import strategies as st

from pushrod.apps import App
from pushrod.engines.docker import names
from tests.unit import samples

# The grammar of a path's component (OCI distribution specification).
PATH = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*")
SERVICE = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True)


def test_an_apps_things(app: App) -> None:
    assert names.project(app, 7) == "shop-r7"
    assert names.stores_network(app, 7) == "shop-r7-stores"
    assert names.store(app, "postgres") == "shop-postgres"
    assert names.instance(app, 7, "backend-1") == "shop-r7-backend-1"
    assert names.image(app, "backend", "abc") == "pushrod/shop/backend:abc"
    assert names.files(app, 7) == app.state / "releases" / "7"
    assert names.environments(app, 7) == app.secrets / "releases" / "7"


@given(SERVICE)
def test_an_image_can_be_called_after_any_service(service: str) -> None:
    assert PATH.fullmatch(names._path(service))


@given(st.lists(SERVICE, min_size=2, max_size=8, unique=True))
def test_two_services_never_share_an_image(services: list[str]) -> None:
    assert len({names._path(s) for s in services}) == len(services)


def test_services_that_look_alike_have_images_of_their_own() -> None:
    alike = ["a.b", "a-b", "a_b", "A-b", "a..b", "a-b-", "a._b", "web", "Web", "WEB"]
    assert len({names._path(s) for s in alike}) == len(alike)
    assert names._path("a.b") == "a.b"


def test_labels_of_a_store_have_no_release(app: App) -> None:
    assert names.labels(app, "postgres") == {"pushrod.app": "shop", "pushrod.service": "postgres"}
    assert names.labels(app, "backend", samples.release(7))["pushrod.release"] == "7"
