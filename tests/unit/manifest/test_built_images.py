"""Images that services build for each other."""

from typing import Any

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
