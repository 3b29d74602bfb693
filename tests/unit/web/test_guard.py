"""Forged hosts, cookies, origins and forms reach no page."""

import re

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from pushrod.web import access
from pushrod.web.guard import Hosts, Limiter
from tests.unit.web.conftest import HOST, ORIGIN, Web

POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; "


def seal(client: TestClient) -> str:
    match = re.search(r'name="seal" value="([0-9a-f]{64})"', client.get("/").text)
    assert match
    return match[1]


def test_nobody_sees_anything_without_a_session(web: Web) -> None:
    for path in ("/", "/apps/shop", "/apps/other", "/nothing"):
        answer = web.client().get(path)
        assert (answer.status_code, "shop" in answer.text) == (401, False)


def test_a_link_shows_a_button_and_the_button_makes_a_session(web: Web) -> None:
    token, client = web.who.invite("ann", "viewer"), web.client()
    assert token in client.get(f"/enter?link={token}").text
    answer = client.post("/enter", data={"link": token}, headers={"origin": ORIGIN})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    given = answer.headers["set-cookie"]
    assert re.fullmatch(r"pushrod=[\w-]{43}; Path=/; Max-Age=604800; HttpOnly; SameSite=Strict", given)
    assert client.get("/").status_code == 200


def test_the_cookie_behind_a_domain_is_bound_to_it(web: Web) -> None:
    web.domain = "ops.example.com"
    client = web.client("https://ops.example.com")
    token = web.who.invite("ann", "viewer")
    answer = client.post("/enter", data={"link": token}, headers={"origin": "https://ops.example.com"})
    assert re.fullmatch(r"__Host-pushrod=\S+ .*; Secure", answer.headers["set-cookie"])
    assert client.get("/").status_code == 200


def test_a_link_that_was_used_makes_no_session(web: Web) -> None:
    token = web.who.invite("ann", "viewer")
    assert web.who.enter(token)
    answer = web.client().post("/enter", data={"link": token}, headers={"origin": ORIGIN})
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


@pytest.mark.parametrize(
    "cookie",
    [
        "pushrod=",
        "pushrod=x",
        "pushrod={other}",
        "pushrod={session}; pushrod={session}",
        "pushrod={session}x",
        "Pushrod={session}",
        "__Host-pushrod={session}",
        'pushrod="{session}',
        "pushrod=../access.json",
        "pushrod=%00",
        "pushrod={digest}",
    ],
)
def test_a_forged_cookie_is_nobodys(cookie: str, web: Web) -> None:
    session = web.who.enter(web.who.invite("ann", "viewer"))
    digest = re.search(r'"digest": "(\w+)"', web.who.path.read_text())
    assert digest
    value = cookie.format(session=session, other="A" * 43, digest=digest[1])
    assert web.client().get("/", headers={"cookie": value}).status_code == 401
    assert web.client().get("/", headers={"cookie": f"pushrod={session}"}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example:9181",
        "0123456789abcdef.pushrod.localhost.evil.example:9181",
        "pushrod.localhost:9181",
        "a.pushrod.localhost:9181",
        "127.0.0.1:9181",
        "localhost:9181",
        "",
        "0123456789abcdef.pushrod.localhost",
        "0123456789abcdef.pushrod.localhost:9181:1",
        "0123456789abcdef.pushrod.localhost:x",
        "shop.localhost:9181",
        "ops.example.com",
    ],
)
def test_another_host_is_refused(host: str, web: Web) -> None:
    answer = web.visitor().get("/", headers={"host": host})
    assert (answer.status_code, "shop" in answer.text) == (421, False)


def test_the_name_on_loopback_is_new_for_each_run() -> None:
    """An app that knew it could lead visitors to it at its own port, and receive their cookies."""
    names = {access.loopback_name() for _ in range(9)}
    assert len(names) == 9
    assert all(map(access.is_loopback_name, names))


@pytest.mark.parametrize(
    "headers",
    [
        {"x-forwarded-host": HOST, "host": "evil.example"},
        {"forwarded": f"host={HOST}", "host": "evil.example"},
        {"x-original-url": "/apps/shop", "x-rewrite-url": "/apps/shop"},
        {"x-real-ip": "127.0.0.1", "x-forwarded-for": "127.0.0.1", "x-forwarded-user": "ann"},
        {"authorization": "Basic cm9vdDpyb290", "remote-user": "root"},
        {"x-http-method-override": "POST"},
    ],
)
def test_no_header_stands_for_a_session(headers: dict[str, str], web: Web) -> None:
    assert web.client().get("/", headers=headers).status_code in (401, 421)


