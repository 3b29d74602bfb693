"""A route as nginx's locations, one key at a time. test_server.py has a file with all keys together."""

import contextlib
import re
from typing import Any

import msgspec
import pytest

from pushrod.adapters.nginx import headers, locations
from pushrod.adapters.nginx.locations import MAPS, tag
from pushrod.adapters.nginx.sites import Bounds
from pushrod.core.site import Site
from pushrod.core.values import Auth, Cache, Rate, Route, Routing
from pushrod.ingress import regexes
from pushrod.ingress.snippets import reader
from tests.unit.adapters.nginx.samples import EDGE, FILES

SHARED = "add_header X-Shared 1 always;\n"


def site(*routes: Route, **changes: Any) -> Site:
    given = {"others": {"api": ("127.0.0.1:2",)}, "entry": "web", **changes}
    routing = Routing(routes, **given.pop("routing", {}))
    return Site("shop", 7, 8000, given.pop("backends", ("127.0.0.1:1",)), routing=routing, **given)


def rendered(*routes: Route, **changes: Any) -> str:
    return locations.render(site(*routes, **changes), EDGE, SHARED, Bounds())


def zones(*routes: Route) -> str:
    return locations.zones(site(*routes), EDGE)


def block(text: str, head: str) -> str:
    """The content of a location."""
    result = re.search(rf"(?ms)^location {re.escape(head)} {{\n(.*?)^}}", text)
    assert result, text
    return re.sub(r"(?m)^    ", "", result[1])


CALLED = Route("/a.B/", service="web", grpc=True)
ENTRY = "location / {\n    proxy_pass http://app-shop;\n}\n"


def test_requests_without_a_matching_route_reach_the_entry() -> None:
    assert rendered() == ENTRY
    assert rendered(Route("/", service="api")).count("location") == 1


def test_a_path_matches_whole_segments() -> None:
    inner = "    proxy_pass http://app-shop.api;\n}\n"
    assert rendered(Route("/api/", service="api")) == f"location /api/ {{\n{inner}\n{ENTRY}"
    assert (
        rendered(Route("/api", service="api"))
        == f"location = /api {{\n{inner}location /api/ {{\n{inner}\n{ENTRY}"
    )


@pytest.mark.parametrize(
    ("prefix", "rewrite"), [("/api/", '"(?s)^/api/?(.*)$" "/$1"'), ("/a.b", '"(?s)^/a\\.b/?(.*)$" "/$1"')]
)
def test_a_path_prefix_is_stripped(prefix: str, rewrite: str) -> None:
    text = rendered(Route(prefix, service="web", strip=True))
    assert f"rewrite {rewrite} break;" in text
    assert "proxy_pass http://app-shop$stripped;" in text


def test_nothing_is_stripped_from_the_root_path() -> None:
    assert rendered(Route("/", service="web", strip=True)) == rendered(Route("/", service="web"))


def test_a_route_for_large_bodies_does_not_buffer_them_on_disk() -> None:
    kept, passed = (
        rendered(Route("/a/", service="web", max_body=size)) for size in (64 << 20, (64 << 20) + 1)
    )
    assert "proxy_request_buffering" not in kept
    assert "proxy_request_buffering off;" in passed


def test_with_http_2_a_body_of_undeclared_size_is_limited() -> None:
    """The same route with a smaller limit: nothing else of it, such as access control, is missing."""
    closed: Any = {"service": "web", "allow": ("10.0.0.0/8",), "rate": Rate(5), "auth": Auth(basic="A")}
    given = {"passwords": {"A": "00c0ffee"}}
    for most, place in ((0, 1 << 20), (1000, 1000), (64 << 20, 1 << 20)):
        text = locations.render(
            site(Route("/a/", max_body=most, **closed), **given), EDGE, SHARED, Bounds(), http2=True
        )
        led, beside = block(text, "/a/"), block(text, "@unsaid-0")
        assert led.startswith("if ($unsaid) {\n    set $unsaid_at @unsaid-0;\n    return 597;\n}\n")
        limit = f"client_max_body_size {most};\n" if most else ""
        assert beside.replace(f"client_max_body_size {place};\n", limit) == led.partition("}\n")[2]
    for route in (Route("/a/", service="web", max_body=(64 << 20) + 1), Route("/a/", files="dist")):
        text = locations.render(site(route), EDGE, SHARED, Bounds(), http2=True)
        assert "@unsaid-0" not in text
        assert "@unsaid-1" in text


