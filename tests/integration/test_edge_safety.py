"""What one client or app must not do to another through the edge: which claims of a request are passed on."""

import base64
import hashlib
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devtools.servers import free_port
from pushrod.adapters.nginx import Edge
from pushrod.adapters.nginx.headers import DROPPED, FROM_PROXIES
from pushrod.core.site import Site
from pushrod.core.values import Auth, Cache, Route, Routing
from pushrod.system import files
from tests.conftest import spread
from tests.integration.edges import PATIENCE, Started, a_started_edge
from tests.integration.test_bad_requests import Recorder, exchange, statuses

pytestmark = pytest.mark.integration

HOST = "Host: shop.test\r\n"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    with a_started_edge(tmp_path_factory.mktemp("edge")) as made:
        yield made


@pytest.fixture
def edge(started: Started) -> Edge:
    return started.edge


@pytest.fixture
def serve(edge: Edge) -> Callable[..., tuple[int, Recorder]]:
    """Serve the app shop with these routes; yields its port, and what its instance receives."""

    def serve(*routes: Route, port: int = 0, **routing: object) -> tuple[int, Recorder]:
        recorder, port = Recorder(), port or free_port()
        shop = Site(
            "shop",
            1,
            port,
            (recorder.address,),
            ("shop.test",),
            entry="web",
            routing=Routing(routes, **routing),  # type: ignore[arg-type]
            passwords={"ADMINS": password(edge)},
        )
        edge.switch({"shop": shop})
        return port, recorder

    return serve


def password(edge: Edge) -> str:
    """The password file with `ann:correct horse`."""
    salt = b"saltsalt"
    digest = hashlib.sha1(b"correct horse" + salt, usedforsecurity=False).digest()
    owner = (edge.account.uid, edge.account.gid) if edge.account else None
    text = "ann:{SSHA}" + base64.b64encode(digest + salt).decode() + "\n"
    files.make_open(edge.passwords / "shop")
    files.write(edge.passwords / "shop" / "00c0ffee", text, mode=0o600, owner=owner)
    return "00c0ffee"


def get(port: int, path: str = "/", *lines: str) -> bytes:
    head = f"GET {path} HTTP/1.1\r\n{HOST}" + "".join(f"{line}\r\n" for line in lines)
    return exchange(port, f"{head}Connection: close\r\n\r\n")


def sent(recorder: Recorder) -> dict[str, list[str]]:
    """The headers of the last request, in lower case."""
    result: dict[str, list[str]] = {}
    for line in recorder.requests[-1].decode("latin-1").split("\r\n")[1:-2]:
        name, _, value = line.partition(": ")
        result.setdefault(name.lower(), []).append(value)
    return result


def line(recorder: Recorder) -> str:
    return recorder.requests[-1].decode("latin-1").split("\r\n")[0]


# ---- claims about the client
# --------------------------------------------------------------------------------------

KEPT = ("X-Api-Key", "Accept-Language", "Authorization", "X-Csrf-Token", "X-HTTP-Method-Override", "Origin")


def test_forwarding_headers_of_a_client_are_not_passed_on(
    serve: Callable[..., tuple[int, Recorder]],
) -> None:
    port, recorder = serve()
    given_headers = dict.fromkeys((*FROM_PROXIES, *DROPPED, *KEPT), "evil.example")
    assert statuses(get(port, "/", *(f"{name}: {value}" for name, value in given_headers.items()))) == [200]
    seen = sent(recorder)
    assert sorted(k for k, v in seen.items() if "evil.example" in v) == sorted(name.lower() for name in KEPT)
    assert seen["host"] == ["shop.test"]
    assert seen["x-forwarded-for"] == seen["x-real-ip"] == ["127.0.0.1"]


@pytest.mark.parametrize(
    "name", ["X_Forwarded_Host", "X-Forwarded_For", "X.Forwarded.Host", "X-Real_IP", "Proxy_"]
)
def test_alternative_spellings_of_a_header_are_not_passed_on(
    serve: Callable[..., tuple[int, Recorder]], name: str
) -> None:
    """Software that reads headers as CGI does (WSGI, PHP, Rack) takes each of these for the one with dashes."""
    port, recorder = serve()
    assert statuses(get(port, "/", f"{name}: evil.example")) == [200]
    assert b"evil.example" not in recorder.requests[-1]


