"""Which sites can be served, and which cannot be served together."""

from typing import Any

import pytest

from pushrod.adapters.nginx.sites import Listening, check
from pushrod.core.errors import EdgeError
from pushrod.core.site import Site, Tls
from pushrod.core.values import Maintenance, Route, Routing
from tests.unit.adapters.nginx.samples import (
    BLOG,
    EVERYWHERE,
    GENERATION,
    HERE,
    SECURE,
    SHOP,
    changed,
    rendered,
)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"app": "shop; }"}, "not an app's name"),
        ({"app": "Shop"}, "not an app's name"),
        ({"app": "a" * 32}, "not an app's name"),
        ({"backends": ()}, "no instances"),
        ({"backends": ("127.0.0.1:0",)}, "not an IP address and a port"),
        ({"backends": ("127.0.0.1",)}, "not an IP address and a port"),
        ({"backends": ("fd00::2:80",)}, "not an IP address and a port"),
        ({"backends": ("[127.0.0.1]:80",)}, "not an IP address and a port"),
        ({"backends": ("backend:8080",)}, "not an IP address and a port"),
        ({"port": 65536}, "port"),
        ({"domains": ("shop.example.com; }",)}, "not a domain"),
        ({"domains": ("Shop.example.com",)}, "not a domain"),
        ({"domains": ("a.*.example.com",)}, "not a domain"),
        ({"domains": (".example.com",)}, "not a domain"),
        ({"domains": ("a" * 254,)}, "not a domain"),
    ],
)
def test_a_site_that_cannot_be_served_is_refused(change: dict[str, object], problem: str) -> None:
    with pytest.raises(EdgeError, match=problem):
        rendered(changed(SHOP, **change))


def test_two_apps_without_names_on_one_port_are_refused_with_a_hint() -> None:
    with pytest.raises(
        EdgeError, match="shop and blog would both answer to every name on port 8000"
    ) as caught:
        check([SHOP, changed(BLOG, port=8000)], HERE)
    assert caught.value.where == "shop and blog"
    assert "x-pushrod: {domains:" in caught.value.hint


def test_a_domain_belongs_to_one_app_on_every_port() -> None:
    one, other = (changed(s, domains=("a.example", f"{s.app}.example")) for s in (SHOP, BLOG))
    with pytest.raises(EdgeError, match=r"the domain a\.example is shop's") as caught:
        check([one, other], EVERYWHERE)
    assert caught.value.where == "shop and blog"
    check([one, changed(other, domains=("b.example",), port=8000)], EVERYWHERE)


@pytest.mark.parametrize("listening", [HERE, EVERYWHERE])
def test_the_edge_is_not_its_own_backend(listening: Listening) -> None:
    itself = changed(SHOP, backends=("127.0.0.1:20001", "127.0.0.1:8001"))
    with pytest.raises(EdgeError, match="port 8001, on which the edge itself listens") as caught:
        check([itself, BLOG], listening)
    assert caught.value.where == "shop"


def test_an_instance_with_an_address_of_its_own_may_use_the_port_of_the_edge() -> None:
    own = changed(SHOP, backends=(f"127.64.0.1:{SHOP.port}",))
    check([own], HERE)
    with pytest.raises(EdgeError, match="on which the edge itself listens"):
        check([own], EVERYWHERE)


def test_a_container_may_use_the_port_of_the_edge() -> None:
    check([changed(SHOP, port=80, backends=("10.213.0.2:80",))], EVERYWHERE)


@pytest.mark.parametrize(
    ("tls", "problem"),
    [
        (Tls("../../etc", ("blog.org",)), "not a certificate directory"),
        (Tls(GENERATION, ("other.org",)), "other names"),
        (Tls(GENERATION, ()), "other names"),
        (Tls(GENERATION, ("blog.org",), 0), "port for TLS"),
    ],
)
def test_a_certificate_that_cannot_be_served_is_refused(tls: Tls, problem: str) -> None:
    with pytest.raises(EdgeError, match=problem):
        rendered(changed(SECURE, tls=tls))


def test_a_port_serves_either_tls_or_plain_http() -> None:
    with pytest.raises(EdgeError, match="shop is served on port 443 without TLS, and my-blog with it"):
        check([changed(SHOP, port=443), SECURE], EVERYWHERE)
    itself = changed(SHOP, backends=("127.0.0.1:443",))
    with pytest.raises(EdgeError, match="port 443, on which the edge itself listens"):
        check([itself, SECURE], EVERYWHERE)


@pytest.mark.parametrize(
    "change",
    [
        {"routing": Routing((Route("/a/", service="", allow=("::1%;}",)),))},
        {"routing": Routing((Route("/a/", service="", deny=("all",)),))},
        {"routing": Routing(proxies=("lb.example",))},
        {"maintenance": Maintenance(allow=("10.0.0.0/8; }",))},
    ],
)
def test_an_allowed_client_must_be_a_network(change: dict[str, Any]) -> None:
    with pytest.raises(EdgeError, match="is not a network"):
        rendered(changed(SHOP, **change))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"routing": Routing((Route("/a/", service="api"),))}, "api has no instances"),
        ({"others": {"api": ()}}, "api has no instances"),
        ({"others": {"a b": ("127.0.0.1:1",)}}, "'a b' is not a service"),
        ({"passwords": {"ADMINS": "../x"}}, "not a password file"),
        *[
            ({"routing": Routing(snippets={name: ""})}, "is not a snippet")
            for name in (
                "../a.conf",
                "a/../b.conf",
                "/etc/a.conf",
                "a b.conf",
                "a*.conf",
                "a",
                ".a.conf",
                "a/.b.conf",
            )
        ],
    ],
)
def test_the_names_in_a_site_must_exist_and_be_valid_for_nginx(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(EdgeError, match=problem):
        rendered(changed(SHOP, **change))


def test_the_services_are_the_entry_and_the_others() -> None:
    site = Site("shop", 1, 8000, ("127.0.0.1:1",), entry="web", others={"api": ("127.0.0.1:2",)})
    assert list(site.services.items()) == [("web", ("127.0.0.1:1",)), ("api", ("127.0.0.1:2",))]
    assert site.ports == (8000,)
    assert changed(site, tls=Tls("3f9a07c1", (), 8443)).ports == (8000, 8443)