def test_a_route_can_allow_larger_response_headers() -> None:
    text = rendered(Route("/a/", service="web", max_headers=64 << 10))
    assert "proxy_buffer_size 65536;\n    proxy_buffers 32 4k;\n    proxy_busy_buffers_size 65536;\n" in text


@pytest.mark.parametrize(
    ("requested", "given"),
    [(1 << 10, 8 << 10), (25 << 10, 25 << 10), (26 << 10, 36 << 10), (37 << 10, 37 << 10)],
)
def test_costly_buffer_sizes_are_rounded_to_the_held_size(requested: int, given: int) -> None:
    assert f"proxy_buffer_size {given};" in rendered(Route("/a/", service="web", max_headers=requested))


def test_a_grpc_call_is_proxied_with_http_2_and_not_buffered() -> None:
    text = block(rendered(CALLED), "/a.B/")
    assert text.endswith("grpc_pass grpc://app-shop;\n")
    assert "proxy_" not in text
    assert "client_max_body_size 0;\nlimit_conn clients 1000;\n" in text
    assert "grpc_read_timeout 3600000ms;\n" in text
    assert "grpc_buffer_size 36864;\n" in text


def test_a_grpc_call_has_the_limits_of_its_route() -> None:
    changed = msgspec.structs.replace(CALLED, max_body=1 << 20, timeout=5.0, max_headers=64 << 10)
    text = block(rendered(changed), "/a.B/")
    for line in ("client_max_body_size 1048576;", "client_body_timeout 5000ms;", "grpc_buffer_size 65536;"):
        assert f"{line}\n" in text


def test_a_grpc_call_has_the_same_client_headers_as_a_request() -> None:
    lines = headers.called("$client_scheme", "").replace("grpc_set_header", "proxy_set_header")
    upgraded = {"proxy_set_header Upgrade $upgrade_to;", "proxy_set_header Connection $upgrade_connection;"}
    expected = set(headers.passed().splitlines()) - upgraded
    assert set(lines.replace(headers.LEFT_OUT_OF_CALLS, headers.LEFT_OUT).splitlines()) == expected
    left_out = headers.left_out("grpc_set_header").replace("grpc_set_header", "proxy_set_header")
    assert left_out == headers.left_out()


@pytest.mark.parametrize(
    "closed", [{"auth": Auth(basic="A")}, {"allow": ("10.0.0.0/8",)}, {"deny": ("10.0.0.1",)}]
)
def test_paths_that_may_reach_a_closed_route_are_checked_only_if_one_exists(closed: Any) -> None:
    assert "$astray_shop" in zones(Route("/a/", service="web", **closed))
    assert "$astray_shop" not in zones(Route("/a/", service="web"))


def test_every_rendered_regex_is_fast_to_match() -> None:
    """The expressions rendered for every app, and with every key, obey the same limit as an app's own lines."""
    lines = [
        line.words
        for name in ("nginx.conf", "every-key.conf", "secure.conf")
        for line in reader.lines((FILES / name).read_text().replace('"/srv/push', ' "/srv/push'), name)
        if line.words
    ]
    result = {words[0].removeprefix("~").removeprefix("*") for words in lines if words[0].startswith("~")}
    result |= {words[3] for words in lines if words[0] == "if" and words[2:3] == ("~",)}
    assert len(result) > 15
    read = 0
    for text in result:
        with contextlib.suppress(regexes.UnreadableError):
            read += regexes.read(text).steps < 4_000_000
    # The others use syntax not allowed to apps, and repeat what nothing after it begins with: `(?-i:`,
    # `(?:/|%2f)+`.
    assert read >= len(result) - 7, result


def silent(milliseconds: int) -> list[str]:
    return [f"proxy_read_timeout {milliseconds}ms;", f"proxy_send_timeout {milliseconds}ms;"]


ADDED = [SHARED.strip(), 'add_header X-A "1" always;', 'add_header X-B "a \\"b\\"" always;']
STREAM = ["proxy_buffering off;", "gzip off;", "keepalive_timeout 0;"]


