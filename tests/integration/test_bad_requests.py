"""Malformed and abusive requests: each is answered and logged as operations.md says, and the app beside it is
served.

The backend here reads bytes, not requests: it sees whatever nginx passes on, including a smuggled second request.
"""

import contextlib
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import pytest

from devtools.servers import free_port
from pushrod.adapters import openssl
from pushrod.adapters.nginx import Edge, tree
from pushrod.core.site import CHAIN, KEY, Site, Tls
from pushrod.core.values import Route, Routing
from pushrod.system import files, waits
from tests.integration.edges import PATIENCE, Started, a_started_edge

pytestmark = pytest.mark.integration

HOST = "Host: shop.test\r\n"
ASKED = "GET /x HTTP/1.1\r\nHost: shop.test\r\n\r\n"


class Recorder:
    """A backend that records what it receives, request by request, and answers each with 200."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self.socket.getsockname())
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
            while head := self.head(stream.readline):
                length = re.search(rb"(?im)^content-length: *(\d+)", head)
                body = stream.read(int(length[1])) if length else b""
                self.requests.append(head + body)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def head(self, line: Callable[[], bytes]) -> bytes:
        result = b""
        while not result.endswith(b"\r\n\r\n"):
            part = line()
            if not part:
                return result
            result += part
        return result


class Shop(NamedTuple):
    edge: Edge
    port: int
    tls: int
    recorder: Recorder
    before: int = 0

    def log(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.edge.logs / "access.log").read_text().splitlines()]

    def beside(self) -> None:
        """An ordinary request is served."""
        before = len(self.recorder.requests)
        asked = ASKED.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
        assert statuses(exchange(self.port, asked)) == [200]
        assert len(self.recorder.requests) == before + 1

    def logged(self, status: int) -> None:
        """Wait for a log line with that status; nginx writes it after the answer."""

        def logged() -> bool:
            return status in [line["status"] for line in self.log()[self.before :]]

        assert waits.wait_until(logged, PATIENCE), self.log()[self.before :]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    with a_started_edge(tmp_path_factory.mktemp("edge")) as made:
        yield made


@pytest.fixture(scope="module")
def served(started: Started) -> Shop:
    """The app shop under its name, with a small route and one of files, with files beside these; and one with
    TLS."""
    recorder, edge = Recorder(), started.edge
    for name in ("0/files/a.txt", "secret", "0/secret"):
        files.write(edge.static / "shop" / "1" / name, name)
    pair, generation = openssl.issue(openssl.authority("tests"), ["safe.test"]), "00c0ffee"
    owner = (edge.account.uid, edge.account.gid) if edge.account else None
    for name, text in ((CHAIN, pair.chain), (KEY, pair.key)):
        files.write(edge.certificates / "safe" / generation / name, text, mode=0o600, owner=owner)
    routing = Routing((Route("/files/", files="f"), Route("/small/", service="", max_body=1000)))
    shop = Site("shop", 1, free_port(), (recorder.address,), ("shop.test",), routing=routing)
    tls = Tls(generation, ("safe.test",), free_port())
    safe = Site(
        "safe", 1, shop.port, (recorder.address,), ("safe.test",), tls, routing=Routing(routing.routes[1:])
    )
    edge.switch({"shop": shop, "safe": safe})
    return Shop(edge, shop.port, tls.port, recorder)


@pytest.fixture
def shop(served: Shop) -> Shop:
    served.recorder.requests.clear()
    return served._replace(before=len(served.log()))


def exchange(port: int, *parts: str | bytes) -> bytes:
    """Send parts on one connection; returns all that arrives until it is closed, or idle after an answer."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as s:
        with contextlib.suppress(OSError):
            for part in parts:
                s.sendall(part if isinstance(part, bytes) else part.encode("latin-1"))
        with contextlib.suppress(OSError):
            while part := s.recv(65536):
                answer += part
                s.settimeout(0.1)
    return answer


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def post(*headers: str, body: str = "") -> str:
    return f"POST / HTTP/1.1\r\n{HOST}" + "".join(f"{line}\r\n" for line in headers) + f"\r\n{body}"


