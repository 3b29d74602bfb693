"""What one client can take of the edge: thousands of connections from one address, and another client beside it."""

import contextlib
import http.client
import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pushrod import host
from pushrod.gears.nginx import Bounds, Site, tree
from pushrod.values import Route, Routing
from tests.integration.edges import PATIENCE, Started, an_edge, free_port
from tests.integration.test_bad_requests import Recorder, exchange, statuses

pytestmark = pytest.mark.integration

MANY = 5000
"""Connections of the one client."""

OPENED = 60.0
"""Seconds within which they are open, on a machine that does much else."""

SOON = 2.0
"""Seconds within which the other client is answered meanwhile: a hundred times what it takes."""

HALF = b"GET / HTTP/1.1\r\nHost: shop.test\r\nX-A: "


@pytest.fixture
def files() -> Iterator[int]:
    """How many files this process may have open, for the time of a test as many as the machine lets it."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] != resource.RLIM_INFINITY and before[1] < MANY + 1000:
        pytest.skip(f"this machine lets a process open {before[1]} files")
    most = min(65536, host.most_files())
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


def ask(port: int) -> float:
    """Seconds until another client has its answer."""
    began = time.monotonic()
    connection = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=PATIENCE, source_address=("127.0.0.9", 0)
    )
    with contextlib.closing(connection):
        connection.request("GET", "/", headers={"Host": "shop.test", "Connection": "close"})
        assert connection.getresponse().status == 200
    return time.monotonic() - began


def test_thousands_of_half_sent_requests_do_not_close_the_edge(tmp_path: Path, files: int) -> None:
    """As with 4,300 of them in front of two workers with 2048 connections each: nobody else got one."""
    with served(tmp_path, Bounds(files=files)) as (_, port, _), contextlib.ExitStack() as stack:
        began, held = time.monotonic(), 0
        while held < MANY and time.monotonic() - began < OPENED:
            s = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            s.sendall(HALF)
            held += 1
        assert held == MANY
        took = sorted(ask(port) for _ in range(100))
        assert took[98] < SOON


def test_who_has_sent_no_whole_head_in_time_is_cut_off(
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
    """Answers nobody until it may."""

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


def test_one_client_has_only_so_many_requests_at_once(tmp_path: Path) -> None:
    """Of all apps together: the next is told 429, and another client is served."""
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
        assert host.wait_until(lambda: silent.waiting == 20, PATIENCE)
        answer = exchange(ports[0], "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
        assert statuses(answer) == [429]
        assert b"Retry-After" in answer
        silent.may.set()
        assert ask(ports[0]) < PATIENCE


@pytest.mark.parametrize(
    "head",
    ["POST / HTTP/1.1\r\nContent-Length: 2000000\r\n", "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"],
    ids=["large", "of unknown size"],
)
def test_one_client_has_only_so_many_uploads_at_once(tmp_path: Path, head: str) -> None:
    """Each may wait on the disk until it is whole; small ones and other requests are not counted."""
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
            with (
                socket.create_connection(("127.0.0.1", port), timeout=3) as one,
                contextlib.suppress(TimeoutError),
            ):
                one.sendall(f"{head}Host: shop.test\r\n\r\n".encode())
                return one.recv(12) == b"HTTP/1.1 429"
            return False

        assert host.wait_until(refused, PATIENCE), started.log()[-3000:]
        small = "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
        assert statuses(exchange(port, small)) == [200]
        assert ask(port) < PATIENCE


class Flood(Recorder):
    """Answers with as much as is taken."""

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
    """Bytes of the files that processes have open and that have no name any more: nginx's temporary ones."""
    found: dict[tuple[int, int], int] = {}
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if str(link.readlink()).endswith(" (deleted)"):
                    status = link.stat()
                    found[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(found.values())


def test_who_reads_slowly_does_not_fill_the_disk(tmp_path: Path) -> None:
    """8 MB of an answer wait on the disk, the rest with the app; it was 1 GB for each client."""
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

        assert host.wait_until(at_rest, PATIENCE)
        assert unnamed(started.workers()) <= 9 << 20
        assert flood.sent < 100 << 20
