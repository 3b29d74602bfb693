"""Further names of services, for the hosts file of a release."""

from typing import Any

import pytest

from pushrod import manifest

WEB: dict[str, Any] = {"build": ".", "command": "serve", "ports": ["8000:8000"]}


def of(name: str, services: dict[str, Any], engine: str = "embedded") -> tuple[str, ...]:
    return manifest.read({"services": services}, engine=engine).service(name).aliases  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("keys", "aliases"),
    [
        ({"container_name": "shop-redis"}, ("shop-redis",)),
        ({"hostname": "redis.shop"}, ("redis.shop",)),
        ({"networks": {"default": {"aliases": ["cachehost", "it"]}, "other": None}}, ("cachehost",)),
        ({"networks": ["default"]}, ()),
        ({"container_name": "web"}, ()),
        ({"hostname": "localhost"}, ()),
        ({"networks": {"default": {"aliases": ["a\n127.0.0.1 b", "-x", ""]}}}, ()),
        ({"container_name": "one", "hostname": "one"}, ("one",)),
    ],
)
def test_names_of_a_service(keys: dict[str, Any], aliases: tuple[str, ...]) -> None:
    assert of("it", {"web": WEB, "it": {"image": "redis:8", **keys}}) == aliases


def test_links_name_their_target() -> None:
    services = {
        "web": {**WEB, "links": ["it:cache2", "it"], "hostname": "webhost"},
        "it": {"image": "redis:8"},
    }
    assert of("it", services) == ("cache2",)
    assert of("web", services) == ("webhost",)


def test_docker_has_these_names_from_compose() -> None:
    assert of("it", {"web": WEB, "it": {"image": "redis:8", "hostname": "x"}}, engine="docker") == ()