@pytest.mark.parametrize(
    ("key", "lines"),
    [
        ({"max_body": 10}, ["client_max_body_size 10;"]),
        ({"timeout": 0.25}, silent(250)),
        ({"websocket": True}, silent(3_600_000)),
        ({"stream": True, "timeout": 5}, [*silent(5000), *STREAM]),
        ({"allow": ("10.0.0.0/8",)}, ["allow 10.0.0.0/8;", "deny all;"]),
        (
            {"allow": ("10.0.0.0/8",), "deny": ("10.1.0.0/16",)},
            ["deny 10.1.0.0/16;", "allow 10.0.0.0/8;", "deny all;"],
        ),
        ({"deny": ("10.1.0.0/16",)}, ["deny 10.1.0.0/16;"]),
        ({"headers": {"X-B": 'a "b"', "X-A": "1"}}, ADDED),
    ],
)
def test_each_key_renders_these_lines(key: dict[str, Any], lines: list[str]) -> None:
    text = block(rendered(Route("/a/", service="web", **key)), "/a/")
    assert text.splitlines() == [*lines, "proxy_pass http://app-shop;"]


def test_a_redirect_has_its_headers() -> None:
    assert block(rendered(Route("/a/", redirect="/b", status=301)), "/a/") == 'return 301 "/b";\n'
    text = block(rendered(Route("/a/", redirect="/b$request_uri", headers={"X-A": "1"})), "/a/")
    assert text == f'{SHARED}add_header X-A "1" always;\nreturn 308 "/b$request_uri";\n'


def test_a_rate_zone_belongs_to_the_app_and_counts_addresses_without_the_header() -> None:
    plain, keyed = (
        Route("/a/", service="web", rate=Rate(5)),
        Route("/b/", service="web", rate=Rate(9, 60, 3, "X-Key")),
    )
    one, other = f"shop-{tag('/a/', '')}", f"shop-{tag('/b/', 'X-Key')}"
    assert zones(plain) == f"limit_req_zone $binary_remote_addr zone=rate-{one}:2m rate=5r/s;\n"
    client = f"$client_{other.replace('-', '_')}"
    assert zones(keyed) == (
        f'map $http_x_key {client} {{\n    default $http_x_key;\n    "" $binary_remote_addr;\n}}\n'
        f"limit_req_zone {client} zone=rate-{other}:2m rate=9r/m;\n"
    )
    assert f"limit_req zone=rate-{one};" in rendered(plain)
    assert f"limit_req zone=rate-{other} burst=3 nodelay;" in rendered(keyed)


def test_names_that_are_global_in_nginx_differ_between_apps() -> None:
    routes = (
        Route("/a/", service="web", rate=Rate(5, header="X-A"), cache=Cache(1, bypass=("cookie",))),
        Route("/b/", service="web", auth=Auth(basic="A")),
    )

    def names(app: str) -> set[str]:
        made = Site(
            app, 7, 8000, ("127.0.0.1:1",), entry="web", routing=Routing(routes), passwords={"A": "00c0ffee"}
        )
        text = locations.zones(made, EDGE)
        return {*re.findall(r"zone=([\w-]+)", text), *re.findall(r"map \S+ (\$\w+)", text)}

    assert len(names("shop")) == 5
    assert names("shop") & names("shop-2") == set()


def test_a_cache_belongs_to_the_app_and_its_entries_to_the_release() -> None:
    route = Route(
        "/a/", service="web", cache=Cache(1.5, "$host$uri", ("cookie:sid", "header:X-Fresh", "cookie"))
    )
    text = block(rendered(route), "/a/")
    assert (
        'proxy_cache app-shop;\nproxy_cache_key "7:/a/:$client_scheme:$client_host:$asked_path:$host$uri";\n'
        "proxy_cache_valid 200 203 301 302 308 2s;\n" in text
    )
    requested = re.findall(r"(?m)^map (\S+) (\S+) {$", zones(route))
    assert sorted(name for name, _ in requested) == ["$cookie_sid", "$http_cookie", "$http_x_fresh"]
    for directive in ("proxy_cache_bypass", "proxy_no_cache"):
        given = re.search(rf"{directive} (.*);", text)
        assert given
        assert set(given[1].split()) == {variable for _, variable in requested}
    assert "proxy_cache_bypass" not in rendered(Route("/a/", service="web", cache=Cache(1, bypass=())))


def test_several_routes_have_one_cache() -> None:
    text = zones(Route("/a/", service="web", cache=Cache(1)), Route("/b/", service="web", cache=Cache(2)))
    assert text.count("proxy_cache_path") == 1
    assert text.count("map ") == 2


