"""The names of images, and what a builder does not get."""

from pathlib import Path
from typing import Any

import pytest

from pushrod.adapters import docker
from pushrod.core.errors import BuildError, ManifestError
from pushrod.core.values import Build
from pushrod.engines.docker import images
from pushrod.state.apps import App
from tests.conftest import Tree
from tests.unit import samples

NGINX = {"Id": "sha256:0123456789abcdef", "Config": {}}


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """The images of the engine, by name."""
    here: dict[str, dict[str, Any]] = {}
    monkeypatch.setattr(docker, "image", here.get)
    return here


def test_a_built_image_is_named_after_its_commit(app: App, engine: dict[str, Any]) -> None:
    service = samples.service(build=Build())
    assert images.identify(app, "abc", service) == "pushrod/shop/backend:abc"
    assert not images.is_here(app, "abc", service)
    engine["pushrod/shop/backend:abc"] = NGINX
    assert images.is_here(app, "abc", service)


def test_a_pulled_image_is_named_after_its_contents(app: App, engine: dict[str, Any]) -> None:
    service = samples.service("web", image="nginx:latest")
    assert images.identify(app, "abc", service) == "nginx:latest"
    engine["nginx:latest"] = {**NGINX, "RepoTags": ["nginx:latest"]}
    assert images.identify(app, "abc", service) == "pushrod/shop/web:0123456789ab"
    assert images.is_here(app, "abc", service)


@pytest.mark.parametrize(
    ("reference", "carries"),
    [
        ("0123", ["nginx:latest"]),
        (f"nginx@sha256:{'0' * 64}", ["nginx:latest", f"nginx@sha256:{'1' * 64}"]),
        ("nginx:1", ["nginx:latest"]),
        ("nginx", ["mirror.example/nginx:latest"]),
    ],
)
def test_an_image_under_another_name_is_not_present(
    app: App, engine: dict[str, Any], reference: str, carries: list[str]
) -> None:
    """The engine finds an image by its ID, by a prefix of it, and by a digest that equals it."""
    engine[reference] = {**NGINX, "RepoTags": carries[:1], "RepoDigests": carries[1:]}
    assert images.here(reference) is None
    assert images.identify(app, "abc", samples.service("web", image=reference)) == reference
    engine[reference] = {**NGINX, "RepoTags": [], "RepoDigests": []}
    assert images.here(reference) is None


def test_an_image_from_the_builder_is_identified_by_its_digest(app: App, engine: dict[str, Any]) -> None:
    """An engine does not pass on the digest under which it fetched an image, so the app's own name identifies it."""
    service = samples.service("web", image=f"nginx@sha256:{'ab' * 32}")
    assert not images.is_here(app, "abc", service)
    engine["pushrod/shop/web:abababababab"] = NGINX
    assert images.is_here(app, "abc", service)
    assert images.identify(app, "abc", service) == "pushrod/shop/web:abababababab"


def test_an_image_of_another_service_has_that_services_name(app: App) -> None:
    worker = samples.service("worker", build=Build(of="server"))
    assert images.identify(app, "abc", worker) == "pushrod/shop/server:abc"


@pytest.mark.parametrize(
    "line",
    [
        "FROM 0123456789ab",
        "FROM pushrod/victim/web:abc",
        "ARG FROM=docker.io/pushrod/victim/web:abc\nFROM $FROM",
        "FROM $GIVEN",
        "FROM scratch\nCOPY --from=0123 / /",
        "FROM scratch\nCOPY --chown=1:1 --from=pushrod/victim/web:abc / /",
        "FROM scratch\nRUN --mount=type=cache,from=pushrod/victim/web:abc,target=/x true",
        "FROM scratch\nRUN --mount=from=sha256:0123,target=/x true",
        "# syntax=pushrod/victim/web:abc\nFROM scratch",
        "# a comment\n#syntax = 0123456789ab\nFROM scratch",
        "FROM --platform=linux/amd64 0123",
    ],
)
def test_a_dockerfile_names_no_image_of_another_app(tmp_path: Path, line: str) -> None:
    (tmp_path / "Dockerfile").write_text(f"{line}\n")
    build = Build(arguments={"GIVEN": "pushrod/victim/web:abc", "OTHER": None})
    with pytest.raises(ManifestError) as refused:
        images.check(samples.service("web", build=build), tmp_path)
    assert refused.value.where.startswith("Dockerfile:")