# ---- too much data ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (f"GET / HTTP/1.1\r\n{HOST}X-A: {'a' * 100_000}\r\n\r\n", 400),
        (f"GET / HTTP/1.1\r\n{HOST}" + "".join(f"X-{n}: {'a' * 100}\r\n" for n in range(1000)) + "\r\n", 400),
        (f"GET / HTTP/1.1\r\n{HOST}Cookie: {'a' * 100_000}\r\n\r\n", 400),
        (f"GET /{'a' * 100_000} HTTP/1.1\r\n{HOST}\r\n", 414),
        (post("Content-Length: 2147483648"), 413),
        (post("Content-Length: 2147483648", "Expect: 100-continue"), 413),
        (post("Content-Length: 99999999999999999999"), 400),
    ],
    ids=["a header", "headers", "a cookie", "a path", "2 GB", "2 GB, asked before", "20 digits"],
)
def test_an_oversized_request_is_refused_before_it_reaches_the_app(
    shop: Shop, request_: str, status: int
) -> None:
    assert statuses(exchange(shop.port, request_)) == [status]
    assert shop.recorder.requests == []
    shop.logged(status)
    shop.beside()


def test_a_chunked_body_that_is_too_long_is_cut_off(shop: Shop) -> None:
    """After that, a client can only send what fits into the sockets' buffers."""
    chunk, sent = b"1000\r\n" + b"a" * 0x1000 + b"\r\n", 0
    with socket.create_connection(("127.0.0.1", shop.port), timeout=PATIENCE) as s:
        s.sendall(f"POST /small/ HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n".encode())
        with contextlib.suppress(ConnectionError):
            while sent < 1 << 30:
                s.sendall(chunk)
                sent += len(chunk)
                s.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    assert s.recv(12) == b"HTTP/1.1 413"
                    break
                s.settimeout(PATIENCE)
    assert sent < 64 << 20
    shop.logged(413)
    assert shop.recorder.requests == []
    shop.beside()