def test_passwords_are_read_from_the_file_of_the_release() -> None:
    text = rendered(Route("/a/", files="dist", auth=Auth(basic="ADMINS")), passwords={"ADMINS": "00c0ffee"})
    assert 'auth_basic "shop";\nauth_basic_user_file "/srv/push rod/edge/passwords/shop/00c0ffee";' in block(
        text, "/a/"
    )


def test_an_auth_service_gets_no_body_and_its_headers_replace_the_clients() -> None:
    auth = Auth(service="api", path="/check", passes=("X-User", "X-Roles"))
    text = rendered(Route("/a/", service="web", auth=auth))
    inner, requested = block(text, "/a/"), block(text, "= /.pushrod/auth/0")
    assert inner.startswith("auth_request /.pushrod/auth/0;\n")
    for header, variable in (("X-User", "$learned_0_x_user"), ("X-Roles", "$learned_0_x_roles")):
        assert (
            f"auth_request_set {variable} $upstream_http_{variable.removeprefix('$learned_0_')};\n" in inner
        )
        assert f"proxy_set_header {header} {variable};\n" in inner
    assert "proxy_set_header Host $client_host;\n" in inner
    assert requested.startswith("internal;\nproxy_method GET;\nproxy_pass_request_body off;\n")
    assert 'proxy_set_header Content-Length "";\n' in requested
    assert requested.endswith("proxy_pass http://app-shop.api/check;\n")


def test_files_are_served_from_the_release_then_from_the_pool() -> None:
    text = rendered(Route("/a/", files="dist", fallback="a b;.html"))
    own, missing, page = block(text, "/a/"), block(text, "@missing-0"), block(text, "@page-0")
    assert 'root "/srv/push rod/edge/static/shop/7/0";\ntry_files $uri ${uri}index.html @missing-0;' in own
    assert 'root "/srv/push rod/edge/static/shop/pool";\ntry_files $uri @page-0;' in missing
    assert 'try_files "/a/a b;.html" =404;' in page
    for inner in (own, missing):
        assert inner.startswith(locations.INSIDE)
    assert "try_files $uri =404;" in rendered(Route("/a/", files="dist"))


def test_a_sticky_cookie_is_set_only_with_several_instances() -> None:
    more: dict[str, Any] = {"backends": ("127.0.0.1:1", "127.0.0.1:3"), "routing": {"sticky": ("web", "api")}}
    text = rendered(Route("/a/", service="web"), Route("/b/", service="api"), **more)
    name = f"shop_{tag('web')}"
    assert (
        block(text, "/a/")
        == f"{SHARED}add_header Set-Cookie $stick_{name};\nproxy_pass http://$pool_{name};\n"
    )
    assert block(text, "/b/") == "proxy_pass http://app-shop.api;\n"


BY_CONTENT = ("index-BWgbA4nX.js", "main.3f2a9c1b.css", "a-0123abcd.woff2", "x.0123456789abcdef.js")
BY_HAND = ("index.html", "a-abcdefgh.js", "a-12345678.js", "jquery-3.7.1.min.js", "a-b1.js", "3f2a9c1b.js")


@pytest.mark.parametrize(("name", "long"), [*((n, True) for n in BY_CONTENT), *((n, False) for n in BY_HAND)])
def test_a_file_name_with_a_content_hash_is_recognized(name: str, *, long: bool) -> None:
    """Eight or more characters, with a letter and a digit; nginx's expressions are also valid in Python here."""
    pattern = re.search(r'"~(.+)" yes;', MAPS)
    assert pattern
    assert bool(re.search(pattern[1], f"/assets/{name}")) is long


def test_data_of_the_app_come_after_the_files_of_the_release() -> None:
    text = rendered(Route("/media/", files="media", volume="volumes/media"))
    assert "try_files $uri ${uri}index.html @missing-0;" in block(text, "/media/")
    assert block(text, "@missing-0").count("try_files $uri @data-0;") == 1
    data = block(text, "@data-0")
    assert f'root "{EDGE}/static/shop/7/data/0";' in data
    assert "try_files $uri ${uri}index.html =404;" in data
    assert SHARED in data
    assert locations.INSIDE in data
    assert rendered(Route("/media/", volume="volumes/media")) == text
