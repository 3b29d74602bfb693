"""Images that services build for each other."""

from typing import Any

import msgspec
import pytest

from pushrod import manifest
from pushrod.core.errors import BuildError
from pushrod.core.values import Manifest, Service
from pushrod.engines.docker import images


def read(services: dict[str, Any], bases: dict[str, str]) -> Manifest:
    return manifest.read({"services": services}, engine="docker", bases=bases, projects=["shop"])


def built(**build: Any) -> dict[str, Any]:
    return {"build": {"context": ".", **build}, "command": "serve"}


def service(result: Manifest, name: str) -> Service:
    return next(s for s in result.services if s.name == name)


@pytest.mark.parametrize(
    ("web", "base", "reference"),
    [
        (built(additional_contexts={"below": "service:base"}), {}, "below"),
        (built(), {"image": "acme/base"}, "acme/base:latest"),
        (built(), {}, "shop-base"),
    ],
)
def test_a_service_is_built_from_what_another_builds(
    web: dict[str, Any], base: dict[str, Any], reference: str
) -> None:
    services = {"web": {**web, "ports": ["80:80"]}, "base": built() | base, "worker": {"image": "shop-web"}}
    result = read(services, {"web": reference, "base": "nginx:1"})
    for name in ("web", "worker"):
        build = service(result, name).build
        assert build is not None
        assert build.siblings == {reference: "base"}
    order = [s.name for s in images.in_order((*result.stateless, *result.stores))]
    assert order.index("base") < min(order.index("web"), order.index("worker"))
    assert service(result, "web").role == "entry"


@pytest.mark.parametrize(
    ("own", "named", "same"),
    [
        ("master-image", "master-image", True),
        ("master-image", "master-image:latest", True),
        ("acme/web:1", "docker.io/acme/web:1", True),
        ("registry.example.com:5000/acme/web", "registry.example.com:5000/acme/web:latest", True),
        ("", "shop-web", True),
        ("", "shop_web", True),
        ("acme/web:1", "acme/web:2", False),
        ("acme/web", "others/web", False),
        ("acme/web", "shop-web", False),
        ("", "another-web", False),
    ],
)
def test_an_image_by_another_services_name_is_built_once(own: str, named: str, same: bool) -> None:
    services = {
        "web": built(args={"A": "b"}) | {"ports": ["80:80"]} | ({"image": own} if own else {}),
        "worker": {"image": named, "command": "work", "environment": {"FOR": "http://web:80"}},
    }
    result = read(services, {})
    web, worker = service(result, "web"), service(result, "worker")
    assert web.build is not None
    assert worker.build == (msgspec.structs.replace(web.build, of="web") if same else None)


def test_its_own_image_and_what_is_not_built_are_no_siblings() -> None:
    services = {
        "web": built() | {"image": "acme/web", "ports": ["80:80"]},
        "db": {"image": "postgres"},
        "other": built(additional_contexts={"db": "service:db"}),
    }
    result = read(services, {"web": "acme/web", "other": "postgres"})
    assert [s.build.siblings for s in result.services if s.build] == [{}, {}]


def test_a_circle_is_refused() -> None:
    services = {
        "a": built(additional_contexts={"x": "service:b"}) | {"ports": ["80:80"]},
        "b": built(additional_contexts={"y": "service:a"}),
    }
    result = read(services, {"a": "x", "b": "y"})
    with pytest.raises(BuildError, match="built from each other's images"):
        images.in_order(result.stateless)
