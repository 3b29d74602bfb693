"""Routes with a real nginx in front of real backends: each key of a route works as the manifest page says."""

import base64
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devtools.servers import free_port
from pushrod.adapters.nginx import Edge
from pushrod.core.site import Site
from pushrod.core.values import Auth, Cache, Maintenance, Rate, Route, Routing
from pushrod.system import files
from tests.integration.edges import PATIENCE, Answer, Backend, ask

pytestmark = pytest.mark.integration

Make = Callable[[str], Backend]


def serve(edge: Edge, entry: Backend, *routes: Route, release: int = 1, **more: Any) -> int:
    """Serve the app `shop` with these routes, on its own port."""
    port = more.pop("port", 0) or free_port()
    routing = Routing(routes=routes, **more.pop("routing", {}))
    made = Site(
        app="shop",
        release=release,
        port=port,
        backends=more.pop("backends", (entry.address,)),
        entry="web",
        routing=routing,
        **more,
    )
    edge.switch({"shop": made})
    return port


def publish(edge: Edge, release: int, number: int, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        files.write(edge.static / "shop" / str(release) / str(number) / name, text)


# ---- where requests go --------------------------------------------------------------------------------------


def test_the_longest_prefix_wins_and_other_requests_reach_the_entry(edge: Edge, backend: Make) -> None:
    web, api, admin = backend("web"), backend("api"), backend("admin")
    routes = (Route("/api/admin", service="admin"), Route("/api/", service="api"))
    others = {"api": (api.address,), "admin": (admin.address,)}
    port = serve(edge, web, *routes, others=others)
    asked = {
        p: ask(port, p).body
        for p in ("/", "/api/x", "/api/admin", "/api/admin/x", "/api/administrator", "/apis")
    }
    assert asked == {
        **{"/": "web", "/api/x": "api", "/api/admin": "admin", "/api/admin/x": "admin"},
        **{"/api/administrator": "api", "/apis": "web"},
    }


def test_a_prefix_is_stripped_if_requested(edge: Edge, backend: Make) -> None:
    port = serve(
        edge,
        backend("web"),
        Route("/a.b/", service="web", strip=True),
        Route("/c", service="web", strip=True),
    )
    assert json.loads(ask(port, "/a.b/headers").body)
    assert ask(port, "/a.b/refuse").status == 503
    assert ask(port, "/c/refuse").status == 503
    assert ask(port, "/axb/refuse").status == 200
    assert ask(port, "/c").body == "web"


def test_a_redirect_has_its_status_and_location(edge: Edge, backend: Make) -> None:
    routes = (
        Route("/old/", redirect="/new/", status=301),
        Route("/www/", redirect="https://a.example$request_uri"),
    )
    port = serve(edge, backend("web"), *routes)
    one, other = ask(port, "/old/x"), ask(port, "/www/x?y=1")
    assert (one.status, one.headers["Location"]) == (301, "/new/")
    assert (other.status, other.headers["Location"]) == (308, "https://a.example/www/x?y=1")


# ---- access and rates ------------------------------------------------------------------------------------------


def test_requests_above_the_rate_get_429_with_retry_after(edge: Edge, backend: Make) -> None:
    route = Route("/api/", service="web", rate=Rate(1, 60, burst=2))
    port = serve(edge, backend("web"), route)
    answers = [ask(port, "/api/") for _ in range(5)]
    assert [a.status for a in answers] == [200, 200, 200, 429, 429]
    assert answers[-1].headers["Retry-After"] == "1"
    assert answers[-1].body.startswith("429: shop gets too many requests.")
    assert ask(port, "/").status == 200


def test_a_rate_by_a_header_counts_each_value_of_it(edge: Edge, backend: Make) -> None:
    route = Route("/api/", service="web", rate=Rate(1, 60, header="X-Api-Key"))
    port = serve(edge, backend("web"), route)
    asked = [ask(port, "/api/", X_Api_Key=key).status for key in ("a", "a", "b")]
    assert asked == [200, 429, 200]
    assert [ask(port, "/api/").status for _ in range(2)] == [200, 429]


def test_a_rate_survives_a_switch_and_can_be_changed(edge: Edge, backend: Make) -> None:
    web = backend("web")
    port = serve(edge, web, Route("/api/", service="web", rate=Rate(1, 60)))
    assert [ask(port, "/api/").status for _ in range(2)] == [200, 429]
    serve(edge, web, Route("/api/", service="web", rate=Rate(2, 60)), port=port, release=2)
    assert ask(port, "/api/").status == 429
    serve(edge, web, Route("/api/", service="web", rate=Rate(1, 60, header="X-Key")), port=port, release=3)
    assert ask(port, "/api/").status == 200


def test_addresses_are_allowed_or_denied(edge: Edge, backend: Make) -> None:
    routes = (
        Route("/in/", service="web", allow=("203.0.113.0/24",)),
        Route("/out/", service="web", deny=("203.0.113.7/32",)),
    )
    port = serve(edge, backend("web"), *routes)

    def asked(path: str, address: str) -> int:
        return ask(port, path, X_Forwarded_For=address).status

    assert (asked("/in/", "203.0.113.9"), asked("/in/", "198.51.100.1")) == (200, 403)
    assert (asked("/out/", "203.0.113.7"), asked("/out/", "198.51.100.1")) == (403, 200)


def test_a_password_is_required(edge: Edge, backend: Make) -> None:
    digest = "{SSHA}" + base64.b64encode(bytes.fromhex("8843d7f92416211de9ebb963ff4ce28125932878")).decode()
    account = edge.account
    owner = (account.uid, account.gid) if account else None
    files.write(edge.passwords / "shop" / "00c0ffee", f"ann:{digest}\n", mode=0o600, owner=owner)
    auth = Auth(basic="ADMINS")
    port = serve(
        edge, backend("web"), Route("/admin/", service="web", auth=auth), passwords={"ADMINS": "00c0ffee"}
    )

    def asked(words: str) -> Answer:
        return ask(port, "/admin/", Authorization=f"Basic {base64.b64encode(words.encode()).decode()}")

    assert ask(port, "/admin/").status == 401
    assert ask(port, "/admin/").headers["WWW-Authenticate"] == 'Basic realm="shop"'
    assert asked("ann:wrong").status == 401
    assert asked("ann:foobar").status == 200


def test_an_auth_service_decides_about_access(edge: Edge, backend: Make) -> None:
    """The backend `auth` answers 200 with the request it received, or 503 at /refuse, which admits nobody."""
    web, judge = backend("web"), backend("judge")
    routes = (
        Route("/open/", service="web", auth=Auth(service="auth", path="/headers", passes=("X-Request-Id",))),
        Route("/shut/", service="web", auth=Auth(service="auth", path="/refuse")),
    )
    port = serve(edge, web, *routes, others={"auth": (judge.address,)})
    assert ask(port, "/open/x").body == "web"
    assert ask(port, "/shut/x").status == 500


def test_a_websocket_is_authorized_by_a_plain_request(edge: Edge, backend: Make) -> None:
    web, judge = backend("web"), backend("judge")
    route = Route(
        "/chat/", service="web", auth=Auth(service="auth", path="/headers", passes=("X-Request-Id",))
    )
    port = serve(edge, web, route, others={"auth": (judge.address,)})
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as s:
        s.sendall(b"GET /chat/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        assert s.recv(100).startswith(b"HTTP/1.1 101 ")


# ---- how they are passed on -----------------------------------------------------------------------------------


def test_an_answer_is_cached_for_its_time_except_with_cookies(edge: Edge, backend: Make) -> None:
    web = backend("web")
    port = serve(edge, web, Route("/c/", service="web", cache=Cache(60)))
    first, second = ask(port, "/c/x"), ask(port, "/c/x")
    assert (first.headers["X-Cache-Status"], second.headers["X-Cache-Status"]) == ("MISS", "HIT")
    assert ask(port, "/c/x", Cookie="a=0").headers["X-Cache-Status"] == "BYPASS"
    assert ask(port, "/c/x", Authorization="0").headers["X-Cache-Status"] == "BYPASS"
    assert ask(port, "/c/y", Cookie="a=0").headers["X-Cache-Status"] == "BYPASS"
    assert ask(port, "/c/y").headers["X-Cache-Status"] == "MISS"
    serve(edge, web, Route("/c/", service="web", cache=Cache(60)), port=port, release=2)
    assert ask(port, "/c/x").headers["X-Cache-Status"] == "MISS"


def test_one_request_fills_the_cache_for_all_waiting_ones(edge: Edge, backend: Make) -> None:
    web = backend("web")
    port = serve(edge, web, Route("/slow", service="web", cache=Cache(60)))
    answers: list[Answer] = []
    asking = [
        threading.Thread(target=lambda: answers.append(ask(port, "/slow")), daemon=True) for _ in range(5)
    ]
    for thread in asking:
        thread.start()
    assert web.asked.wait(PATIENCE)
    web.may_answer.set()
    for thread in asking:
        thread.join(PATIENCE)
    assert sorted(a.headers["X-Cache-Status"] for a in answers) == ["HIT"] * 4 + ["MISS"]


def test_the_body_size_is_limited_per_route(edge: Edge, backend: Make) -> None:
    port = serve(edge, backend("web"), Route("/small/", service="web", max_body=10))
    assert ask(port, "/small/", "POST", "1234567890").status == 200
    assert ask(port, "/small/", "POST", "12345678901").status == 413
    assert ask(port, "/", "POST", "12345678901").status == 200


def test_an_app_slower_than_the_timeout_of_its_route_gives_504(edge: Edge, backend: Make) -> None:
    port = serve(edge, backend("web"), Route("/slow", service="web", timeout=0.2))
    assert ask(port, "/slow").status == 504


def test_a_stream_closes_its_connection(edge: Edge, backend: Make) -> None:
    """Otherwise the next request would reach, through a draining worker, the instance that has just ended it."""
    port = serve(edge, backend("web"), Route("/events", service="web", stream=True))
    assert ask(port, "/events").headers["Connection"] == "close"
    assert ask(port, "/other").headers["Connection"] == "keep-alive"


def test_headers_are_added_and_an_apps_own_are_not_doubled(edge: Edge, backend: Make) -> None:
    port = serve(edge, backend("web"), Route("/", service="web", headers={"X-Robots-Tag": 'none, "all"'}))
    headers = ask(port, "/").headers
    assert headers["X-Robots-Tag"] == 'none, "all"'
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "SAMEORIGIN"
    assert headers["Referrer-Policy"] == "strict-origin-when-cross-origin"
    assert headers["X-Pushrod-Release"] == "1"


def test_a_client_sticks_to_its_instance(edge: Edge, backend: Make) -> None:
    one, two = backend("one"), backend("two")
    more: Any = {"backends": (one.address, two.address), "routing": {"sticky": ("web",)}}
    port = serve(edge, one, Route("/", service="web"), **more)
    first = ask(port, "/")
    cookie = first.headers["Set-Cookie"].split(";")[0]
    assert cookie.startswith("pushrod_shop_web=")
    again = [ask(port, "/", Cookie=cookie) for _ in range(6)]
    assert {a.body for a in again} == {first.body}
    assert not any("Set-Cookie" in a.headers for a in again)


def test_a_client_of_an_unavailable_instance_gets_another_one(edge: Edge, backend: Make) -> None:
    one = backend("one")
    more: Any = {"backends": (one.address, f"127.0.0.1:{free_port()}"), "routing": {"sticky": ("web",)}}
    port = serve(edge, one, Route("/", service="web"), **more)
    answer = ask(port, "/", Cookie="pushrod_shop_web=2")
    assert (answer.status, answer.body) == (200, "one")
    assert answer.headers["Set-Cookie"] == "pushrod_shop_web=1; Path=/; HttpOnly; SameSite=Lax"


# ---- files ----------------------------------------------------------------------------------------------------


def test_files_of_the_commit_are_served(edge: Edge, backend: Make) -> None:
    publish(
        edge, 1, 0, {"index.html": "home", "docs/index.html": "docs", "a.css": "a", "app-BWgbA4nX.js": "js"}
    )
    port = serve(edge, backend("web"), Route("/", files="frontend"))
    assert (ask(port, "/").body, ask(port, "/").headers["Content-Type"]) == ("home", "text/html")
    assert ask(port, "/a.css").headers["Content-Type"] == "text/css"
    assert ask(port, "/a.css").headers["Cache-Control"] == "no-cache"
    assert ask(port, "/app-BWgbA4nX.js").headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert ask(port, "/docs/").body == "docs"
    moved = ask(port, "/docs?x=1")
    assert (moved.status, moved.headers["Location"]) == (308, "/docs/?x=1")
    missing = ask(port, "/nothing-BWgbA4nX.js")
    assert missing.status == 404
    assert "immutable" not in missing.headers.get("Cache-Control", "")
    assert ask(port, "/a.css", "POST", "x").status == 405
    tag = ask(port, "/a.css").headers["ETag"]
    assert ask(port, "/a.css", If_None_Match=tag).status == 304


def test_hashed_files_of_an_earlier_release_are_still_served(edge: Edge, backend: Make) -> None:
    publish(edge, 1, 0, {"index.html": "one"})
    files.write(edge.static / "shop" / "pool" / "app-0000aaaa.js", "old")
    port = serve(edge, backend("web"), Route("/", files="frontend", fallback="index.html"))
    old = ask(port, "/app-0000aaaa.js")
    assert (old.status, old.body) == (200, "old")
    assert old.headers["Cache-Control"] == "public, max-age=31536000, immutable"


def test_the_fallback_is_served_for_pages_but_not_for_hashed_files(edge: Edge, backend: Make) -> None:
    publish(edge, 1, 0, {"shop/index.html": "the page", "shop/a.css": "a"})
    port = serve(edge, backend("web"), Route("/shop/", files="frontend", fallback="index.html"))
    page = ask(port, "/shop/basket/7")
    assert (page.status, page.body, page.headers["Cache-Control"]) == (200, "the page", "no-cache")
    assert ask(port, "/shop/app-0000aaaa.js").status == 404
    assert ask(port, "/elsewhere").body == "web"


@pytest.mark.parametrize(
    "path", ["/../../edge/sites.json", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/nginx.conf", "//etc/passwd"]
)
def test_no_path_leads_out_of_the_served_directory(edge: Edge, backend: Make, path: str) -> None:
    publish(edge, 1, 0, {"index.html": "home"})
    port = serve(edge, backend("web"), Route("/", files="frontend"))
    assert ask(port, path).status in (400, 404)


# ---- redirects ---------------------------------------------------------------------------------------------------


def test_maintenance_allows_the_named_addresses(edge: Edge, backend: Make) -> None:
    closed = Maintenance(allow=("203.0.113.0/24",), retry_after=600)
    publish(edge, 1, 0, {"files/a.txt": "a"})
    port = serve(edge, backend("web"), Route("/files/", files="f"), maintenance=closed)
    for path in ("/", "/files/a.txt"):
        answer = ask(port, path)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "600")
        assert answer.headers["Cache-Control"] == "no-store"
    assert answer.body.startswith("503: shop is closed for maintenance.")
    assert ask(port, "/", X_Forwarded_For="203.0.113.9").body == "web"
    page = ask(port, "/", Accept="text/html,*/*")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<h1>shop is closed for maintenance.</h1>" in page.body
    assert "<meta http-equiv=refresh content=600>" in page.body
    assert ask(port, "/.pushrod/page").status == 404


def test_an_app_without_its_ready_marker_is_starting(edge: Edge, backend: Make, tmp_path: Path) -> None:
    mark = edge.runtime / "up"
    port = serve(edge, backend("web"), ready_marker=str(mark))
    assert (ask(port, "/").status, ask(port, "/").body[:20]) == (503, "503: shop is startin")
    mark.touch()
    assert ask(port, "/").body == "web"


def test_snippets_are_part_of_the_server(edge: Edge, backend: Make) -> None:
    lines = "location = /hello { return 200 hi; }\n"
    port = serve(edge, backend("web"), routing={"snippets": {"own.conf": lines}})
    assert ask(port, "/hello").body == "hi"


def test_trusted_proxies_determine_the_client_address(edge: Edge, backend: Make) -> None:
    port = serve(edge, backend("web"), routing={"proxies": ("198.51.100.0/24",)})
    sent = ask(port, "/headers", X_Forwarded_For="203.0.113.9, 198.51.100.7", X_Forwarded_Proto="https")
    assert json.loads(sent.body)["X-Real-IP"] == "203.0.113.9"
    other = ask(port, "/headers", X_Forwarded_For="203.0.113.9, 192.0.2.7")
    assert json.loads(other.body)["X-Real-IP"] == "192.0.2.7"