@pytest.mark.parametrize(
    "names", ["close, X-Real-IP", "X-Forwarded-For, X-Forwarded-Proto, Host", "keep-alive, X-Request-Id"]
)
def test_the_connection_header_cannot_remove_the_edges_headers(
    serve: Callable[..., tuple[int, Recorder]], names: str
) -> None:
    port, recorder = serve()
    exchange(port, f"GET / HTTP/1.1\r\n{HOST}Connection: {names}\r\nTE: trailers\r\nKeep-Alive: 5\r\n\r\n")
    seen = sent(recorder)
    assert {"host", "x-real-ip", "x-forwarded-for", "x-forwarded-proto", "x-request-id"} <= set(seen)
    assert not {"connection", "te", "keep-alive"} & set(seen)


def test_only_an_apps_own_proxies_are_trusted(serve: Callable[..., tuple[int, Recorder]]) -> None:
    passed = [f"{header}: cdn.example" for header in FROM_PROXIES]
    port, recorder = serve(proxies=("127.0.0.1/32",))
    get(port, "/", *passed, "X-Forwarded-For: 192.0.2.7", "X-Rewrite-URL: /admin", "Proxy: evil.example")
    seen = sent(recorder)
    assert all(seen[header.lower()] == ["cdn.example"] for header in FROM_PROXIES)
    assert seen["x-forwarded-for"] == ["192.0.2.7"]
    assert not {"x-rewrite-url", "proxy"} & set(seen)


def test_a_remote_peer_is_not_trusted_as_a_proxy(tmp_path: Path) -> None:
    """The machine's own proxies are trusted about the client; apart from an app's own proxies, no other peer is."""
    with a_started_edge(tmp_path, addresses=("0.0.0.0",)) as made:
        recorder, port = Recorder(), free_port()
        routing = Routing(proxies=("198.51.100.0/24",))
        made.edge.switch(
            {"shop": Site("shop", 1, port, (recorder.address,), ("shop.test",), routing=routing)}
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))
            own = probe.getsockname()[0]
        passed = "".join(f"{header}: evil.example\r\n" for header in (*FROM_PROXIES, "X-Forwarded-For"))
        with socket.create_connection((own, port), timeout=PATIENCE) as s:
            s.sendall(f"GET / HTTP/1.1\r\n{HOST}{passed}Connection: close\r\n\r\n".encode())
            assert s.recv(12) == b"HTTP/1.1 200"
        assert b"evil.example" not in recorder.requests[-1]


# ---- shared caches
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "path"),
    [
        ("X-Forwarded-Host: evil.example", "/c/a"),
        ("X-Forwarded-Port: 1337", "/c/a"),
        ("X-Forwarded-Prefix: /evil", "/c/a"),
        ("Forwarded: host=evil.example", "/c/a"),
        ("X-Original-Host: evil.example", "/c/a"),
        ("X-Rewrite-URL: /c/evil", "/c/a"),
        ("X-Original-URL: /c/evil", "/c/a"),
        ("X-Forwarded-Proto: https", "/c/a"),
        ("Host: shop.test:1337", "/c/a"),
        ("Host: SHOP.test", "/c/a"),
        ("", "/c//a"),
        ("", "/c/%61"),
        ("", "/c/x/../a"),
        ("", "http://shop.test:1337/c/a"),
    ],
)
@pytest.mark.parametrize("key", [Cache(60).key, "$uri"])
@pytest.mark.parametrize("proxies", [(), ("127.0.0.0/8",)], ids=["alone", "behind a proxy"])
def test_a_cached_answer_is_not_given_to_a_different_request(
    serve: Callable[..., tuple[int, Recorder]], first: str, path: str, key: str, proxies: tuple[str, ...]
) -> None:
    """What an app can see of a request, and use in its answer, distinguishes answers; other things do not."""
    port, recorder = serve(Route("/c/", service="web", cache=Cache(60, key)), proxies=proxies)
    once = secrets.token_hex(4)
    own = first if first.startswith("Host:") else HOST.strip()
    extra = "" if first.startswith("Host:") or not first else f"{first}\r\n"
    exchange(port, f"GET {path}{once} HTTP/1.1\r\n{own}\r\n{extra}Connection: close\r\n\r\n")
    passed = (
        {k: v for k, v in sent(recorder).items() if k not in ("x-request-id", "connection")},
        line(recorder),
    )
    answer = get(port, f"/c/a{once}")
    if b"X-Cache-Status: HIT" not in answer:
        assert b"X-Cache-Status: MISS" in answer
        return
    get(port, f"/c/a{once}", "Cookie: fresh=1")
    plain = {k: v for k, v in sent(recorder).items() if k not in ("x-request-id", "connection", "cookie")}
    assert passed == (plain, line(recorder))