@pytest.mark.parametrize(
    ("headers", "form"),
    [
        ({}, {"seal": "{seal}"}),
        ({"origin": "null"}, {"seal": "{seal}"}),
        ({"origin": "http://127.0.0.1:8000"}, {"seal": "{seal}"}),
        ({"origin": "http://0123456789abcdef.pushrod.localhost:8000"}, {"seal": "{seal}"}),
        ({"origin": f"{ORIGIN}.evil.example"}, {"seal": "{seal}"}),
        ({"origin": ORIGIN, "sec-fetch-site": "same-site"}, {"seal": "{seal}"}),
        ({"origin": ORIGIN, "sec-fetch-site": "cross-site"}, {"seal": "{seal}"}),
        ({"origin": ORIGIN}, {}),
        ({"origin": ORIGIN}, {"seal": ""}),
        ({"origin": ORIGIN}, {"seal": "{other}"}),
        ({"origin": ORIGIN}, {"seal": "ä"}),
    ],
)
def test_a_form_that_is_not_ours_changes_nothing(
    headers: dict[str, str], form: dict[str, str], web: Web
) -> None:
    client, other = web.visitor(), web.visitor(name="eve")
    values = {"seal": seal(client), "other": seal(other)}
    data = {k: v.format(**values) for k, v in form.items()}
    assert client.post("/leave", data=data, headers=headers).status_code == 403
    assert client.get("/").status_code == 200


def test_a_form_of_ours_is_accepted_and_leaving_ends_the_session(web: Web) -> None:
    client = web.visitor()
    answer = client.post("/leave", data={"seal": seal(client)}, headers={"origin": ORIGIN})
    assert answer.status_code == 200
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert client.get("/").status_code == 401


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"seal=" + b"x" * 70_000, "application/x-www-form-urlencoded", 413),
        (b'{"seal": 1}', "application/json", 403),
        (b"\xff\xfe=1", "application/x-www-form-urlencoded", 403),
        (b"&".join(b"a%d=1" % n for n in range(100)), "application/x-www-form-urlencoded", 403),
    ],
)
def test_another_body_is_no_form(content: bytes, kind: str, status: int, web: Web) -> None:
    answer = web.visitor().post("/leave", content=content, headers={"origin": ORIGIN, "content-type": kind})
    assert answer.status_code == status


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT", "X"])
def test_other_methods_are_refused(method: str, web: Web) -> None:
    assert web.visitor().request(method, "/").status_code == 405


def test_log_ins_are_limited(web: Web) -> None:
    client = web.client()
    tries = [
        client.post("/enter", data={"link": "x" * 43}, headers={"origin": ORIGIN}).status_code
        for _ in range(11)
    ]
    assert tries == [403] * 10 + [429]
    assert web.client().get("/").status_code == 401
    link = web.who.invite("lena", "viewer")  # whoever guesses keeps nobody out who has one
    entered = client.post("/enter", data={"link": link}, headers={"origin": ORIGIN}, follow_redirects=False)
    assert entered.status_code == 303


def test_a_client_has_its_own_limit_and_all_have_one() -> None:
    limiter = Limiter(most=2)
    assert [limiter.allows("a") for _ in range(3)] == [True, True, False]
    assert limiter.allows("b")
    assert sum(limiter.allows(str(n)) for n in range(40)) == 17


@pytest.mark.parametrize("path", ["/", "/enter", "/static/style.css", "/nothing"])
def test_every_answer_is_closed(path: str, web: Web) -> None:
    headers = web.visitor().get(path).headers
    assert headers["content-security-policy"].startswith(POLICY)
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert "server-timing" in headers
    assert headers["cache-control"] == ("public, max-age=300" if "static" in path else "no-store")


def test_a_web_socket_is_refused(web: Web) -> None:
    with pytest.raises(WebSocketDisconnect) as caught, web.client().websocket_connect("/"):
        pass
    assert caught.value.code == 1008


def test_the_origin_of_a_domain_has_no_port() -> None:
    hosts = Hosts(9181, "ops.example.com")
    assert hosts.of("OPS.example.com", edge=True) == "https://ops.example.com"
    assert hosts.of("ops.example.com:443", edge=True) == ""
    name = "0123456789abcdef.pushrod.localhost:4000"
    assert hosts.of(name, edge=False) == f"http://{name}"


def test_nobody_on_loopback_passes_for_the_edge_or_the_other_way_round() -> None:
    hosts = Hosts(9181, "ops.example.com")
    assert hosts.of("ops.example.com", edge=False) == ""
    assert hosts.of("0123456789abcdef.pushrod.localhost:4000", edge=True) == ""
    assert Hosts(9181).of("", edge=True) == ""
