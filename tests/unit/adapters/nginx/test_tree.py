"""The files of a generation: the main one, and one for each app."""

import re
from typing import Any

import msgspec
import pytest

from pushrod.adapters.nginx import headers, memory
from pushrod.adapters.nginx.headers import SHARED
from pushrod.adapters.nginx.sites import Known
from pushrod.adapters.nginx.tree import render_tree
from pushrod.core.errors import EdgeError
from pushrod.core.site import Site, Tls
from pushrod.core.values import Route, Routing
from tests.unit.adapters.nginx.samples import (
    BLOG,
    EDGE,
    EVERYWHERE,
    FILES,
    GENERATION,
    HERE,
    NEWEST,
    SECURE,
    SHOP,
    SOCKET,
    changed,
    main,
    rendered,
)

MAIN = (FILES / "nginx.conf").read_text()
SEVERAL = (FILES / "shop.conf").read_text()
PROFILE = """
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384\
:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305;
    ssl_prefer_server_ciphers off;
    ssl_ecdh_curve X25519:prime256v1:secp384r1;
    ssl_session_timeout 1d;
    ssl_session_cache shared:pushrod:10m; # about 40000 sessions; they outlive a reload
    ssl_session_tickets off;
    # Blocks of the default 16k return to the system too: two page faults a request, half of its time more.
    ssl_buffer_size 8k;
    map $client_scheme $must_encrypt { # this is all a request over TLS has to evaluate
        default "";
        http $proves_nothing;
    }
    map $uri $proves_nothing {
        default yes;
        "~^/\\.well-known/acme-challenge/" "";
    }
"""
REJECTING = """
    server {
        listen 0.0.0.0:443 ssl default_server;
        listen [::]:443 ssl default_server;
        server_name "";
        access_log "/srv/push rod/edge/logs/access.log" unknown;
        include headers.conf;
        ssl_reject_handshake on;
        return 404 "No app on this host answers to that name.\\n";
    }
"""
STRICT = """
    map "$client_scheme:$upstream_http_strict_transport_security" $hsts_600 {
        default "";
        "https:" "max-age=600";
    }
"""


def test_the_main_file_has_the_settings_the_mark_and_the_apps_of_its_tree() -> None:
    assert main(SHOP, BLOG) == MAIN


@pytest.mark.parametrize("name", [headers.NAME, headers.LEFT_OUT, headers.LEFT_OUT_OF_CALLS, memory.NAME])
def test_the_files_that_all_apps_share_are_as_expected(name: str) -> None:
    called = Routing((Route("/", service="web", grpc=True),))
    sites = {"shop": changed(SHOP, entry="web", routing=called)}
    files = render_tree(
        "3-00c0ffee", sites, listening=HERE, directory=EDGE, socket=SOCKET, known=Known(gives_back=True)
    )
    assert files[name] == (FILES / name).read_text()


def test_without_apps_there_is_only_the_mark() -> None:
    assert main() == MAIN[: MAIN.index('\n    include "')] + "}\n"


def test_an_older_nginx_gets_no_unknown_directive() -> None:
    assert main(SHOP, BLOG, known=Known(keepalive_min=False)) == MAIN.replace(
        "    keepalive_min_timeout 2s;\n", ""
    )


@pytest.mark.parametrize(("http2", "spoken"), [(True, 2), (False, 0)])
def test_only_a_port_with_a_grpc_route_speaks_http_2_without_tls(http2: bool, spoken: int) -> None:
    """Including its first server, which nginx checks; no other port does."""
    called = Routing((Route("/", service="web", grpc=True),))
    sites = {
        "shop": changed(SHOP, port=80, domains=("shop.org",), entry="web", routing=called),
        "blog": changed(BLOG, port=81, domains=("blog.org",)),
    }
    files = render_tree(
        "1", sites, listening=EVERYWHERE, directory=EDGE, socket=SOCKET, known=Known(http2=http2)
    )
    assert sum(text.count("http2 on;") for text in files.values()) == spoken
    assert headers.LEFT_OUT_OF_CALLS in files
    assert "http2 on;" not in files["sites/blog.conf"]


