"""The headers of every kind of answer, each exactly once: from the app, a file, a redirect, the edge itself."""

import contextlib
import http.client
import json
import re
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from devtools.servers import free_port
from pushrod.adapters import openssl
from pushrod.adapters.nginx import Edge, tree
from pushrod.adapters.openssl import Pair
from pushrod.core.site import Site, Tls
from pushrod.core.values import Auth, Cache, Maintenance, Rate, Route, Routing
from pushrod.system import files
from tests.integration.edges import PATIENCE, Backend, Handler, Started
from tests.integration.test_tls import client, put

pytestmark = pytest.mark.integration

NAME, PLAIN = "shop.example", "plain.example"  # the second has no certificate
LONG = "Strict-Transport-Security"
OURS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "strict-origin-when-cross-origin",
}
ONCE = {"Server": "nginx", "X-Request-Id": "[0-9a-f]{32}", "X-Pushrod-Release": "1", **OURS}

FILES = Route("/files/", files="f")
ROUTES = (
    Route("/own/", service="web", headers={"X-Own": "1"}),
    Route("/cached/", service="web", cache=Cache(60)),
    FILES,
    Route("/moved", redirect="/", status=301),
    Route("/moved-too", redirect="/", headers={"X-Own": "1"}),
    Route("/closed/", service="web", auth=Auth(basic="ADMINS")),
    Route("/judged/", service="web", auth=Auth(service="web", path="/refuse")),
    Route("/denied/", service="web", deny=("127.0.0.0/8",)),
    Route("/small/", service="web", max_body=10),
    Route("/rated/", service="web", rate=Rate(1, 60)),
    Route("/gone/", service="gone"),
    Route("/slow", service="web", timeout=0.2),
)
SNIPPET = "location = /snippet {\n    return 200 hi;\n}\n"


NAMELESS = "a path that cannot be"
"""nginx gives up before it has read the name; with TLS it knows it from the handshake."""


class Asked(NamedTuple):
    """A request and the status of its answer; `lines` are additional headers of the request."""

    status: int
    path: str
    method: str = "GET"
    lines: str = ""
    body: str = ""
    times: int = 1


# Except 416, for a range outside of a file: there nginx runs its filters twice, so its headers appear twice.
KINDS = {
    "of the app": Asked(200, "/"),
    "of the app, with a header of the route's": Asked(200, "/own/"),
    "of the app, which refuses": Asked(503, "/refuse"),
    "compressed": Asked(200, "/long", lines="Accept-Encoding: gzip\r\n"),
    "out of the cache": Asked(200, "/cached/", times=2),
    "a file": Asked(200, "/files/a.css"),
    "a file to HEAD": Asked(200, "/files/a.css", "HEAD"),
    "a file as it was": Asked(304, "/files/a.css", lines="If-None-Match: *\r\n"),
    "a part of a file": Asked(206, "/files/a.css", lines="Range: bytes=1-2\r\n"),
    "no such file": Asked(404, "/files/none"),
    "a directory without its slash": Asked(308, "/files/below"),
    "a method that files do not have": Asked(405, "/files/a.css", "POST", body="x"),
    "a redirect": Asked(301, "/moved"),
    "a redirect with a header of its own": Asked(308, "/moved-too"),
    "no password": Asked(401, "/closed/"),
    "not let pass by a service": Asked(500, "/judged/"),
    "an address that may not": Asked(403, "/denied/"),
    "too large": Asked(413, "/small/", "POST", body="x" * 11),
    "too many": Asked(429, "/rated/", times=2),
    "an app that is not there": Asked(502, "/gone/"),
    "an app that is silent": Asked(504, "/slow"),
    "the app's own line": Asked(200, "/snippet"),
    "of a page that is the edge's own": Asked(404, "/.pushrod/page"),
    "a proof for an ACME server": Asked(200, "/.well-known/acme-challenge/token"),
    "no proof": Asked(404, "/.well-known/acme-challenge/none"),
    NAMELESS: Asked(400, "/%zz"),
    "a header that is too large": Asked(400, "/", lines=f"X-Big: {'a' * 100_000}\r\n"),
    "two framings": Asked(400, "/", "POST", lines="Transfer-Encoding: chunked\r\n", body="x"),
}


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: str

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


def ask(port: int, requested: Asked, trust: Path | None = None, name: str = "") -> Answer:
    """The last answer, with every line of its head; over TLS if there is a `trust` file."""
    name = name or (NAME if trust else PLAIN)
    lines = (
        f"Content-Length: {len(requested.body)}\r\n{requested.lines}" if requested.body else requested.lines
    )
    lines = lines if "Host:" in lines else f"Host: {name}\r\n{lines}"
    raw = f"{requested.method} {requested.path} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n{requested.body}"
    for _ in range(requested.times):
        with contextlib.ExitStack() as stack:
            s = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            if trust:
                s = stack.enter_context(client(trust).wrap_socket(s, server_hostname=name))
            s.sendall(raw.encode())
            response = http.client.HTTPResponse(s, method=requested.method)
            response.begin()
            answer = Answer(response.status, response.getheaders(), response.read().decode("latin-1"))
    return answer


def wrong(requested: Asked, answer: Answer, *, hsts: bool, release: bool = True) -> list[str]:
    """What is wrong with an answer's headers."""
    result = [] if answer.status == requested.status else [f"status {answer.status}"]
    for name, pattern in ONCE.items():
        values = answer.all(name)
        if (name != "X-Pushrod-Release" or release) and not (
            len(values) == 1 and re.fullmatch(pattern, values[0])
        ):
            result.append(f"{name}: {values}")
    if answer.all(LONG) != (["max-age=600"] if hsts else []):
        result.append(f"{LONG}: {answer.all(LONG)}")
    result += [
        f"{name} {n} times" for name, n in Counter(k.lower() for k, _ in answer.headers).items() if n > 1
    ]
    return result + (["nginx says its version"] if "nginx/" in f"{answer.headers}{answer.body}" else [])


