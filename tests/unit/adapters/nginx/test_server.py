"""An app's complete file: its instances, its servers, and every key of a route."""

import re

from pushrod.adapters.nginx.sites import Known
from pushrod.core.site import Site, Tls
from pushrod.core.values import Auth, Cache, Maintenance, Rate, Route, Routing
from tests.unit.adapters.nginx.samples import (
    EVERYWHERE,
    FILES,
    GENERATION,
    HERE,
    SECURE,
    SHOP,
    changed,
    main,
    rendered,
)

SEVERAL = (FILES / "shop.conf").read_text()
ENCRYPTED = (FILES / "secure.conf").read_text()


def test_a_site_with_several_instances() -> None:
    assert rendered(SHOP) == SEVERAL


def test_a_lone_instance_is_always_tried() -> None:
    text = rendered(changed(SHOP, backends=("127.0.0.1:20001",)))
    before, after = SEVERAL.split("    zone of-app-shop 64k;\n    least_conn;\n")
    rest = after[after.index("    keepalive 32;") :]
    assert text == f"{before}    server 127.0.0.1:20001 max_fails=0;\n{rest}"


def test_an_app_with_more_memory_per_request_has_a_lower_connection_limit() -> None:
    usual, much = (
        rendered(changed(SHOP, routing=Routing(memory=size << 10, snippets={"a.conf": ""})), HERE)
        for size in (192, 1536)
    )
    assert "limit_conn" not in usual
    lines = "    limit_conn clients 1000;\n    limit_conn uploaders 20;\n    limit_conn apps 512;\n"
    assert much == usual.replace("    set $served shop;\n", f"    set $served shop;\n{lines}")


def test_a_site_listens_on_every_address_with_its_names() -> None:
    text = rendered(changed(SHOP, port=80, domains=("shop.example.com", "*.shop.example.com")), EVERYWHERE)
    assert (
        "    listen 0.0.0.0:80;\n    listen [::]:80;\n    server_name shop.example.com *.shop.example.com;\n"
        in text
    )


def test_a_site_without_names_is_the_default_server() -> None:
    text = rendered(changed(SHOP, port=80), EVERYWHERE)
    assert (
        "    listen 0.0.0.0:80 default_server;\n    listen [::]:80 default_server;\n    server_name shop;\n"
        in text
    )


def test_an_instance_may_be_at_any_address() -> None:
    text = rendered(changed(SHOP, backends=("10.213.0.2:8080", "[fd00::2]:8080")), EVERYWHERE)
    assert "    server 10.213.0.2:8080 max_fails" in text
    assert "    server [fd00::2]:8080 max_fails" in text


def test_a_site_with_a_certificate_for_one_of_its_names() -> None:
    text = rendered(SECURE, EVERYWHERE)
    assert text == ENCRYPTED
    assert text.count("server {") == 2
    assert text[text.index("server_name new.org") :].count("ssl") == 0


def test_a_site_for_every_name_is_the_default_server_with_tls_too() -> None:
    site = changed(SHOP, tls=Tls(GENERATION, (), 8443))
    assert "    listen 127.0.0.1:8443 ssl default_server;\n" in rendered(site)
    assert "return 308 https://$host:8443$request_uri;" in rendered(site)
    assert "Strict-Transport-Security" not in rendered(site)
    assert "ssl_reject_handshake" not in main(site)


def test_an_older_nginx_gets_http2_in_the_listen_directive() -> None:
    text = rendered(SECURE, EVERYWHERE, Known(http2=False))
    assert "    listen 0.0.0.0:443 ssl http2;\n" in text
    assert "http2 on" not in text


EVERY = Site(
    app="my-shop",
    release=7,
    port=80,
    backends=("10.213.0.2:8080", "10.213.0.3:8080"),
    domains=("shop.example.com",),
    tls=Tls("3f9a07c15b2e8d44", ("shop.example.com",), 443, 600),
    challenges=True,
    entry="web",
    others={"api": ("10.213.0.4:9000",), "admin": ("[fd00::5]:9000",)},
    routing=Routing(
        routes=(
            Route(
                "/api/v1",
                service="api",
                strip=True,
                rate=Rate(300, 60, 20, "X-Api-Key"),
                cache=Cache(90, "$host$uri", ("cookie:sid", "header:Authorization")),
                max_body=1 << 20,
                timeout=5,
                stream=True,
                websocket=True,
                auth=Auth(service="admin", path="/check", passes=("X-User",)),
                allow=("203.0.113.0/24",),
                deny=("203.0.113.7/32",),
                headers={"X-Robots-Tag": "none"},
            ),
            Route(
                "/assets/",
                files="dist",
                fallback="index.html",
                auth=Auth(basic="ADMINS"),
                headers={"X-A": "1"},
            ),
            Route("/old/", redirect="https://a.example$request_uri", status=301, headers={"X-A": "1"}),
            Route("/web/", service="web", rate=Rate(5)),
        ),
        sticky=("web", "api"),
        proxies=("198.51.100.0/24",),
        snippets={"docker/nginx/b.conf": "", "docker/a.conf": ""},
    ),
    passwords={"ADMINS": "00c0ffee"},
    maintenance=Maintenance(("203.0.113.9/32",), 600),
    ready_marker="/run/pushrod/my-shop/up",
)


def test_redirected_domains_have_their_own_servers() -> None:
    led = Routing(redirects={"www.blog.org": "blog.org", "old.org": "blog.org"})
    site = changed(
        SECURE,
        domains=("blog.org", "www.blog.org", "old.org"),
        tls=Tls(GENERATION, ("blog.org", "www.blog.org"), 443, 600),
        routing=led,
    )
    text = rendered(site, EVERYWHERE)
    names = re.findall(r"server_name (.*);", text)
    assert names == ["blog.org", "www.blog.org", "old.org"]
    assert text.count("return 308 https://blog.org$request_uri;") == 2
    encrypted, plain = text[text.index("server_name www.blog.org") :].split("server_name old.org")
    assert "ssl_certificate " in encrypted
    assert "Strict-Transport-Security" in encrypted
    assert "ssl_certificate" not in plain
    assert "acme-challenge" in plain


def test_own_buffer_directives_replace_the_default_ones() -> None:
    """Ours would contradict them, and nginx refuses sizes that do not fit together."""
    assert "proxy_buffer_size 36k;" in rendered(SHOP)
    own = changed(SHOP, routing=Routing(snippets={"a.conf": "proxy_buffers 4 8k;"}))
    assert "proxy_buffer_size" not in rendered(own)


def test_a_client_sticks_to_one_of_many_instances() -> None:
    """Each has four fallbacks, not all others: for a hundred instances that would be ten thousand lines."""
    backends = tuple(f"10.0.0.{n}:8080" for n in range(1, 101))
    text = rendered(changed(SHOP, backends=backends, entry="web", routing=Routing(sticky=("web",))))
    last = text[text.index("upstream app-shop+100 {") :].split("}", 1)[0]
    assert re.findall(r"server (\S+) .*backup", last) == [f"10.0.0.{n}:8080" for n in range(1, 5)]
    assert text.count("backup;") == 400


def test_a_site_with_every_key_of_a_route() -> None:
    assert rendered(EVERY, EVERYWHERE) == (FILES / "every-key.conf").read_text()
