"""What one client can use of the edge: thousands of connections from one address, and another client beside it."""

import contextlib
import http.client
import itertools
import resource
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
import psutil
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ResponseReceived

from devtools.servers import free_port
from pushrod.adapters import openssl
from pushrod.adapters.nginx import Bounds, tree
from pushrod.core.site import CHAIN, KEY, Site, Tls
from pushrod.core.values import Route, Routing
from pushrod.ingress import snippets
from pushrod.system import files, processes, waits
from tests.integration.edges import PATIENCE, Started, an_edge
from tests.integration.test_bad_requests import Recorder, exchange, statuses

pytestmark = pytest.mark.integration

MANY = 5000
"""Connections of the one client."""

OPENED = 60.0
"""Seconds within which they must be open, on a busy machine."""

SOON = 2.0
"""Seconds within which the other client must be answered meanwhile: a hundred times the usual duration."""

HALF = b"GET / HTTP/1.1\r\nHost: shop.test\r\nX-A: "


@pytest.fixture
def descriptors() -> Iterator[int]:
    """How many files this process may open; during the test, as many as the machine allows."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] != resource.RLIM_INFINITY and before[1] < MANY + 1000:
        pytest.skip(f"this machine lets a process open {before[1]} files")
    most = min(65536, processes.most_files())
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    yield most
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextlib.contextmanager
def served(tmp_path: Path, bounds: Bounds, **routing: object) -> Iterator[tuple[Started, int, Recorder]]:
    with an_edge(tmp_path, bounds=bounds) as started:
        started.start()
        recorder, port = Recorder(), free_port()
        shop = Site("shop", 1, port, (recorder.address,), ("shop.test",), routing=Routing(**routing))  # type: ignore[arg-type]
        started.edge.switch({"shop": shop})
        yield started, port, recorder


def ask(port: int, name: str = "shop.test") -> float:
    """Seconds until another client has its answer."""
    began = time.monotonic()
    connection = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=PATIENCE, source_address=("127.0.0.9", 0)
    )
    with contextlib.closing(connection):
        connection.request("GET", "/", headers={"Host": name, "Connection": "close"})
        assert connection.getresponse().status == 200
    return time.monotonic() - began


def test_thousands_of_half_sent_requests_do_not_close_the_edge(tmp_path: Path, descriptors: int) -> None:
    """4,300 of them in front of two workers with 2048 connections each once left none for anybody else."""
    with served(tmp_path, Bounds(files=descriptors)) as (_, port, _), contextlib.ExitStack() as stack:
        began, held = time.monotonic(), 0
        while held < MANY and time.monotonic() - began < OPENED:
            s = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            s.sendall(HALF)
            held += 1
        assert held == MANY
        took = sorted(ask(port) for _ in range(100))
        assert took[98] < SOON


def test_a_client_with_an_incomplete_header_is_disconnected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "HEADERS_WITHIN", 1.0)
    with served(tmp_path, Bounds(files=4096)) as (_, port, _), contextlib.ExitStack() as stack:
        opened = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            for _ in range(300)
        ]
        for s in opened:
            s.sendall(HALF)
        with contextlib.suppress(ConnectionError):
            assert not any(s.recv(1) not in (b"", b"H") for s in opened)


class Silent(Recorder):
    """Answers no request until it is released."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.waiting = 0
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
            if self.head(stream.readline):
                self.waiting += 1
                self.may.wait(PATIENCE)
                connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")