def test_exact_host_names_are_matched_without_a_regex() -> None:
    """With a port if it is not the default one; wildcard names are left to the regex."""
    names = re.findall(r'"([a-z.*-]+ [a-z.*0-9:-]+)" \$http_host;', main(SECURE))
    assert names == ["blog.org blog.org", "new.org new.org"]
    names = re.findall(
        r'"([a-z.*-]+ [a-z.*0-9:-]+)" \$http_host;',
        main(changed(SHOP, domains=("*.a.org", "b.org", "b.org"))),
    )
    assert names == ["b.org b.org", "b.org b.org:8000"]


NAMELESS = """
    server {
        listen 0.0.0.0:80 default_server;
        listen [::]:80 default_server;
        server_name "";
        access_log "/srv/push rod/edge/logs/access.log" unknown;
        include headers.conf;
        return 404 "No app on this host answers to that name.\\n";
    }
"""


@pytest.mark.parametrize(
    ("sites", "ports"),
    [
        ([], [80]),
        ([SHOP], [80]),
        ([{"port": 80, "domains": ("a.example",)}], [80]),
        ([{"port": 80}], []),
        ([{"port": 80}, {"app": "blog", "port": 80, "domains": ("a.example",)}], []),
        ([{"port": 8000, "domains": ("a.example",)}], [80, 8000]),
    ],
    ids=["no site", "a port of its own", "names", "all names", "both", "names on a port of its own"],
)
def test_every_port_has_one_server_for_unknown_names(sites: list[Any], ports: list[int]) -> None:
    made = [s if isinstance(s, Site) else changed(SHOP, **s) for s in sites]
    text = main(*made, listening=EVERYWHERE)
    assert re.findall(r"listen 0\.0\.0\.0:(\d+) default_server", text) == list(map(str, ports))
    assert (NAMELESS in text) == (80 in ports)


def test_a_tree_has_the_main_file_a_file_per_app_and_the_sites_as_json() -> None:
    sites = {"shop": SHOP, "blog": BLOG}
    tree = render_tree("3-00c0ffee", sites, listening=HERE, directory=EDGE, socket=SOCKET, known=NEWEST)
    shared = {"nginx.conf", "headers.conf", "left_out.conf", "sites.json"}
    assert set(tree) == {*shared, "sites/shop.conf", "sites/blog.conf"}
    assert tree["headers.conf"] == SHARED
    assert tree["nginx.conf"] == MAIN
    assert tree["sites/shop.conf"] == SEVERAL
    assert msgspec.json.decode(tree["sites.json"], type=dict[str, Site]) == sites


def test_a_tree_is_not_rendered_for_sites_that_collide() -> None:
    sites = {"shop": SHOP, "blog": changed(BLOG, port=8000)}
    with pytest.raises(EdgeError, match="would both answer"):
        render_tree("1-00000000", sites, listening=HERE, directory=EDGE, socket=SOCKET, known=NEWEST)


def test_tls_sites_share_one_profile_and_unknown_names_get_no_handshake() -> None:
    text = main(SHOP, SECURE, listening=EVERYWHERE)
    assert PROFILE in text
    assert REJECTING in text
    assert text.count("ssl_reject_handshake") == 1


def test_sites_share_one_hsts_map_except_those_with_their_own_proxies() -> None:
    other = changed(
        SECURE, app="other", domains=("other.org",), tls=Tls(GENERATION, ("other.org",), 443, 600)
    )
    longer = changed(other, app="long", domains=("l.org",), tls=Tls(GENERATION, ("l.org",), 443, 9))
    text = main(SECURE, other, longer)
    assert text.count(STRICT) == 1
    assert text.count("$hsts_9 {") == 1
    behind = changed(other, routing=Routing(proxies=("10.0.0.0/8",)))
    assert main(behind).count("$hsts_") == 0
    own = rendered(behind)
    assert 'map "$scheme_other:$upstream_http_strict_transport_security" $hsts_other {' in own
    assert "add_header Strict-Transport-Security $hsts_other always;" in own


def test_metrics_are_served_on_loopback_if_a_port_is_set() -> None:
    def text(port: int) -> str:
        return main(SHOP, listening=msgspec.structs.replace(HERE, metrics=port))

    assert "metrics" not in text(0)
    served = text(9180)
    assert served.count("9180") == 1
    assert "listen 127.0.0.1:9180;" in served
    assert f'alias "{EDGE}/metrics/metrics.prom";' in served