def test_headers_must_arrive_within_the_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends a little now and then cannot hold a connection for ever."""
    monkeypatch.setattr(tree, "HEADERS_WITHIN", 1.0)
    recorder, port = Recorder(), free_port()
    with a_started_edge(tmp_path) as started:
        started.start()
        started.edge.switch({"shop": Site("shop", 1, port, (recorder.address,))})
        shop, began = Shop(started.edge, port, 0, recorder), time.monotonic()
        with (
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as slow,
            contextlib.suppress(OSError),
        ):
            slow.sendall(b"GET / HTTP/1.1\r\n")
            while time.monotonic() - began < PATIENCE:
                slow.sendall(b"X-A: b\r\n")
                slow.settimeout(0.1)
                with contextlib.suppress(TimeoutError):
                    if not slow.recv(1):
                        break
                shop.beside()
        assert time.monotonic() - began < PATIENCE
        shop.logged(408)


# ---- request smuggling ------------------------------------------------------------------------------------------


SMUGGLED = f"0\r\n\r\n{ASKED}"
CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (post("Content-Length: 5", CHUNKED, body=SMUGGLED), 400),
        (post(CHUNKED, "Content-Length: 5", body=SMUGGLED), 400),
        (post("Content-Length: 5", "Content-Length: 44", body="hello" + ASKED), 400),
        (post("Content-Length: 5", "Content-Length: 5", body="hello"), 400),
        (post("Content-Length: 5, 5", body="hello"), 400),
        (post("Content-Length: +5", body="hello"), 400),
        (post("Content-Length: -5", body="hello"), 400),
        (post("Content-Length: 0x5", body="hello"), 400),
        (post("Content-Length : 5", body="hello" + ASKED), 400),
        (post("Transfer-Encoding : chunked", body=SMUGGLED), 400),
        (post("Transfer-Encoding: xchunked", body=SMUGGLED), 501),
        (post("Transfer-Encoding: identity", body=SMUGGLED), 501),
        (post("Transfer-Encoding: chunked, identity", body=SMUGGLED), 501),
        (post("Transfer-Encoding: \x0bchunked", body=SMUGGLED), 501),
        (post("Transfer-Encoding: \tchunked", body=SMUGGLED), 501),
        (post(CHUNKED, CHUNKED, body=SMUGGLED), 400),
        (post("X-A: b\r\n Transfer-Encoding: chunked", body=SMUGGLED), 400),
        (post("Transfer-Encoding\x00: chunked", body=SMUGGLED), 400),
        (post(CHUNKED, body=SMUGGLED).replace("HTTP/1.1", "HTTP/1.0", 1), 400),
        *[
            (post(CHUNKED, body=body + ASKED), 400)
            for body in (
                *(
                    "zz\r\nhello\r\n0\r\n\r\n",
                    "-5\r\nhello\r\n0\r\n\r\n",
                    "0x5\r\nhello\r\n0\r\n\r\n",
                    "\r\n",
                ),
                *("fffffffffffffffff\r\nhello\r\n0\r\n\r\n", "5\nhello\n0\n\n", "5\r\nhelloX\r\n0\r\n\r\n"),
                *("5\rhello\r\n0\r\n\r\n", "5;\nX\r\nhello\r\n0\r\n\r\n", "1_0\r\nhello\r\n0\r\n\r\n"),
            )
        ],
        (f"GET / HTTP/1.1\r\n{HOST}X-A: a\x00b\r\n\r\n", 400),
        (f"GET / HTTP/1.1\r\n{HOST}X\x00A: b\r\n\r\n", 400),
        (f"GET / HTTP/1.1\r\n{HOST}X-A: a\rX-B: b\r\n\r\n", 400),
        (f"GET / HTTP/1.1\r\n{HOST} X-A: b\r\n\r\n", 400),
        (f"GET / HTTP/1.1\r\n{HOST}no colon\r\n\r\n", 400),
    ],
)
def test_an_ambiguous_request_is_not_passed_on(shop: Shop, request_: str, status: int) -> None:
    answer = exchange(shop.port, request_)
    assert statuses(answer) == [status]
    assert shop.recorder.requests == []
    shop.logged(status)
    shop.beside()


@pytest.mark.parametrize(
    ("request_", "passed"),
    [
        (post(CHUNKED, body="5;a=b\r\nhello\r\n0\r\nX-Trailer: t\r\n\r\n" + ASKED), 2),
        (post(CHUNKED.upper(), body="5 \r\nhello\r\n0\r\n\r\n"), 1),
        (post("Content-Length: 5", body="hello" + ASKED), 2),
        (post("Transfer_Encoding: chunked", body=ASKED), 2),
        ("GET /x HTTP/1.1\nHost: shop.test\n\nGET /x HTTP/1.1\nHost: shop.test\n\n", 2),
    ],
    ids=["extensions and trailers", "capitals", "two in a row", "an underscore", "bare line feeds"],
)
def test_a_passed_on_request_is_rewritten(shop: Shop, request_: str, passed: int) -> None:
    """With a length and without the original framing: an app cannot interpret it differently."""
    assert statuses(exchange(shop.port, request_)) == [200] * passed
    assert len(shop.recorder.requests) == passed
    for seen in shop.recorder.requests:
        assert b"\r\nHost: shop.test\r\n" in seen
        assert not re.search(rb"(?i)transfer.encoding|trailer|[^\r]\n", seen)


# ---- misleading targets
# -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (f"CONNECT shop.test:443 HTTP/1.1\r\n{HOST}\r\n", 405),
        (f"GET shop.test:443 HTTP/1.1\r\n{HOST}\r\n", 400),
        (f"OPTIONS * HTTP/1.1\r\n{HOST}\r\n", 400),
        (f"TRACE / HTTP/1.1\r\n{HOST}\r\n", 405),
        (f"GET /a\x00b HTTP/1.1\r\n{HOST}\r\n", 400),
        (f"GET /a%00b HTTP/1.1\r\n{HOST}\r\n", 400),
        (f"GET /../x HTTP/1.1\r\n{HOST}\r\n", 400),
        (f"GET http://user@shop.test/ HTTP/1.1\r\n{HOST}\r\n", 400),
        ("GET http://other.test/ HTTP/1.1\r\nHost: shop.test\r\n\r\n", 404),
        ("GET / HTTP/1.1\r\nHost: other.test\r\n\r\n", 404),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: shop.test\r\nHost: other.test\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: shop.test\r\nHost: shop.test\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: shop.test/x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: shop.test other.test\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\n\r\n", 404),
        (f"GET / HTTP/2.0\r\n{HOST}\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        ("\r\n\r\n\x00\x01\x02 \r\n\r\n", 400),
    ],
)
def test_a_request_that_is_not_for_the_app_is_refused(shop: Shop, request_: str, status: int) -> None:
    assert statuses(exchange(shop.port, request_)) == [status]
    assert shop.recorder.requests == []
    shop.logged(status)
    shop.beside()


@pytest.mark.parametrize(
    ("target", "name", "seen"),
    [
        ("/x", "shop.test", "shop.test"),
        ("/x", "SHOP.test:8000", "SHOP.test:8000"),
        ("/x", "SHOP.test:PORT", "SHOP.test:PORT"),
        ("/x", "shop.test.", "shop.test"),
        ("http://shop.test/x", "shop.test", "shop.test"),
        ("http://shop.test:81/x", "shop.test:81", "shop.test:81"),
        ("http://shop.test/x", "shop.test:PORT", "shop.test:PORT"),
        ("http://shop.test/x", "evil.test", "shop.test"),
        ("http://shop.test/x", "shop.test.evil.test", "shop.test"),
    ],
)
def test_the_host_header_passed_to_an_app_is_one_of_its_names(
    shop: Shop, target: str, name: str, seen: str
) -> None:
    """A link that the app builds from it leads nowhere else (RFC 9112, 3.2.2: the target takes precedence over
    Host).

    PORT is the edge's own.
    """
    name, seen = (text.replace("PORT", str(shop.port)) for text in (name, seen))
    assert statuses(exchange(shop.port, f"GET {target} HTTP/1.1\r\nHost: {name}\r\n\r\n")) == [200]
    (request,) = shop.recorder.requests
    assert request.startswith(b"GET /x HTTP/1.1\r\n")
    assert f"\r\nHost: {seen}\r\n".encode() in request


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/files/../secret",
            "/files/../../secret",
            "/files/../../../../../etc/passwd",
            "/files/./../secret",
        ),
        *(
            "/files/%2e%2e/secret",
            "/files/%2e%2e%2fsecret",
            "/files/..%2fsecret",
            "/files/%2E%2E/%2e./secret",
        ),
        *("/files/%252e%252e/secret", "/files/%252e%252e%252fsecret", "/files/..%252f..%252fsecret"),
        *("/files/..\\secret", "/files/..%5csecret", "/files/%5c..%5csecret", "/files/..%c0%afsecret"),
        *("/files/%c0%ae%c0%ae/secret", "/files/..;/secret", "/files/a.txt/../../secret", "/files/a.txt%00"),
        *(
            "/files/..%00/secret",
            "//files/../secret",
            "/files//..//secret",
            "/files/.../secret",
            "/files../secret",
        ),
        *("/%66iles/..%2f..%2fsecret", "/files/%2e%2e%2f%2e%2e%2f%2e%2e%2fsites.json"),
    ],
)
def test_no_path_leads_out_of_the_served_directory(shop: Shop, path: str) -> None:
    """Whether nginx or the app answers such a path, it does not serve the files beside the app's."""
    answer = exchange(shop.port, f"GET {path} HTTP/1.1\r\n{HOST}\r\n")
    assert statuses(answer)[0] in (200, 400, 404)
    assert b"secret" not in answer
    assert b"root:" not in answer
    assert exchange(shop.port, f"GET /files/a.txt HTTP/1.1\r\n{HOST}\r\n").endswith(b"0/files/a.txt")


