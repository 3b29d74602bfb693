"""What the front gate serves for an app, as it is kept on disk."""

import msgspec
import pytest

from pushrod.core.site import SNIPPET, Site, Tls, group

SHOP = Site("shop", 1, 8000, ("127.0.0.1:20001",), entry="web", others={"api": ("127.0.0.1:20002",)})


def test_the_entry_is_the_first_of_its_services() -> None:
    assert list(SHOP.services.items()) == [("web", ("127.0.0.1:20001",)), ("api", ("127.0.0.1:20002",))]


def test_the_ports_of_a_site_include_the_tls_port() -> None:
    assert SHOP.ports == (8000,)
    assert msgspec.structs.replace(SHOP, tls=Tls("0" * 16, port=8443)).ports == (8000, 8443)


def test_an_upstream_group_has_the_name_used_in_snippets() -> None:
    assert group("shop", "web", "web") == "app-shop"
    assert group("shop", "api", "web") == "app-shop.api"


def test_the_readiness_marker_keeps_its_name_on_disk() -> None:
    """Trees of an older pushrod have it, and its nginx may still serve from them."""
    site = msgspec.structs.replace(SHOP, ready_marker="/run/pushrod/shop/up-1")
    raw = msgspec.json.encode(site)
    assert b'"present":"/run/pushrod/shop/up-1"' in raw
    assert msgspec.json.decode(raw, type=Site) == site


@pytest.mark.parametrize(
    ("path", "good"), [("nginx/own.conf", True), ("../own.conf", False), ("own.txt", False)]
)
def test_the_path_of_a_snippet_is_checked(path: str, good: bool) -> None:
    assert bool(SNIPPET.fullmatch(path)) is good