def test_the_parallel_requests_of_one_client_are_limited(tmp_path: Path) -> None:
    """For all apps together: the next request gets 429, and another client is served."""
    with (
        served(tmp_path, Bounds(files=4096, requests=20)) as (started, _, _),
        contextlib.ExitStack() as stack,
    ):
        silent, ports = Silent(), (free_port(), free_port())
        sites = {
            app: Site(app, 1, port, (silent.address,), ("shop.test",) if app == "shop" else ("blog.test",))
            for app, port in zip(("shop", "blog"), ports, strict=True)
        }
        started.edge.switch({**sites})
        for n in range(20):
            name = ("shop.test", "blog.test")[n % 2]
            s = stack.enter_context(socket.create_connection(("127.0.0.1", ports[n % 2]), timeout=PATIENCE))
            s.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        assert waits.wait_until(lambda: silent.waiting == 20, PATIENCE)
        answer = exchange(ports[0], "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
        assert statuses(answer) == [429]
        assert b"Retry-After" in answer
        silent.may.set()
        assert ask(ports[0]) < PATIENCE


def test_an_app_that_does_not_answer_does_not_block_others(tmp_path: Path) -> None:
    """Its clients come from many addresses, each below its own limit; together they once held all connections."""
    bounds = Bounds(files=1024, requests=100)
    with served(tmp_path, bounds) as (started, port, recorder), contextlib.ExitStack() as stack:
        silent, dumb = Silent(), Site("dumb", 1, port, (), ("dumb.test",))
        shop = Site("shop", 1, port, (recorder.address,), ("shop.test",))
        started.edge.switch({"shop": shop, "dumb": msgspec.structs.replace(dumb, backends=(silent.address,))})
        for n in range(8 * 90):
            with contextlib.suppress(OSError):
                at = (f"127.0.1.{n % 8 + 1}", 0)
                s = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE, source_address=at)
                stack.enter_context(s).sendall(
                    b"GET / HTTP/1.1\r\nHost: dumb.test\r\nConnection: close\r\n\r\n"
                )
        assert waits.wait_until(lambda: silent.waiting >= bounds.of_app, PATIENCE)
        assert max(ask(port) for _ in range(100)) < SOON
        assert silent.waiting == bounds.of_app
        answer = exchange(port, "GET / HTTP/1.1\r\nHost: dumb.test\r\nConnection: close\r\n\r\n")
        assert statuses(answer) == [429]
        silent.may.set()


def test_requests_that_need_much_memory_are_limited(tmp_path: Path) -> None:
    """With its own lines an app has 1 MB of each body buffered; 900 slow ones used 850 MB of the edge's memory."""
    own = "client_body_buffer_size 1m;\n"
    routing = {"snippets": {"own.conf": own}, "memory": snippets.memory({"own.conf": own})}
    with (
        served(tmp_path, Bounds(files=8192), **routing) as (started, port, _),
        contextlib.ExitStack() as stack,
    ):
        before = memory_of(started)
        for _ in range(400):
            s = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            with contextlib.suppress(OSError):
                s.sendall(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 990000\r\n\r\n")
                s.sendall(b"x" * 900_000)
        assert memory_of(started) - before < 120 << 20


def memory_of(started: Started) -> int:
    """Bytes of memory used by the edge's workers."""
    return sum(psutil.Process(pid).memory_info().rss for pid in started.workers())


@pytest.mark.parametrize(
    "head",
    ["POST / HTTP/1.1\r\nContent-Length: 2000000\r\n", "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"],
    ids=["large", "of unknown size"],
)
def test_the_parallel_uploads_of_one_client_are_limited(tmp_path: Path, head: str) -> None:
    """Each may be buffered on disk until it is complete; small ones and other requests are not counted."""
    with (
        served(tmp_path, Bounds(files=4096, uploads=3)) as (started, port, _),
        contextlib.ExitStack() as stack,
    ):
        begun = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            for _ in range(3)
        ]
        for s in begun:
            s.sendall(f"{head}Host: shop.test\r\n\r\n".encode())

        def refused() -> bool:
            """Whether one more is refused; an accepted one stays open: it has taken the place of a slower one."""
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=0.5))
            one.sendall(f"{head}Host: shop.test\r\n\r\n".encode())
            with contextlib.suppress(TimeoutError):
                return one.recv(12) == b"HTTP/1.1 429"
            return False

        assert waits.wait_until(refused, PATIENCE), started.log()[-3000:]
        small = "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
        assert statuses(exchange(port, small)) == [200]
        assert ask(port) < PATIENCE


UNSAID = ("GET", "HEAD", "OPTIONS", "DELETE")


