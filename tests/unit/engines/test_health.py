"""Probes of real servers, good and bad."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from pushrod.core.errors import ReadyError
from pushrod.core.values import Health, Instance
from pushrod.engines import health
from pushrod.engines.health import problem
from tests.unit import samples

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PATH = Health(path="/healthz?deep=1")


class Server:
    """A server on a port of its own: answers every connection with the same bytes, and keeps what it was asked."""

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.asked: list[bytes] = []
        self.instance = Instance("backend-1", "backend", self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                if self._answer is None:
                    self._open.append(connection)  # never answered, never closed
                    continue
                with connection:
                    self.asked.append(connection.recv(4096))
                    connection.sendall(self._answer)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()
        for connection in self._open:
            connection.close()


Serve = Callable[[bytes | None], Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Server] = []

    def start(answer: bytes | None) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def nobody() -> Instance:
    """An instance on whose port nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        return Instance("backend-1", "backend", s.getsockname()[1])


def head(status: str, *more: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", "Content-Length: 0", *more, "", ""]).encode()


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        head("204 No Content"),
        head("302 Found", "Location: http://127.0.0.1:1/"),
        head("304 Not Modified"),
    ],
    ids=["200", "204", "302", "304"],
)
def test_an_answer_in_the_2xx_or_3xx_is_healthy(answer: bytes, serve: Serve) -> None:
    server = serve(answer)
    assert problem(server.instance, PATH) == ""
    assert len(server.asked) == 1, "a redirection is an answer and is not followed"
    assert server.asked[0].startswith(b"GET /healthz?deep=1 HTTP/1.1\r\n")


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "500 Oops", "503 Busy"])
def test_any_other_answer_is_reported_with_its_status(status: str, serve: Serve) -> None:
    answered = problem(serve(head(status)).instance, PATH)
    name = " (Host: localhost)" if status[0] == "4" else ""
    assert answered == f"GET /healthz?deep=1 answered {status[:3]}{name}"


@pytest.mark.parametrize(
    "answer",
    [b"\r\n", b"\x00\x1b[2J\xff" * 40, b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n", b"H" * 70_000],
    ids=["blank", "binary", "ssh", "no number", "endless"],
)
def test_garbage_is_not_healthy_and_not_shown(answer: bytes, serve: Serve) -> None:
    reported = problem(serve(answer).instance, PATH)
    assert reported.startswith("GET /healthz?deep=1 was not answered in HTTP")
    assert len(reported) < 80


def test_a_server_that_closes_the_connection_is_unhealthy(serve: Serve) -> None:
    assert (
        problem(serve(b"").instance, PATH)
        == "GET /healthz?deep=1: Remote end closed connection without response"
    )


@pytest.mark.parametrize(("path", "asked"), [("/zdraví", "/zdrav%C3%AD"), ("/a b%20c", "/a%20b%20c")])
def test_any_path_can_be_requested(path: str, asked: str, serve: Serve) -> None:
    server = serve(OK)
    assert problem(server.instance, Health(path=path)) == ""
    assert server.asked[0].startswith(f"GET {asked} HTTP/1.1\r\n".encode())


@pytest.mark.slow
def test_a_server_that_hangs_is_not_healthy(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_TIMEOUT", 0.1)
    assert problem(serve(None).instance, PATH) == "GET /healthz?deep=1: timed out"


@pytest.mark.parametrize("given", [PATH, Health()])
def test_a_port_that_refuses_is_not_healthy(given: Health, nobody: Instance) -> None:
    assert problem(nobody, given) == f"nothing listens on its port ({nobody.port}, given in $PORT)"


def test_without_a_path_accepting_is_enough(serve: Serve) -> None:
    assert problem(serve(None).instance, Health()) == ""


@pytest.mark.parametrize("given", [PATH, Health()])
def test_an_instance_without_a_port_is_not_probed(given: Health) -> None:
    assert problem(Instance("worker-1", "worker"), given) == ""


# ---- the first page --------------------------------------------------------------------------------------------


def first_pages(*servers: Server, deadline: float = 0.3, look: Callable[[], object] = bool) -> list[str]:
    instances = tuple(s.instance for s in servers)
    return health.first_pages(samples.release(7, instances=instances), instances, deadline, look)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "reported"),
    [
        (OK, ""),
        (head("302 Found"), ""),
        (head("401 Who"), "answers 401 at /"),
        (head("404 None"), "answers 404 at /"),
        (head("500 Oops"), "answers 500 at /"),
        (b"SSH-2.0\r\n", "answers nothing at /"),
        (b"", "answers nothing at /"),
        (None, "answers nothing at /"),
    ],
    ids=["200", "302", "401", "404", "500", "no http", "hangs up", "silent"],
)
def test_an_error_on_the_first_page_is_reported(
    answer: bytes | None, reported: str, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_PATIENCE", 0.2)
    monkeypatch.setattr(health, "_TIMEOUT", 0.2)
    notes = first_pages(serve(answer))
    assert len(notes) == bool(reported)
    assert reported in "".join(notes)


@pytest.mark.slow
def test_an_instance_that_warms_up_is_given_time(serve: Serve) -> None:
    server = serve(head("503 Soon"))

    def look() -> None:
        server._answer = OK

    assert first_pages(server, look=look) == []
    assert len(server.asked) > 2


def test_an_instance_that_listens_and_then_ends_is_detected(serve: Serve) -> None:
    """As a server whose workers fail while its own process holds the port."""

    def look() -> None:
        raise ReadyError("ended")

    with pytest.raises(ReadyError):
        first_pages(serve(b""), deadline=60, look=look)


def test_the_first_page_is_requested_with_the_apps_host_name(serve: Serve) -> None:
    server, named = serve(OK), samples.service(health=Health(host="shop.test"))
    release = samples.release(7, services=(named,), instances=(server.instance,))
    assert health.first_pages(release, [server.instance], 1, bool) == []
    assert b"Host: shop.test\r\n" in server.asked[0]
