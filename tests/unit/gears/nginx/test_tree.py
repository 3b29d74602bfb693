"""Whole rendered files, and what is refused before it reaches nginx."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pushrod.errors import EdgeError
from pushrod.gears.nginx import server
from pushrod.gears.nginx.headers import SHARED
from pushrod.gears.nginx.sites import Known, Listening, Site, Tls, check
from pushrod.gears.nginx.tree import render_main, render_tree
from pushrod.values import Routing

SHOP = Site(app="shop", release=7, port=8000, backends=("127.0.0.1:20001", "127.0.0.1:20002"))
BLOG = Site(app="blog", release=1, port=8001, backends=("127.0.0.1:20003",))
HERE = Listening()
NEWEST = Known()
EVERYWHERE = Listening(("0.0.0.0", "::"), port=80)
EDGE = Path("/srv/push rod/edge")
SOCKET = Path("/run/pushrod/mark.sock")

FILES = Path(__file__).parent / "files"
MAIN = (FILES / "nginx.conf").read_text()
SEVERAL = (FILES / "shop.conf").read_text()
TREE = EDGE / "trees" / "3-00c0ffee"


def main(*sites: Site, listening: Listening = HERE, directory: Path = EDGE, known: Known = NEWEST) -> str:
    return render_main(
        "3-00c0ffee",
        sites,
        listening=listening,
        directory=directory,
        socket=SOCKET,
        known=known,
    )


def changed(site: Site, **changes: Any) -> Site:
    return msgspec.structs.replace(site, **changes)


def rendered(site: Site, listening: Listening = HERE, known: Known = NEWEST) -> str:
    return server.render(site, listening=listening, directory=EDGE, tree=TREE, known=known)


def test_the_main_file_has_the_shared_settings_the_mark_and_the_apps_of_its_own_tree() -> None:
    assert main(SHOP, BLOG) == MAIN


def test_without_apps_there_is_only_the_mark() -> None:
    assert main() == MAIN[: MAIN.index("\n    include")] + "}\n"


def test_an_older_nginx_is_not_told_what_it_does_not_know() -> None:
    assert main(SHOP, BLOG, known=Known(keepalive_min=False)) == MAIN.replace(
        "    keepalive_min_timeout 2s;\n", ""
    )


def test_a_site_with_several_instances() -> None:
    assert rendered(SHOP) == SEVERAL


def test_a_lone_instance_is_always_tried() -> None:
    text = rendered(changed(SHOP, backends=("127.0.0.1:20001",)))
    before, after = SEVERAL.split("    least_conn;\n")
    rest = after[after.index("    keepalive 32;") :]
    assert text == f"{before}    server 127.0.0.1:20001 max_fails=0;\n{rest}"


def test_a_site_listens_at_every_address_and_knows_its_names() -> None:
    text = rendered(changed(SHOP, port=80, domains=("shop.example.com", "*.shop.example.com")), EVERYWHERE)
    assert (
        "    listen 0.0.0.0:80;\n    listen [::]:80;\n    server_name shop.example.com *.shop.example.com;\n"
        in text
    )


def test_a_site_without_names_answers_to_all_that_no_other_has() -> None:
    text = rendered(changed(SHOP, port=80), EVERYWHERE)
    assert (
        "    listen 0.0.0.0:80 default_server;\n    listen [::]:80 default_server;\n    server_name shop;\n"
        in text
    )


def test_an_instance_may_be_at_any_address() -> None:
    text = rendered(changed(SHOP, backends=("10.213.0.2:8080", "[fd00::2]:8080")), EVERYWHERE)
    assert "    server 10.213.0.2:8080 max_fails" in text
    assert "    server [fd00::2]:8080 max_fails" in text


NAMELESS = """
    server {
        listen 0.0.0.0:80 default_server;
        listen [::]:80 default_server;
        server_name "";
        access_log "/srv/push rod/edge/logs/access.log" unknown;
        include "/srv/push rod/edge/trees/3-00c0ffee/headers.conf";
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


def test_a_tree_is_the_main_file_a_file_for_each_app_and_the_sites_as_values() -> None:
    sites = {"shop": SHOP, "blog": BLOG}
    tree = render_tree("3-00c0ffee", sites, listening=HERE, directory=EDGE, socket=SOCKET, known=NEWEST)
    assert set(tree) == {"nginx.conf", "headers.conf", "sites.json", "sites/shop.conf", "sites/blog.conf"}
    assert tree["headers.conf"] == SHARED
    assert tree["nginx.conf"] == MAIN
    assert tree["sites/shop.conf"] == SEVERAL
    assert msgspec.json.decode(tree["sites.json"], type=dict[str, Site]) == sites


def test_quotes_and_backslashes_of_a_path_are_escaped() -> None:
    text = main(directory=Path('/srv/a "b"\\c'))
    assert 'pid "/srv/a \\"b\\"\\\\c/run/nginx.pid";' in text


@pytest.mark.parametrize("character", list("$*?[\n\x7f"))
def test_a_path_that_nginx_would_expand_is_refused(character: str) -> None:
    with pytest.raises(EdgeError, match="nginx cannot use a path") as caught:
        main(directory=Path(f"/srv/a{character}b"))
    assert caught.value.hint


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


def test_two_apps_on_one_port_without_names_are_told_what_to_do() -> None:
    with pytest.raises(
        EdgeError, match="shop and blog would both answer to every name on port 8000"
    ) as caught:
        check([SHOP, changed(BLOG, port=8000)], HERE)
    assert caught.value.where == "shop and blog"
    assert "x-pushrod: {domains:" in caught.value.hint


def test_a_domain_is_one_apps_alone_whatever_its_port() -> None:
    one, other = (changed(s, domains=("a.example", f"{s.app}.example")) for s in (SHOP, BLOG))
    with pytest.raises(EdgeError, match=r"the domain a\.example is shop's") as caught:
        check([one, other], EVERYWHERE)
    assert caught.value.where == "shop and blog"
    check([one, changed(other, domains=("b.example",), port=8000)], EVERYWHERE)


def test_a_tree_is_not_rendered_for_sites_that_collide() -> None:
    sites = {"shop": SHOP, "blog": changed(BLOG, port=8000)}
    with pytest.raises(EdgeError, match="would both answer"):
        render_tree("1-00000000", sites, listening=HERE, directory=EDGE, socket=SOCKET, known=NEWEST)


@pytest.mark.parametrize("listening", [HERE, EVERYWHERE])
def test_the_edge_is_not_its_own_backend(listening: Listening) -> None:
    itself = changed(SHOP, backends=("127.0.0.1:20001", "127.0.0.1:8001"))
    with pytest.raises(EdgeError, match="port 8001, on which the edge itself listens") as caught:
        check([itself, BLOG], listening)
    assert caught.value.where == "shop"


def test_a_container_may_have_the_port_that_the_edge_has() -> None:
    check([changed(SHOP, port=80, backends=("10.213.0.2:80",))], EVERYWHERE)


# ---- with TLS -------------------------------------------------------------------------------------------------

GENERATION = "3f9a07c15b2e8d44"
SECURE = msgspec.structs.replace(
    BLOG,
    app="my-blog",
    port=80,
    domains=("blog.org", "new.org"),
    tls=Tls(GENERATION, ("blog.org",), 443, 600),
    challenges=True,
)

ENCRYPTED = (FILES / "secure.conf").read_text()

PROFILE = """
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384\
:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305;
    ssl_prefer_server_ciphers off;
    ssl_ecdh_curve X25519:prime256v1:secp384r1;
    ssl_session_timeout 1d;
    ssl_session_cache shared:pushrod:10m; # about 40000 sessions; they outlive a reload
    ssl_session_tickets off;
    map "$client_scheme:$uri" $must_encrypt {
        default "";
        "~^http:/\\.well-known/acme-challenge/" "";
        "~^http:" yes;
    }
"""

REJECTING = """
    server {
        listen 0.0.0.0:443 ssl default_server;
        listen [::]:443 ssl default_server;
        server_name "";
        access_log "/srv/push rod/edge/logs/access.log" unknown;
        include "/srv/push rod/edge/trees/3-00c0ffee/headers.conf";
        ssl_reject_handshake on;
        return 404 "No app on this host answers to that name.\\n";
    }
"""


def test_a_site_with_a_certificate_for_one_of_its_names() -> None:
    text = rendered(SECURE, EVERYWHERE)
    assert text == ENCRYPTED
    assert text.count("server {") == 2
    assert text[text.index("server_name new.org") :].count("ssl") == 0


def test_all_sites_with_tls_have_one_profile_and_unknown_names_no_handshake() -> None:
    text = main(SHOP, SECURE, listening=EVERYWHERE)
    assert PROFILE in text
    assert REJECTING in text
    assert text.count("ssl_reject_handshake") == 1


STRICT = """
    map "$client_scheme:$upstream_http_strict_transport_security" $hsts_600 {
        default "";
        "https:" "max-age=600";
    }
"""


def test_sites_share_the_map_of_one_time_but_for_those_that_believe_other_proxies() -> None:
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


def test_a_site_that_answers_to_every_name_does_so_with_tls_too() -> None:
    site = changed(SHOP, tls=Tls(GENERATION, (), 8443))
    assert "    listen 127.0.0.1:8443 ssl default_server;\n" in rendered(site)
    assert "return 308 https://$host:8443$request_uri;" in rendered(site)
    assert "Strict-Transport-Security" not in rendered(site)
    assert "ssl_reject_handshake" not in main(site)


def test_an_older_nginx_is_told_of_http_2_where_it_listens() -> None:
    text = rendered(SECURE, EVERYWHERE, Known(http2=False))
    assert "    listen 0.0.0.0:443 ssl http2;\n" in text
    assert "http2 on" not in text


@pytest.mark.parametrize(
    ("tls", "problem"),
    [
        (Tls("../../etc", ("blog.org",)), "no certificate's directory"),
        (Tls(GENERATION, ("other.org",)), "other names"),
        (Tls(GENERATION, ()), "other names"),
        (Tls(GENERATION, ("blog.org",), 0), "port for TLS"),
    ],
)
def test_a_certificate_that_cannot_be_served_is_refused(tls: Tls, problem: str) -> None:
    with pytest.raises(EdgeError, match=problem):
        rendered(changed(SECURE, tls=tls))


def test_a_port_is_with_tls_or_without() -> None:
    with pytest.raises(EdgeError, match="shop is served on port 443 without TLS, and my-blog with it"):
        check([changed(SHOP, port=443), SECURE], EVERYWHERE)
    itself = changed(SHOP, backends=("127.0.0.1:443",))
    with pytest.raises(EdgeError, match="port 443, on which the edge itself listens"):
        check([itself, SECURE], EVERYWHERE)
