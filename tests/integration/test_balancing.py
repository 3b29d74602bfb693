"""Several instances behind the edge: who gets a request or its retry, and on how many connections."""

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from devtools.servers import free_port
from pushrod.adapters.nginx import Edge
from pushrod.core.site import Site
from pushrod.system import waits
from tests.integration.edges import PATIENCE, Backend, InFlight, ask

pytestmark = pytest.mark.integration

Make = Callable[[str], Backend]


class Instance:
    """A backend on raw sockets: it counts connections and requests, and handles each request as told."""

    def __init__(self, does: str = "answer", port: int = 0) -> None:
        self.does = does
        self.connections = 0
        self.requests: list[str] = []
        self.socket = socket.create_server(("127.0.0.1", port))
        self.port = self.socket.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End as a killed process does: nothing listens, and open connections are reset."""
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
                connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
            while line := stream.readline():
                length = 0
                while (header := stream.readline()) not in (b"\r\n", b""):
                    if header.lower().startswith(b"content-length:"):
                        length = int(header.split(b":")[1])
                stream.read(length)
                self.requests.append(line.decode().split()[0])
                if self.does == "end":
                    return
                body = self.address.encode()
                status = b"503 Busy" if self.does == "refuse" else b"200 OK"
                connection.sendall(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))


@pytest.fixture
def instance() -> Iterator[Callable[..., Instance]]:
    made: list[Instance] = []

    def start(*given: Any) -> Instance:
        made.append(Instance(*given))
        return made[-1]

    yield start
    for one in made:
        with contextlib.suppress(OSError):
            one.close()


def serve(edge: Edge, *addresses: str) -> int:
    port = free_port()
    edge.switch({"shop": Site("shop", 1, port, addresses)})
    return port


def test_the_instance_with_the_fewest_requests_gets_the_next(edge: Edge, backend: Make) -> None:
    """Whichever of nginx's workers has the connection: they share this information."""
    one, two = backend("one"), backend("two")
    port = serve(edge, one.address, two.address)
    slow = [InFlight(port)]
    assert waits.wait_until(lambda: one.asked.is_set() or two.asked.is_set(), PATIENCE)
    busy, free = (one, two) if one.asked.is_set() else (two, one)
    assert {ask(port).body for _ in range(30)} == {free.name}
    busy.may_answer.set()
    assert slow[0].answer().status == 200
    assert {ask(port).body for _ in range(30)} == {"one", "two"}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST", "PATCH"])
def test_a_refused_connection_is_retried_at_another_instance(
    edge: Edge, instance: Callable[..., Instance], method: str
) -> None:
    """Nothing has been sent yet, so this applies to every method."""
    one = instance()
    port = serve(edge, f"127.0.0.1:{free_port()}", one.address)
    assert [ask(port, "/", method, "x").status for _ in range(6)] == [200] * 6
    assert one.requests == [method] * 6


@pytest.mark.parametrize(
    ("method", "status", "times"),
    [("GET", 200, 1), ("PUT", 200, 1), ("DELETE", 200, 1), ("POST", 502, 0), ("PATCH", 502, 0)],
)
def test_a_request_that_may_have_been_processed_is_retried_only_if_harmless(
    edge: Edge, instance: Callable[..., Instance], method: str, status: int, times: int
) -> None:
    """One instance ends after receiving a request. A POST is not sent to another."""
    dying, one = instance("end"), instance()
    port = serve(edge, dying.address, one.address)
    for _ in range(4):
        before = len(one.requests)
        answer = ask(port, "/", method, "x")
        if dying.requests:
            break
        assert answer.status == 200
    assert (answer.status, dying.requests, len(one.requests) - before) == (status, [method], times)


def test_an_error_answer_is_not_retried(edge: Edge, instance: Callable[..., Instance]) -> None:
    """Including errors: the request is not sent to another instance, and the instance stays in use."""
    busy, one = instance("refuse"), instance()
    port = serve(edge, busy.address, one.address)
    answers = [ask(port).status for _ in range(10)]
    assert (answers.count(503), answers.count(200)) == (len(busy.requests), len(one.requests))
    assert min(len(busy.requests), len(one.requests)) > 1


def test_a_single_instance_that_restarts_is_used_at_once(
    edge: Edge, instance: Callable[..., Instance]
) -> None:
    """One of several would be skipped for a while; a single one cannot be."""
    one = instance()
    port = serve(edge, one.address)
    assert ask(port).status == 200
    one.close()
    assert waits.wait_until(lambda: ask(port).status == 502, PATIENCE)
    assert [ask(port).status for _ in range(10)] == [502] * 10
    instance("answer", one.port)
    assert [ask(port).status for _ in range(10)] == [200] * 10


def test_several_instances_that_restart_are_used_soon(edge: Edge, instance: Callable[..., Instance]) -> None:
    """Almost at once: each is skipped for 2 s, or for what is left of that. nginx's default is 10."""
    one, two = instance(), instance()
    port = serve(edge, one.address, two.address)
    for made in (one, two):
        made.close()
    assert waits.wait_until(lambda: ask(port).status == 502, PATIENCE)
    for made in (one, two):
        instance("answer", made.port)
    assert waits.wait_until(lambda: [ask(port).status for _ in range(10)] == [200] * 10, 5.0)


def test_connections_to_instances_are_kept(edge: Edge, instance: Callable[..., Instance]) -> None:
    """At most one per nginx worker, if requests come one after another."""
    one = instance()
    port = serve(edge, one.address)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        for _ in range(50):
            connection.request("GET", "/")
            assert connection.getresponse().read()
    assert len(one.requests) == 50
    assert one.connections == 1
    for _ in range(50):
        ask(port)
    assert len(one.requests) == 100
    assert one.connections <= 2
