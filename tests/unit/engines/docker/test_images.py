"""What images are called, and what is not given to a builder."""

from pathlib import Path
from typing import Any

import pytest

from pushrod.apps import App
from pushrod.engines.docker import images
from pushrod.errors import BuildError
from pushrod.gears import docker
from pushrod.values import Build
from tests.conftest import Tree
from tests.unit import samples

NGINX = {"Id": "sha256:0123456789abcdef", "Config": {}}


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """The images that are here, by name."""
    here: dict[str, dict[str, Any]] = {}
    monkeypatch.setattr(docker, "image", here.get)
    return here


def test_a_built_image_is_called_after_its_commit(app: App, engine: dict[str, Any]) -> None:
    service = samples.service(build=Build())
    assert images.identify(app, "abc", service) == "pushrod/shop/backend:abc"
    assert not images.is_here(app, "abc", service)
    engine["pushrod/shop/backend:abc"] = NGINX
    assert images.is_here(app, "abc", service)


def test_a_pulled_image_is_called_after_its_contents(app: App, engine: dict[str, Any]) -> None:
    service = samples.service("web", image="nginx:latest")
    assert images.identify(app, "abc", service) == "nginx:latest"
    engine["nginx:latest"] = NGINX
    assert images.identify(app, "abc", service) == "pushrod/shop/web:0123456789ab"
    assert images.is_here(app, "abc", service)


def test_a_built_store_is_another_only_where_its_files_are(app: App, tree: Tree) -> None:
    commits = [tree.commit("one", **{"db/Dockerfile": "FROM postgres:16"}), tree.commit("two", README="x")]
    commits.append(tree.commit("three", **{"db/extra": "x"}))
    tree.git("clone", "--quiet", "--bare", ".", str(app.directory / "copy.git"))
    app.repository = app.directory / "copy.git"
    store = samples.store(image="", build=Build("db"))
    first, second, third = (images.identify(app, c, store) for c in commits)
    assert first == second != third


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, (True, (), 0)),
        ({"User": "0:0", "ExposedPorts": {"443/tcp": {}, "80/tcp": {}, "53/udp": {}}}, (True, (), 80)),
        ({"User": "app", "Volumes": {"/b": {}, "/a": {}}}, (False, ("/a", "/b"), 0)),
        ({"User": "root", "ExposedPorts": {"9/udp": {}}, "Volumes": None}, (True, (), 0)),
    ],
)
def test_what_an_image_says(
    engine: dict[str, Any], config: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    engine["x"] = {"Id": "sha256:1", "Config": config}
    assert images.parts("x") == ("x", *expected, {})


def test_an_image_says_how_often_it_is_checked(engine: dict[str, Any]) -> None:
    check = {"Test": ["CMD", "x"], "Interval": 1_000_000, "Timeout": 3_000_000_000, "Retries": 4}
    engine["x"] = {"Id": "sha256:1", "Config": {"Healthcheck": check}}
    expected = {"interval": 0.001, "timeout": 3, "start_period": 0, "start_interval": 0, "retries": 4}
    assert images.parts("x").check == expected


@pytest.mark.parametrize("label", ["pushrod.probe", "pushrod.instance", "pushrod.release"])
def test_an_image_that_has_labels_of_pushrods(engine: dict[str, Any], label: str) -> None:
    own = {"pushrod.app": "shop", "pushrod.service": "web", "maintainer": "me"}
    engine["x"] = {"Id": "sha256:1", "Config": {"Labels": own}}
    images.parts("x")
    engine["x"]["Config"]["Labels"] = {**own, label: "http://127.0.0.1/"}
    with pytest.raises(BuildError) as error:
        images.parts("x")
    assert label in error.value.what


@pytest.mark.parametrize("link", ["context", "file"])
def test_a_link_out_of_the_commit_is_not_followed(
    app: App, engine: dict[str, Any], tmp_path: Path, link: str
) -> None:
    outside, checkout = tmp_path / "outside", tmp_path / "checkout"
    outside.mkdir()
    (outside / "Dockerfile").write_text("FROM scratch\n")
    checkout.mkdir()
    if link == "context":
        (checkout / "backend").symlink_to(outside)
    else:
        (checkout / "backend").mkdir()
        (checkout / "backend" / "Dockerfile").symlink_to(outside / "Dockerfile")
    with pytest.raises(BuildError, match=r"no such Dockerfile|out of the commit"):
        images.build(app, "abc", samples.service(build=Build("backend")), checkout, print)