@pytest.fixture(scope="module")
def authority() -> Pair:
    return openssl.authority("tests")


@pytest.fixture
def trust(authority: Pair, tmp_path: Path) -> Path:
    path = tmp_path / "authority.pem"
    path.write_text(authority.chain)
    return path


@pytest.fixture
def site(edge: Edge, backend: Callable[[str], Backend], authority: Pair) -> Site:
    """A site with every kind of route; one of its names has TLS."""
    number = ROUTES.index(FILES)
    for name in ("files/a.css", "files/below/index.html"):
        files.write(edge.static / "shop" / "1" / str(number) / name, "text")
    files.write(edge.challenges / ".well-known" / "acme-challenge" / "token", "proof")
    owner = (edge.account.uid, edge.account.gid) if edge.account else None
    files.write(edge.passwords / "shop" / "00c0ffee", "ann:{SSHA}x\n", mode=0o600, owner=owner)
    return Site(
        app="shop",
        release=1,
        port=free_port(),
        backends=(backend("web").address,),
        domains=(NAME, PLAIN),
        tls=Tls(put(edge, openssl.issue(authority, [NAME])), (NAME,), free_port(), 600),
        challenges=True,
        entry="web",
        others={"gone": (f"127.0.0.1:{free_port()}",)},
        routing=Routing(routes=ROUTES, snippets={"own.conf": SNIPPET}),
        passwords={"ADMINS": "00c0ffee"},
    )


def changed(site: Site, **changes: Any) -> dict[str, Site | None]:
    return {"shop": Site(**{f: getattr(site, f) for f in site.__struct_fields__} | changes)}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_every_kind_of_answer_has_its_headers_once(edge: Edge, site: Site, trust: Path, tls: bool) -> None:
    edge.switch({"shop": site})
    assert site.tls
    port, by = (site.tls.port, trust) if tls else (site.port, None)
    result = {
        what: wrong(requested, ask(port, requested, by), hsts=tls, release=tls or what != NAMELESS)
        for what, requested in KINDS.items()
    }
    assert {what: problems for what, problems in result.items() if problems} == {}


@pytest.mark.parametrize(
    "why", [{"maintenance": Maintenance()}, {"ready_marker": "/nowhere/at/all"}], ids=str
)
def test_an_answer_instead_of_the_app_has_the_headers(
    edge: Edge, site: Site, trust: Path, why: dict[str, Any]
) -> None:
    edge.switch(changed(site, **why))
    assert site.tls
    for accepts in ("", "Accept: text/html\r\n"):
        requested = Asked(503, "/", lines=accepts)
        assert wrong(requested, ask(site.tls.port, requested, trust), hsts=True) == []
        assert wrong(requested, ask(site.port, requested), hsts=False) == []


def test_a_redirect_to_tls_has_the_headers(edge: Edge, site: Site) -> None:
    edge.switch({"shop": site})
    requested = Asked(308, "/")
    assert wrong(requested, ask(site.port, requested, name=NAME), hsts=False) == []


def test_plain_http_on_the_tls_port_has_the_headers(edge: Edge, site: Site) -> None:
    edge.switch({"shop": site})
    assert site.tls
    requested = Asked(400, "/")
    assert wrong(requested, ask(site.tls.port, requested), hsts=False, release=False) == []


def test_an_unknown_name_has_the_headers(shared: Started) -> None:
    requested = Asked(404, "/")
    answer = ask(shared.edge.port, requested)
    assert (wrong(requested, answer, hsts=False, release=False), answer.body) == ([], tree.NO_SUCH_NAME)
    requested = Asked(400, "/%zz")
    assert wrong(requested, ask(shared.edge.port, requested), hsts=False, release=False) == []


def test_an_unknown_name_after_a_handshake_for_a_known_one_has_the_headers(
    edge: Edge, site: Site, trust: Path
) -> None:
    edge.switch({"shop": site})
    assert site.tls
    requested = Asked(404, "/", lines="Host: nobody.example\r\n")
    answer = ask(site.tls.port, requested, trust)
    assert (wrong(requested, answer, hsts=False, release=False), answer.body) == ([], tree.NO_SUCH_NAME)


def test_the_request_id_is_generated_by_the_edge_and_reaches_the_app(edge: Edge, site: Site) -> None:
    edge.switch({"shop": site})
    answer = ask(site.port, Asked(200, "/headers", lines="X-Request-Id: a client's\r\n"))
    assert json.loads(answer.body)["X-Request-Id"] == answer.all("X-Request-Id")[0] != "a client's"


def test_headers_set_by_the_app_take_precedence(
    edge: Edge, site: Site, trust: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own values take precedence over the edge's, except for those that name the answering instance."""

    def end_headers(self: Handler) -> None:
        for name in (*OURS, LONG, "X-Pushrod-Release"):
            self.send_header(name, "mine")
        super(Handler, self).end_headers()

    edge.switch({"shop": site})
    monkeypatch.setattr(Handler, "end_headers", end_headers)
    assert site.tls
    for path in ("/", "/own/", "/cached/"):
        answer = ask(site.tls.port, Asked(200, path), trust)
        assert [answer.all(name) for name in (*OURS, LONG)] == [["mine"]] * 4
        assert answer.all("X-Pushrod-Release") == ["1"]
        (request,) = answer.all("X-Request-Id")
        assert re.fullmatch("[0-9a-f]{32}", request)