def test_equal_requests_share_a_cached_answer(serve: Callable[..., tuple[int, Recorder]]) -> None:
    port, recorder = serve(Route("/c/", service="web", cache=Cache(60)))
    for _ in range(3):
        answer = get(port, "/c/still")
    assert b"X-Cache-Status: HIT" in answer
    assert len(recorder.requests) == 1


# ---- bypassing a password
# -----------------------------------------------------------------------------------------

ADMIN = Route("/admin/", service="web", auth=Auth(basic="ADMINS"))
OFFICE = Route("/office", service="web", allow=("192.0.2.0/24",))
CLOSED = (ADMIN, OFFICE, Route("/admin/public/", service="web"))
SPELLINGS = (
    "/admin/",
    "/admin/x",
    "//admin/",
    "/./admin/",
    "/x/../admin/",
    "/%61dmin/",
    "/admin%2fx",
    "/%2fadmin/x",
    "/%2Fadmin%2F",
    "/ADMIN/",
    "/Admin/x",
    "/aDmin",
    "/admin;x/",
    "/admin;x=1/y",
    "/admin;",
    "/;x/admin/",
    "/;/;/admin/",
    "/.;/admin/",
    "/x/..;/admin/",
    "/x/..;y=1/admin/",
    "/admin/public/..;/x",
    "/admin/public/..%3b/x",
    "/admin/public/..;",
    "/%2561dmin/",
    "/%2541DMIN/x",
    "/admin%252fx",
    "/x%252f..%252fadmin/",
    "/x/%252e%252e/admin/",
    "/admin%253bx/",
    "/\\admin/",
    "/admin\\x",
    "/x\\..\\admin\\",
    "/%5cadmin/",
    "/x/..%5cadmin/",
    "/admin/..%2fopen",
    "/admin/../open",
    "/admin/x/..%2f..%2fopen",
    "/admin/%2e%2e/open",
    "/admin/public/../x",
    "/admin/public/..%2fx",
    "/admin/./x",
    "/OFFICE",
    "/office;x",
    "/office/x",
    "//office",
    "/Office/x",
    "/office;a=b/c",
    "/%256fffice",
    "/office",
    "/office?x",
    "/admin?x",
    "/admin;?x",
    "/ADMIN?/../x",
    "/admin/\t",
    "/admin/%00",
    "http://shop.test/admin/",
    "http://shop.test//ADMIN",
)


@pytest.mark.parametrize("path", spread(SPELLINGS, 28))
@pytest.mark.parametrize(
    "lines", [(), ("Upgrade: websocket", "Sec-WebSocket-Version: 13")], ids=["", "websocket"]
)
def test_no_spelling_of_a_closed_path_reaches_the_app(
    serve: Callable[..., tuple[int, Recorder]], path: str, lines: tuple[str, ...]
) -> None:
    """However an app interprets a path: case, parameters, dots, backslashes, encoded once or twice."""
    port, recorder = serve(*CLOSED)
    answer = exchange(
        port,
        f"GET {path} HTTP/1.1\r\n{HOST}" + "".join(f"{x}\r\n" for x in lines) + "Connection: upgrade\r\n\r\n",
    )
    assert statuses(answer)[0] in (301, 400, 401, 403, 404), path
    assert recorder.requests == []


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/x",
        "/adminx",
        "/administrator/",
        "/x/admin/",
        "/officer",
        "/admin.json",
        "/;jsessionid=1",
        "/a;v=1/b",
        "/admin/public/x",
        "/100%25",
        "/a%20b",
        "/a%2Fb",
        "/a/b..c/d",
        "/.well-known/x",
        "/a/.../b",
        "/?x=/../admin",
        "/x?p=..%2f",
        "/x?p=%5c&q=%252e",
        "/a..;b",
        "/%2520",
        "/q/50%25off",
    ],
)
def test_an_open_path_is_passed_on_as_it_was_sent(
    serve: Callable[..., tuple[int, Recorder]], path: str
) -> None:
    port, recorder = serve(*CLOSED)
    assert statuses(get(port, path)) == [200]
    assert line(recorder) == f"GET {path} HTTP/1.1"