@pytest.mark.parametrize(
    "text",
    [
        "# syntax=evil.example/frontend\nFROM scratch",
        "\ufeff#\fsyntax=evil.example/frontend\nFROM scratch",
        "#!/usr/bin/env evil\n#\rSyntax = evil/frontend docker/dockerfile:1\nFROM scratch",
        "// syntax=evil/frontend\nFROM scratch",
        "# escape=`\n# syntax=docker/dockerfile-evil:1\nFROM scratch",
        "# syntax=evil.example/docker/dockerfile:1\nFROM scratch",
        '{"synt\\u0061x": "evil/frontend"}',
        '#!/bin/evil\n{"syntax": "evil/frontend"}',
        "FROM scratch",
    ],
)
def test_only_dockers_own_frontend_is_accepted_unless_allowed(tmp_path: Path, text: str) -> None:
    (tmp_path / "Dockerfile").write_bytes(f"{text}\n".encode())
    given: dict[str, str | None] = (
        {} if "evil" in text else {"BUILDKIT_SYNTAX": "evil/frontend docker/dockerfile:1"}
    )
    service = samples.service("web", build=Build(arguments=given))
    with pytest.raises(ManifestError, match="frontend"):
        images.check(service, tmp_path)
    images.check(service, tmp_path, ["frontend"])


@pytest.mark.parametrize(
    "text",
    [
        "ARG PYTHON=3.13\nFROM --platform=$BUILDPLATFORM python:${PYTHON}-slim AS base\nFROM base\n"
        "COPY --from=0 / /\nCOPY --from=BASE / /\nRUN --mount=type=cache,target=/root/.cache true\n",
        "# syntax=docker/dockerfile:1.7\nFROM ghcr.io/astral-sh/uv@sha256:" + "a" * 64 + "\n",
        "# syntax=docker.io/docker/dockerfile-upstream:master-labs\n# a comment\n\nFROM scratch\n# syntax=evil\n",
        "FROM $NOBODY_KNOWS\n",
        "FROM registry:5000/team/app\nRUN <<EOF\nFROM 0123\nEOF\nRUN echo --from=0123\n",
    ],
)
def test_ordinary_dockerfiles_are_accepted(tmp_path: Path, text: str) -> None:
    (tmp_path / "Dockerfile").write_text(text)
    images.check(samples.service("web", build=Build()), tmp_path)