# ---- over HTTP/2 --------------------------------------------------------------------------------------------------


def ask_2(shop: Shop, *headers: tuple[str, str], body: bytes = b"", method: str = "POST") -> int | str:
    """Send a raw request; returns the status of its answer, or `reset` or `closed` without one."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    raw = h2.config.H2Configuration(
        header_encoding="latin-1", validate_outbound_headers=False, normalize_outbound_headers=False
    )
    connection = h2.connection.H2Connection(raw)
    with (
        socket.create_connection(("127.0.0.1", shop.tls), timeout=PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="safe.test") as s,
    ):
        connection.initiate_connection()
        first = [(":method", method), (":scheme", "https"), (":path", "/x"), (":authority", "safe.test")]
        given = dict(headers)
        sent = [(name, given.get(name, value)) for name, value in first]
        sent += [(name, value) for name, value in headers if name not in dict(first)]
        connection.send_headers(1, [h for h in sent if h[1] != "-"], end_stream=not body)
        if body:
            connection.send_data(1, body, end_stream=True)
        s.sendall(connection.data_to_send())
        while data := s.recv(65536):
            for event in connection.receive_data(data):
                match event:
                    case h2.events.ResponseReceived():
                        return int({str(name): str(value) for name, value in event.headers}[":status"])
                    case h2.events.StreamReset():
                        return "reset"
                    case h2.events.ConnectionTerminated():
                        return "closed"
    return "closed"


@pytest.mark.parametrize(
    ("headers", "body", "answers"),
    [
        ([("x-a", "a" * 100_000)], b"", {400, "reset", "closed"}),
        ([("content-length", "2147483648")], b"a", {413}),
        ([(":path", "/small/")], b"a" * 2000, {413}),
        ([("content-length", "3")], b"hello", {400, "reset"}),
        ([("content-length", "10")], b"hello", {400, "reset"}),
        ([("content-length", "5"), ("content-length", "5")], b"hello", {400, "reset"}),
        ([("transfer-encoding", "chunked")], b"0\r\n\r\nGET /x HTTP/1.1\r\n\r\n", {400, "reset"}),
        ([("connection", "upgrade")], b"", {400, "reset"}),
        ([("x-a", "b\r\nx-c: d")], b"", {400, "reset"}),
        ([("x-a", "b\x00c")], b"", {400, "reset"}),
        ([("x-a\r\nx-b", "c")], b"", {400, "reset"}),
        ([("X-A", "b")], b"", {400, "reset"}),
        ([(":path", "/x y")], b"", {400, "reset"}),
        ([(":path", "/x\r\nHost: y")], b"", {400, "reset"}),
        ([(":path", "http://other.test/")], b"", {400, "reset"}),
        ([(":path", "/../x")], b"", {400, "reset"}),
        ([(":path", "-")], b"", {400, "reset"}),
        ([(":method", "GET /y HTTP/1.1\r\nA: ")], b"", {400, "reset"}),
        ([(":authority", "other.test")], b"", {404, 421}),
        ([(":authority", "safe.test other.test")], b"", {400, "reset"}),
        ([(":authority", "-")], b"", {400, "reset"}),
        ([("host", "other.test")], b"", {400, "reset"}),
    ],
)
def test_ambiguous_requests_over_http_2_are_not_passed_on(
    shop: Shop, headers: list[tuple[str, str]], body: bytes, answers: set[int | str]
) -> None:
    assert ask_2(shop, *headers, body=body) in answers
    assert shop.recorder.requests == []
    assert ask_2(shop, body=b"hello") == 200
    (seen,) = shop.recorder.requests
    assert b"\r\nContent-Length: 5\r\n" in seen
    assert b"\r\nHost: safe.test\r\n" in seen
    shop.recorder.requests.clear()
    shop.beside()