@contextlib.contextmanager
def encrypted(tmp_path: Path, bounds: Bounds, routing: Routing) -> Iterator[tuple[Started, int, Recorder]]:
    """An app with TLS and HTTP/2, and beside it one with files, blog.test, without."""
    with an_edge(tmp_path, bounds=bounds) as started:
        started.start()
        pair, generation = openssl.issue(openssl.authority("tests"), ["shop.test"]), "00c0ffee"
        owner = (started.edge.account.uid, started.edge.account.gid) if started.edge.account else None
        for name, text in ((CHAIN, pair.chain), (KEY, pair.key)):
            place = started.edge.certificates / "shop" / generation / name
            files.write(place, text, mode=0o600, owner=owner)
        recorder, tls = Recorder(), Tls(generation, ("shop.test",), free_port())
        shop = Site(
            "shop", 1, free_port(), (recorder.address,), ("shop.test",), tls, entry="web", routing=routing
        )
        files.write(started.edge.static / "blog" / "1" / "0" / "index.html", "blog")
        public = Routing((Route("/", files="public"),))
        blog = Site("blog", 1, shop.port, shop.backends, ("blog.test",), routing=public)
        started.edge.switch({"shop": shop, "blog": blog})
        yield started, tls.port, recorder


@contextlib.contextmanager
def spoken(
    port: int, at: str = "127.0.0.1", name: str = "shop.test"
) -> Iterator[tuple[H2Connection, ssl.SSLSocket]]:
    """An HTTP/2 connection that sends whatever it is given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((at, port), timeout=PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname=name) as s,
    ):
        connection = H2Connection(H2Configuration(header_encoding="latin-1"))
        connection.initiate_connection()
        s.sendall(connection.data_to_send())
        yield connection, s


def head(method: str = "GET", path: str = "/", name: str = "shop.test") -> list[tuple[str, str]]:
    return [(":method", method), (":scheme", "https"), (":path", path), (":authority", name)]


def upload(
    connection: H2Connection, s: ssl.SSLSocket, path: str, most: int, name: str = "shop.test", count: int = 40
) -> dict[int, str]:
    """Begin requests with endless bodies, and send as much of each as is accepted, up to so many bytes; returns which
    were answered, and how."""
    sent, answered = dict.fromkeys(range(1, 2 * count, 2), 0), dict[int, str]()
    for n, stream in enumerate(sent):
        connection.send_headers(stream, head(UNSAID[n % len(UNSAID)], path, name))
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and (left := [n for n in sent if n not in answered and sent[n] < most]):
        for stream in left:
            size = min(16384, connection.local_flow_control_window(stream))
            if size > 0:
                connection.send_data(stream, b"x" * size)
                sent[stream] += size
        s.settimeout(PATIENCE)
        s.sendall(connection.data_to_send())
        s.settimeout(0.001)
        with contextlib.suppress(TimeoutError):
            for event in connection.receive_data(s.recv(65536)):
                if isinstance(event, ResponseReceived):
                    fields = {str(name): str(value) for name, value in event.headers}
                    answered[event.stream_id] = fields[":status"]
    return answered


@pytest.mark.parametrize("path", ["/", "/taken/", "/own/x"])
def test_http_2_bodies_of_undeclared_size_are_limited(tmp_path: Path, path: str) -> None:
    """HTTP/2 bodies can have no length, even with methods that usually have no body: these do not count as
    uploads."""
    routes = (
        Route("/taken/", service="web", max_body=32 << 20),
        Route("/own/", service="web", strip=True, timeout=5),
    )
    with encrypted(tmp_path, Bounds(files=4096), Routing(routes)) as (started, port, recorder):
        with spoken(port) as (connection, s):
            answered = upload(connection, s, path, 3 << 20)
            assert unnamed(started.workers()) <= 41 << 20
            assert (len(answered), {*answered.values()}) == (40, {"413"})
        assert recorder.requests == []
        with spoken(port) as (connection, s):
            connection.send_headers(1, head("GET", path), end_stream=True)
            s.sendall(connection.data_to_send())
            assert waits.wait_until(lambda: bool(recorder.requests), PATIENCE)
        assert recorder.requests[0].startswith(f"GET {path.removeprefix('/own')} HTTP/1.1\r\n".encode())


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame in the format of RFC 9113 (4.1), whether or not it makes sense."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def block() -> bytes:
    """The headers of a request, uncompressed (RFC 7541, 6.2.3)."""
    return b"".join(b"\x10" + bytes([len(n)]) + n.encode() + bytes([len(v)]) + v.encode() for n, v in head())


def asked_and_reset() -> Iterator[bytes]:
    for stream in range(1, 1 << 30, 2):
        yield frame(HEADERS, END_STREAM | END_HEADERS, stream, block())
        yield frame(RST_STREAM, 0, stream, b"\0\0\0\x08")


def never_ending(part: bytes) -> Iterator[bytes]:
    yield frame(HEADERS, END_STREAM, 1, block())
    yield from itertools.repeat(frame(CONTINUATION, 0, 1, part))


FLOODS: Mapping[str, Callable[[], Iterator[bytes]]] = {
    "resets": asked_and_reset,
    "continuations": lambda: never_ending(b"\x10\x03x-a" + b"\x64" + b"a" * 100),
    "empty continuations": lambda: never_ending(b""),
    "settings": lambda: itertools.repeat(frame(SETTINGS, 0, 0, b"\0\4\0\1\0\0")),
    "pings": lambda: itertools.repeat(frame(PING, 0, 0, b"12345678")),
    "windows": lambda: itertools.repeat(frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1")),
    "priorities": lambda: itertools.repeat(frame(PRIORITY, 0, 3, b"\0\0\0\0\1")),
}
"""What HTTP/2 lets a client send without requesting anything; CVE-2023-44487, CVE-2024-24549 and similar."""

MOST_FRAMES = 3_000_000
"""Frames within which each must have been ended: a connection that survives them would never end."""


def flooded(port: int, kind: str, at: str = "127.0.0.1", name: str = "shop.test") -> tuple[bool, int]:
    """Send as much of a flood as a connection accepts; returns whether the edge ended it, and after how many
    frames."""
    with spoken(port, at, name) as (_, s):
        sent, received, frames = 0, b"", FLOODS[kind]()
        with contextlib.suppress(OSError):
            while sent < MOST_FRAMES:
                s.settimeout(PATIENCE)
                s.sendall(b"".join(itertools.islice(frames, 2000)))
                sent += 2000
                s.settimeout(0.0001)
                with contextlib.suppress(TimeoutError):
                    while part := s.recv(65536):
                        received = (received + part)[-4096:]
                    break
                if frame(GOAWAY, 0, 0)[3:] in received:
                    break
    return sent < MOST_FRAMES, sent


@pytest.mark.parametrize("kind", [*FLOODS])
def test_floods_of_frames_are_ended_and_others_are_answered(tmp_path: Path, kind: str) -> None:
    """Eight connections of one client that each send all they can, and are reopened."""
    with encrypted(tmp_path, Bounds(files=4096), Routing()) as (started, port, _):
        until, result = threading.Event(), []

        def flood() -> None:
            while not until.is_set():
                result.append(flooded(port, kind))

        threads = [threading.Thread(target=flood, daemon=True) for _ in range(8)]
        for thread in threads:
            thread.start()
        other = started.edge.sites()["blog"].port
        assert waits.wait_until(lambda: bool(result), PATIENCE)
        took = sorted(ask(other, "blog.test") for _ in range(100))
        until.set()
        for thread in threads:
            thread.join(PATIENCE)
        assert all(ended for ended, _ in result), result
        assert took[98] < SOON, took


class Flood(Recorder):
    """Answers with as much data as the reader accepts."""

    def __init__(self) -> None:
        self.sent = 0
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
            if self.head(stream.readline):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
                piece = b"x" * (1 << 20)
                connection.settimeout(2.0)
                while self.sent < 1_000_000_000:
                    self.sent += connection.send(piece)


def unnamed(pids: tuple[int, ...]) -> int:
    """Bytes of deleted files that processes have open: nginx's temporary files."""
    result: dict[tuple[int, int], int] = {}
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if str(link.readlink()).endswith(" (deleted)"):
                    status = link.stat()
                    result[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(result.values())


def test_a_slow_reader_does_not_fill_the_disk(tmp_path: Path) -> None:
    """8 MB of an answer are buffered on disk, the rest stays with the app; it was 1 GB for each client."""
    with served(tmp_path, Bounds(files=4096)) as (started, _, _), contextlib.ExitStack() as stack:
        flood, port = Flood(), free_port()
        routing = Routing((Route("/", service="web"),))
        site = Site("shop", 1, port, (flood.address,), ("shop.test",), entry="web", routing=routing)
        started.edge.switch({"shop": site})
        s = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
        s.sendall(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
        assert s.recv(1) == b"H"

        def at_rest() -> bool:
            before = flood.sent
            time.sleep(0.5)
            return before > 1 << 20 and flood.sent == before

        assert waits.wait_until(at_rest, PATIENCE)
        assert unnamed(started.workers()) <= 9 << 20
        assert flood.sent < 100 << 20
