"""Answers with many headers pass through the edge, at no cost to others."""

import contextlib
import http.client
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from devtools.servers import free_port
from pushrod.adapters.nginx import Edge
from pushrod.core.site import Site
from pushrod.core.values import Route, Routing
from pushrod.system import waits
from tests.integration.edges import PATIENCE, Started, a_started_edge
from tests.integration.test_bad_requests import Recorder, exchange, statuses

pytestmark = pytest.mark.integration

LARGEST = 32 << 10
"""Bytes of an answer's headers that are allowed by default."""


class Answering(Recorder):
    """Answers with the number and size of headers in the path: `/3x1000`."""

    def serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
            while head := self.head(stream.readline):
                count, size = map(int, re.search(rb"/(\d+)x(\d+) ", head).groups())  # type: ignore[union-attr]
                lines = b"".join(b"X-%04d: " % n + b"x" * (size - 10) + b"\r\n" for n in range(count))
                connection.sendall(b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: 2\r\n\r\nok")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    with a_started_edge(tmp_path_factory.mktemp("edge")) as made:
        yield made


@pytest.fixture
def edge(started: Started) -> Edge:
    return started.edge


def serve(edge: Edge, *routes: Route) -> int:
    port = free_port()
    backend = (Answering().address,)
    edge.switch(
        {"shop": Site("shop", 1, port, backend, ("shop.test",), entry="web", routing=Routing(routes))}
    )
    return port


def get(port: int, path: str) -> bytes:
    return exchange(port, f"GET {path} HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize(
    ("count", "size"), [(1, 4100), (1, 9000), (1, 30_000), (1, LARGEST), (8, 4096), (32, 1024), (300, 109)]
)
def test_headers_of_32_kb_pass_by_default(edge: Edge, count: int, size: int) -> None:
    answer = get(serve(edge), f"/{count}x{size}")
    assert statuses(answer) == [200]
    assert answer.count(b"X-0") == count
    assert answer.count(b"x" * (size - 10)) == count


def test_larger_headers_are_refused_except_on_a_route_that_allows_them(edge: Edge) -> None:
    huge = Route("/huge/", service="web", max_headers=64 << 10)
    little = Route("/little/", service="web", max_headers=9 << 10)
    port = serve(edge, huge, little)
    assert statuses(get(port, "/1x70000")) == [502]
    assert statuses(get(port, "/little/1x10000")) == [502]
    assert statuses(get(port, "/little/1x8000")) == [200]
    for size in (20, 30_000, 64_000):
        assert statuses(get(port, f"/huge/1x{size}")) == [200], size


@pytest.mark.parametrize("reloads", range(4))
def test_requests_allocate_no_memory_from_the_system(started: Started, reloads: int) -> None:
    """A worker causes no page faults for sequential requests, however often it was replaced."""
    port = 0
    for _ in range(reloads + 1):
        port = serve(started.edge)
    assert waits.wait_until(lambda: len(workers(started)) == 2, PATIENCE), "an old worker stays"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        send_requests(connection, 50)
        before = faults(started)
        send_requests(connection, 200)
        assert faults(started) - before < 200


def send_requests(connection: http.client.HTTPConnection, count: int) -> None:
    for _ in range(count):
        connection.request("GET", "/1x20", headers={"Host": "shop.test"})
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"ok")


def faults(started: Started) -> int:
    """The workers' page faults so far."""
    stats = (Path(f"/proc/{w.pid}/stat").read_text() for w in workers(started))
    return sum(int(stat.rpartition(")")[2].split()[7]) for stat in stats)


def workers(started: Started) -> list[psutil.Process]:
    """The workers, including those that are leaving."""
    assert started.process
    return psutil.Process(started.process.pid).children()