def test_a_request_with_the_password_is_passed_on(serve: Callable[..., tuple[int, Recorder]]) -> None:
    port, recorder = serve(*CLOSED)
    given = base64.b64encode(b"ann:correct horse").decode()
    assert statuses(get(port, "/admin/x;y=1?z", f"Authorization: Basic {given}")) == [200]
    assert line(recorder) == "GET /admin/x;y=1?z HTTP/1.1"
    wrong = base64.b64encode(b"ann:wrong").decode()
    assert statuses(get(port, "/admin/x", f"Authorization: Basic {wrong}")) == [401]


def test_a_site_without_closed_routes_accepts_any_path(serve: Callable[..., tuple[int, Recorder]]) -> None:
    port, recorder = serve(Route("/a/", service="web"))
    for path in ("/x/../ADMIN;x/", "/a\\b", "/a/%252e%252e/x"):
        assert statuses(get(port, path)) == [200]
        assert line(recorder) == f"GET {path} HTTP/1.1"


# ---- a path without its prefix ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "x",
        "a%2Fb",
        "a//b",
        "/b",
        "a%3Bb",
        "a%0Ab",
        "a%20b",
        "a;b",
        "%41",
        "a%2fb?c=%2F&d",
        "?x",
        "é",
        "a%E2%82%AC",
        "a+b",
        "a%252Fb",
        "a%5Cb",
        "x?y=/../z",
        "a%3Fb?c",
        "a%23b",
        "a%25b",
        "b/..c",
        "...",
        "a:b@c!$&'()*,=~",
    ],
)
def test_a_prefix_is_stripped_and_nothing_else_is_changed(
    serve: Callable[..., tuple[int, Recorder]], rest: str
) -> None:
    port, recorder = serve(Route("/api/", service="web", strip=True), Route("/v1", service="web", strip=True))
    raw = rest.encode().decode("latin-1")
    for prefix in ("/api/", "/v1/", "/%61pi/", "//api/", "/%2Fa%70i/"):
        assert statuses(get(port, prefix + raw)) == [200]
        assert line(recorder) == f"GET /{raw} HTTP/1.1", prefix
    assert statuses(get(port, "/v1?x=%2F")) == [200]
    assert line(recorder) == "GET /?x=%2F HTTP/1.1"


@pytest.mark.parametrize(
    ("path", "passed"),
    [
        ("/api/a/../b", "/b"),
        ("/api/../api/b?c", "/b?c"),
        ("/api/%2e%2e/api/b", "/b"),
        ("/x/../api/a%20b", "/a%20b"),
        ("/api/a/..%2fb", "/b"),
    ],
)
def test_dot_segments_do_not_lead_out_of_the_prefix(
    serve: Callable[..., tuple[int, Recorder]], path: str, passed: str
) -> None:
    port, recorder = serve(Route("/api/", service="web", strip=True))
    assert statuses(get(port, path)) == [200]
    assert line(recorder) == f"GET {passed} HTTP/1.1"


def test_internal_rewrites_into_a_prefix_are_respected(
    serve: Callable[..., tuple[int, Recorder]],
) -> None:
    own = "rewrite ^/old/(.*)$ /api/$1 last;\nlocation = /api/moved { rewrite ^ /api/new last; }\n"
    port, recorder = serve(Route("/api/", service="web", strip=True), snippets={"own.conf": own})
    for path, passed in (("/old/x?y", "/x?y"), ("/api/moved", "/new"), ("/api/a%2Fb", "/a%2Fb")):
        assert statuses(get(port, path)) == [200]
        assert line(recorder) == f"GET {passed} HTTP/1.1"


# ---- redirected names --------------------------------------------------------------------------------------------


def test_a_redirected_name_leads_to_another(edge: Edge) -> None:
    recorder, port = Recorder(), free_port()
    names = ("shop.test", "www.shop.test", "old.test")
    routing = Routing(redirects={"www.shop.test": "shop.test", "old.test": "shop.test"})
    edge.switch({"shop": Site("shop", 1, port, (recorder.address,), names, routing=routing, challenges=True)})
    for name in names[1:]:
        answer = exchange(port, f"GET /a%2Fb?c=d HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n")
        assert statuses(answer) == [308]
        assert f"Location: http://shop.test:{port}/a%2Fb?c=d\r\n".encode() in answer
    files.write(edge.challenges / ".well-known" / "acme-challenge" / "token", "proof")
    asked = "GET /.well-known/acme-challenge/token HTTP/1.1\r\nHost: old.test\r\nConnection: close\r\n\r\n"
    assert exchange(port, asked).endswith(b"proof")
    assert statuses(get(port)) == [200]
