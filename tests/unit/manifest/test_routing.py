"""`x-pushrod.routes` and related keys: the meaning of each, and what is refused."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushrod import manifest
from pushrod.core.errors import ManifestError
from pushrod.core.values import Auth, Cache, Manifest, Rate, Route, Routing
from pushrod.manifest import routing
from pushrod.manifest.document import Key


def read(routes: Any, top: Any = None, *, service: str = "web", **others: Any) -> Routing:
    """The routing of a service with these routes, beside others with their own."""
    services = {service: {"routes": routes}} | {name: {"routes": value} for name, value in others.items()}
    keys = {name: Key(f"services.{name}.x-pushrod", value) for name, value in services.items()}
    return routing.read(keys, Key("x-pushrod", top))


def route(**keys: Any) -> Route:
    return read({"/a/": keys}).routes[0]


def refused(routes: Any, top: Any = None, **others: Any) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        read(routes, top, **others)
    assert caught.value.hint
    return caught.value


EVERYTHING = {
    "strip_prefix": True,
    "rate_limit": {"rate": "300/min", "burst": 20, "by": "header:X-Api-Key"},
    "cache": {"time": "1m30s", "key": "$host$uri$arg_page", "bypass": ["cookie:session", "header:X-Fresh"]},
    "max_body": "10m",
    "timeout": "5s",
    "stream": True,
    "websocket": True,
    "auth": {"path": "/auth/check", "service": "api", "passes": ["X-User"]},
    "allow": ["203.0.113.0/24", "2001:db8::1"],
    "deny": ["203.0.113.7"],
    "headers": {"X-Robots-Tag": "none"},
}


def test_every_key_of_a_proxied_route_is_read() -> None:
    assert read({"/api": EVERYTHING}, api={}).routes == (
        Route(
            prefix="/api",
            service="web",
            strip=True,
            rate=Rate(300, 60, 20, "X-Api-Key"),
            cache=Cache(90.0, "$host$uri$arg_page", ("cookie:session", "header:X-Fresh")),
            max_body=10 << 20,
            timeout=5.0,
            stream=True,
            websocket=True,
            auth=Auth(service="api", path="/auth/check", passes=("X-User",)),
            allow=("203.0.113.0/24", "2001:db8::1/128"),
            deny=("203.0.113.7/32",),
            headers={"X-Robots-Tag": "none"},
        ),
    )


@pytest.mark.parametrize("name", routing.PLAIN)
def test_a_key_with_a_plain_value_sets_its_field(name: str) -> None:
    key = routing.PLAIN[name]
    written, value = {bool: (True, True), int: ("9k", 9 << 10), float: ("1m5s", 65.0)}[key.type]
    assert route(**{name: written}) == msgspec.structs.replace(Route("/a/", "web"), **{key.field: value})
    with pytest.raises(ManifestError, match=f"`{name}` is for requests to a service"):
        route(redirect="/new/", **{name: written})
    with pytest.raises(ManifestError, match="expected"):
        route(**{name: ["no"]})


def test_short_forms_are_read() -> None:
    assert route() == Route("/a/", service="web")
    assert route(files="./dist/", **{"try": "index.html"}) == Route(
        "/a/", files="dist", fallback="index.html"
    )
    assert route(redirect="/new/") == Route("/a/", redirect="/new/", status=308)
    assert route(redirect={"to": "https://x.example$request_uri", "status": 301}).status == 301
    assert route(rate_limit="50/s").rate == Rate(50, 1, 50)
    assert route(rate_limit="30/min").rate == Rate(30, 60, 1)
    assert route(rate_limit={"rate": "5/s", "burst": 0}).rate == Rate(5, 1, 0)
    assert route(cache=60).cache == Cache(60.0)
    assert route(cache={"time": "1m", "bypass": []}).cache == Cache(60.0, bypass=())
    assert route(auth={"basic": "ADMINS"}).auth == Auth(basic="ADMINS")
    assert route(auth={"path": "/check"}).auth == Auth(service="web", path="/check")


def test_a_grpc_route_is_read() -> None:
    result = read({"/": {"grpc": True, "timeout": "5m"}}, api={"/api/": {}})
    assert result.called == {"web"}
    assert result.routes[-1] == Route("/", service="web", grpc=True, timeout=300.0)


@pytest.mark.parametrize(
    ("key", "value"), [("cache", "1m"), ("stream", True), ("strip_prefix", True), ("websocket", True)]
)
def test_a_key_that_grpc_cannot_use_is_refused(key: str, value: object) -> None:
    error = refused({"/a/": {"grpc": True, key: value}})
    assert error.where == f"services.web.x-pushrod.routes./a/.{key}"
    assert route(grpc=False, **{key: value}).grpc is False


def test_routes_are_sorted_by_prefix_length_and_know_their_service() -> None:
    result = read({"/": {}, "/api/v2": {}}, api={"/api/": {}, "/abc/": {}})
    assert [(r.prefix, r.service) for r in result.routes] == [
        *[("/api/v2", "web"), ("/abc/", "api"), ("/api/", "api"), ("/", "web")]
    ]
    assert result.services == ("api", "web")


def test_sticky_services_and_trusted_proxies_are_read() -> None:
    keys = {
        "web": Key("services.web.x-pushrod", {"sticky": True}),
        "api": Key("services.api.x-pushrod", None),
    }
    result = routing.read(keys, Key("x-pushrod", {"trusted_proxies": ["198.51.100.0/24"]}))
    assert (result.sticky, result.proxies) == (("web",), ("198.51.100.0/24",))


# ---- what is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prefix",
    [
        *["api/", "", "/a b", "/a/../b", "/a/./b", "/..", "//", "/a//b", "/ä", "/a;b", "/a{", '/a"', "/a%20b"],
        *["/a\nb", "/a?b", "/a#b", "~ /a", "= /a", "@a", "/.pushrod", "/.pushrod/x", "/.well-known/acme-challenge/"],
    ],
)  # fmt: skip
def test_an_invalid_prefix_is_refused(prefix: str) -> None:
    error = refused({prefix: {}})
    assert error.what in (f"`{prefix}` is not a route", f"`{prefix}` is reserved by pushrod")
    assert error.where == f"services.web.x-pushrod.routes.{prefix}"


def test_an_unknown_key_is_refused_with_the_nearest_valid_one() -> None:
    error = refused({"/a/": {"ratelimit": "50/s"}})
    assert (error.what, error.where) == (
        "unknown key `ratelimit`",
        "services.web.x-pushrod.routes./a/.ratelimit",
    )
    assert error.hint.startswith("did you mean `rate_limit`?")


@pytest.mark.parametrize("other", ["/api/", "/api"])
def test_a_duplicate_route_in_the_file_is_refused(other: str) -> None:
    error = refused({"/api/": {}}, api={other: {}})
    assert error.what == f"two routes for `{other}`"
    assert error.where == f"services.api.x-pushrod.routes.{other}"
    assert error.hint == "the other is services.web.x-pushrod.routes./api/: leave one of them out"


def test_a_path_with_and_without_its_slash_is_refused() -> None:
    assert refused({"/api/": {}, "/api": {}}).what == "two routes for `/api`"


@pytest.mark.parametrize(
    ("keys", "key", "message"),
    [
        *[
            ({"rate_limit": rate}, "rate_limit", "a rate such as 50/s or 300/min")
            for rate in ("50/min/s", "50", "0/s", "50 /s")
        ],
        *[
            ({"rate_limit": rate}, "rate_limit", "a rate such as")
            for rate in ("-1/s", "1.5/s", "50/h", "1000000/s", "٥/s", "1/s;")
        ],
        ({"rate_limit": {"burst": 1}}, "rate_limit.rate", "a rate such as"),
        ({"rate_limit": {"rate": "1/s", "burst": -1}}, "rate_limit.burst", "a whole number"),
        *[
            ({"rate_limit": {"rate": "1/s", "by": by}}, "rate_limit.by", "`address`, or a header")
            for by in ("header:", "cookie:a", "X-Key", "header:X Key", "header:X;")
        ],
        *[({"cache": time}, "cache", "at least 1s") for time in (0, "500ms")],
        ({"cache": "soon"}, "cache", "a duration"),
        ({"cache": {"key": "$uri"}}, "cache.time", "at least 1s"),
        *[
            ({"cache": {"time": 60, "key": key}}, "cache.key", "text with variables of the request")
            for key in ("$pid", "${uri}", "a b", 'a"b', "$upstream_addr", "a;b", "$http_", "$uri é")
        ],
        *[
            ({"cache": {"time": 60, "bypass": [item]}}, "cache.bypass[0]", "`cookie`, `cookie:NAME` or `header:NAME`")
            for item in ("cookie:", "cookie:a-b", "cookie:ä", "header:", "header:a b", "session", "cookie:a;b")
        ],
        *[({"max_body": size}, "max_body", "a size such as") for size in ("10 mb", "0", "-1", "1t", "big")],
        *[({"timeout": time}, "timeout", "a duration") for time in ("soon", -1, "32d", True)],
        *[({"stream": value}, "stream", "true or false") for value in ("yes", 2)],
        *[
            ({"allow": [net]}, "allow[0]", "an address or a network")
            for net in ("x", "203.0.113.1/24", "1.2.3", "::1%a;b", "all")
        ],
        ({"deny": ["fe80::1%eth0"]}, "deny[0]", "an address or a network"),
        ({"allow": "203.0.113.0/24"}, "allow", "a list"),
        *[
            ({"redirect": to}, "redirect", "a path or an address")
            for to in ("new", "ftp://x", "/a b", "/$uri", '/"', "/a\x01", "/$request_uri/x")
        ],
        ({"redirect": {"status": 301}}, "redirect.to", "where to"),
        ({"redirect": {"to": "/x", "status": 200}}, "redirect.status", "301 or 302"),
        ({"redirect": "/x", "files": "dist"}, "redirect", "either `files` or `redirect`"),
        ({"try": "index.html"}, "try", "nothing: `try` goes with `files`"),
        *[
            ({"files": place}, "files", "a directory inside the repository")
            for place in ("", "/etc", "..", "a/../../b", 'a"b', "a$b", "a\\b")
        ],
        ({"files": "dist", "try": "../index.html"}, "try", "a directory inside the repository"),
        *[({"files": "dist", key: value}, key, "nothing: ") for key, value in (("cache", 60), ("timeout", 5))],
        *[({"auth": {"basic": name}}, "auth.basic", "the name of a secret") for name in ("a b", "1A", "../x", "")],
        ({"auth": {"basic": "A", "path": "/x"}}, "auth", "either `basic`, or `path`"),
        *[
            ({"auth": {"path": path}}, "auth.path", "a path that answers 2xx")
            for path in ("check", "", "/a b", "/a;", "/$uri")
        ],
        ({"auth": {"path": "/x", "service": "other"}}, "auth.service", "one of the services: web"),
        ({"auth": {"path": "/x", "passes": ["X User"]}}, "auth.passes[0]", "the name of a header"),
        *[
            ({"headers": {"X-A": value}}, "headers.X-A", "text without `$`")
            for value in ("$uri", "a\nb", "é", "a" * 1001)
        ],
    ],
)  # fmt: skip
def test_invalid_values_of_a_key_are_refused(keys: Any, key: str, message: str) -> None:
    error = refused({"/a/": keys})
    assert error.where == f"services.web.x-pushrod.routes./a/.{key}"
    assert message in error.what


@pytest.mark.parametrize(
    "name", ["Content-Length", "transfer-encoding", "Connection", "X A", "X-A;", "", "Server"]
)
def test_a_reserved_header_is_refused(name: str) -> None:
    assert refused({"/a/": {"headers": {name: "x"}}}).what == f"`{name}` is not a header that can be added"


@pytest.mark.parametrize("key", ["rate_limit", "auth", "allow", "deny"])
def test_access_control_on_a_redirect_is_refused(key: str) -> None:
    value = {"rate_limit": "1/s", "auth": {"basic": "A"}}.get(key, ["203.0.113.0/24"])
    assert "this route redirects" in refused({"/a/": {"redirect": "/b", key: value}}).what


def test_a_trusted_proxy_must_be_an_address() -> None:
    assert refused({}, {"trusted_proxies": ["lb.example"]}).where == "x-pushrod.trusted_proxies[0]"


@pytest.mark.parametrize("value", [["/api/"], "/api/", {"/api/": "web"}, {"/api/": []}])
def test_routes_must_be_a_mapping(value: Any) -> None:
    assert "expected a mapping" in refused(value).what


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["50/s", "1m", "/x", "dist"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=6), inner, max_size=2),
)
KEYS = st.dictionaries(st.sampled_from([*EVERYTHING, "files", "try", "redirect"]), VALUES, max_size=4)


@pytest.mark.slow
@given(st.dictionaries(st.text(max_size=4) | st.just("/a/"), KEYS | VALUES, max_size=2))
def test_any_document_is_read_or_refused(routes: Any) -> None:
    try:
        read(routes)
    except ManifestError as e:
        assert e.where


# ---- snippets -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "patterns"),
    [
        (None, ()),
        ("./docker/nginx/*.conf", ("docker/nginx/*.conf",)),
        (["a.conf", "b/../c.conf"], ("a.conf", "c.conf")),
    ],
)
def test_patterns_of_snippets_are_read(value: Any, patterns: tuple[str, ...]) -> None:
    assert routing.snippets(Key("x-pushrod", {"nginx": value})) == patterns


@pytest.mark.parametrize(
    "value", ["/etc/nginx/*.conf", "../*.conf", "a/../../*.conf", "", [""], {"a": 1}, [None]]
)
def test_a_pattern_of_a_snippet_outside_the_repository_is_refused(value: Any) -> None:
    with pytest.raises(ManifestError, match="expected") as caught:
        routing.snippets(Key("x-pushrod", {"nginx": value}))
    assert caught.value.where.startswith("x-pushrod.nginx")


# ---- in a whole manifest --------------------------------------------------------------------------------------


def whole(services: dict[str, Any], engine: Any = "embedded", **top: Any) -> Manifest:
    return manifest.read({"name": "shop", "services": services, "x-pushrod": top}, engine=engine)


WEB = {"build": ".", "ports": ["80"], "x-pushrod": {"role": "entry"}}


def test_a_service_with_routes_and_its_snippet_patterns_are_kept() -> None:
    result = whole(
        {"web": WEB, "api": {"build": ".", "x-pushrod": {"routes": {"/api/": {}}}}}, nginx="a.conf"
    )
    assert result.routing.services == ("api",)
    assert result.snippets == ("a.conf",)


@pytest.mark.parametrize(
    ("service", "problem"),
    [
        ({"image": "postgres:17"}, "api"),
        ({"build": ".", "deploy": {"replicas": 0}}, "api"),
        ({"image": "nginx:1"}, "api"),
    ],
)
def test_a_route_needs_a_service_with_instances(service: dict[str, Any], problem: str) -> None:
    with pytest.raises(ManifestError) as caught:
        whole({"web": WEB, "api": {**service, "x-pushrod": {"routes": {"/api/": {}}}}})
    assert problem in caught.value.where


# ---- limits on the shared edge -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("routes", "what"),
    [
        ({f"/r{n}/": {} for n in range(201)}, "201 routes, of at most 200"),
        ({f"/r{n}/": {"redirect": "/"} for n in range(5000)}, "5000 routes"),
        ({f"/r{n}/": {"rate_limit": "5/s"} for n in range(21)}, "21 rates, of at most 20"),
        ({"/": {"allow": [f"10.0.{n}.0/24" for n in range(301)]}}, "expected at most 300 of them"),
        (
            {f"/r{n}/": {"deny": [f"10.{n}.{m}.0/24" for m in range(250)]} for n in range(9)},
            "2250 addresses and networks, of at most 2000",
        ),
        ({"/": {"headers": {f"X-{n}": "a" for n in range(51)}}}, "expected at most 50 of them"),
        (
            {f"/r{n}/": {"headers": {f"X-{m}": "a" for m in range(50)}} for n in range(11)},
            "550 headers, of at most 500",
        ),
        ({"/": {"cache": {"time": "1s", "bypass": ["cookie"] * 21}}}, "expected at most 20 of them"),
        (
            {
                f"/{n}": {"cache": {"time": "1s", "bypass": [f"cookie:a{n}b{m}" for m in range(20)]}}
                for n in range(3)
            },
            "60 conditions of `bypass`",
        ),
        ({"/": {"cache": {"time": "1s", "key": "$uri" * 11}}}, "expected text with variables"),
        ({"/": {"cache": {"time": "1s", "key": "a" * 1001}}}, "expected text of at most 1000 characters"),
        ({"/": {"auth": {"path": "/a", "passes": ["X-A"] * 21}}}, "expected at most 20 of them"),
        ({"/": {"auth": {"path": "/" + "a" * 1000}}}, "expected text of at most 1000 characters"),
        ({"/": {"redirect": "/" + "a" * 1000}}, "expected text of at most 1000 characters"),
        ({"/": {"files": "a" * 1001}}, "expected text of at most 1000 characters"),
        ({"/": {"max_body": "11g"}}, "expected a size of at most 10g"),
        ({"/" + "a" * 1000: {}}, "is not a route"),
    ],
)
def test_the_configuration_size_of_an_app_is_limited(routes: Any, what: str) -> None:
    assert what in refused(routes).what


def test_the_number_of_trusted_proxies_is_limited() -> None:
    networks = [f"10.{n // 256}.{n % 256}.0/24" for n in range(300)]
    assert len(read({}, {"trusted_proxies": networks}).proxies) == 300
    assert "at most 300" in refused({}, {"trusted_proxies": [*networks, "192.0.2.1"]}).what


def test_the_limits_allow_large_ordinary_manifests() -> None:
    routes: Any = {
        f"/r{n}/": {"headers": {"X-A": "a", "X-B": "b"}, "allow": ["10.0.0.0/8"] * 9} for n in range(200)
    }
    assert len(read(routes).routes) == 200