def test_a_built_store_image_changes_only_with_its_files(app: App, tree: Tree) -> None:
    commits = [tree.commit("one", **{"db/Dockerfile": "FROM postgres:16"}), tree.commit("two", README="x")]
    commits.append(tree.commit("three", **{"db/extra": "x"}))
    tree.git("clone", "--quiet", "--bare", ".", str(app.directory / "copy.git"))
    app.repository = app.directory / "copy.git"
    store = samples.store(image="", build=Build("db"))
    first, second, third = (images.identify(app, c, store) for c in commits)
    assert first == second != third
    sibling = samples.service("dump", build=Build("db", of=store.name, stores={store.name: "db"}))
    assert [images.identify(app, c, sibling) for c in commits] == [first, second, third]
    above = Build(".", siblings={"shop-db": store.name}, stores={store.name: "db"})
    assert images._of_sibling(app, commits[0], store.name, above) == first


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, (True, (), 0)),
        ({"User": "0:0", "ExposedPorts": {"443/tcp": {}, "80/tcp": {}, "53/udp": {}}}, (True, (), 80)),
        ({"User": "app", "Volumes": {"/b": {}, "/a": {}}}, (False, ("/a", "/b"), 0)),
        ({"User": "root", "ExposedPorts": {"9/udp": {}}, "Volumes": None}, (True, (), 0)),
    ],
)
def test_the_parts_of_an_image_are_read_from_its_configuration(
    engine: dict[str, Any], config: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    engine["x"] = {"Id": "sha256:1", "Config": config}
    assert images.parts("x") == ("x", *expected, {}, frozenset())


def test_the_check_timing_of_an_image_is_read(engine: dict[str, Any]) -> None:
    check = {"Test": ["CMD", "x"], "Interval": 1_000_000, "Timeout": 3_000_000_000, "Retries": 4}
    engine["x"] = {"Id": "sha256:1", "Config": {"Healthcheck": check}}
    expected = {"interval": 0.001, "timeout": 3, "start_period": 0, "start_interval": 0, "retries": 4}
    assert images.parts("x").check == expected


@pytest.mark.parametrize("label", ["pushrod.probe", "pushrod.instance", "pushrod.release"])
def test_an_image_with_reserved_labels_is_refused(engine: dict[str, Any], label: str) -> None:
    own = {"pushrod.app": "shop", "pushrod.service": "web", "maintainer": "me"}
    engine["x"] = {"Id": "sha256:1", "Config": {"Labels": own}}
    images.parts("x")
    engine["x"]["Config"]["Labels"] = {**own, label: "http://127.0.0.1/"}
    with pytest.raises(BuildError) as error:
        images.parts("x")
    assert label in error.value.what


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"Labels": {f"l{n}": "x" * 60_000 for n in range(5)}}, "KiB"),
        ({"ExposedPorts": {f"{n}/udp": {} for n in range(1, 65536)}}, "KiB"),
        ({"Volumes": {f"/v/{n}": {} for n in range(51)}}, "51 volumes"),
    ],
)
def test_an_image_that_makes_docker_slow_for_every_app_is_refused(
    engine: dict[str, Any], config: dict[str, Any], why: str
) -> None:
    engine["x"] = {"Id": "sha256:1", "Config": config}
    with pytest.raises(BuildError, match=why):
        images.parts("x")


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


def test_a_dockerfile_that_is_too_long_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n" + "# x\n" * (64 << 10))
    with pytest.raises(BuildError, match="longer than 256 KiB"):
        images.check(samples.service("web", build=Build()), tmp_path)


@pytest.mark.parametrize(
    "build", [Build("out"), Build(dockerfile="link"), Build(dockerfile="out/Dockerfile")]
)
def test_a_build_that_leads_out_of_the_commit_is_refused(tmp_path: Path, build: Build) -> None:
    checkout, beside = tmp_path / "checkout", tmp_path / "beside"
    for directory in (checkout, beside):
        directory.mkdir()
        (directory / "Dockerfile").write_text("FROM scratch\n")
    (checkout / "out").symlink_to("../beside")
    (checkout / "link").symlink_to(beside / "Dockerfile")
    with pytest.raises(BuildError, match="leads out of the commit"):
        images.check(samples.service("web", build=build), checkout)


def test_a_build_through_links_within_the_commit_is_checked(tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "Dockerfile").write_text("FROM 0123\n")
    (tmp_path / "current").symlink_to("api")
    with pytest.raises(ManifestError):
        images.check(samples.service("web", build=Build("current")), tmp_path)


def test_images_named_in_the_files_of_a_damaged_release_are_kept(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone: list[str] = []
    tags = [f"pushrod/shop/web:{commit}" for commit in ("a1", "b2", "c3")]
    monkeypatch.setattr(docker, "tags", lambda _prefix: tags)
    monkeypatch.setattr(docker, "untag", gone.append)
    monkeypatch.setattr(docker, "prune_images", lambda _app: None)
    images.remove_unused(app, tags[:1], "services:\n  web:\n    image: pushrod/shop/web:b2\n")
    assert gone == tags[2:]


def test_a_dockerignore_link_out_of_the_commit_is_refused(tmp_path: Path) -> None:
    """Docker's client without BuildKit would follow the link and read the file."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "Dockerfile").write_text("FROM scratch\n")
    (checkout / "ignored").write_text("x\n")
    (checkout / ".dockerignore").symlink_to("ignored")
    images.check(samples.service("web", build=Build()), checkout)
    (checkout / ".dockerignore").unlink()
    (checkout / ".dockerignore").symlink_to("../secrets")
    with pytest.raises(BuildError, match="leads out of the commit"):
        images.check(samples.service("web", build=Build()), checkout)
