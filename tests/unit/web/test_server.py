"""The page listens on loopback or on a given socket, and ends by itself when nobody asks."""

import contextlib
import http.client
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pushrod.system import network
from pushrod.web import pages, server
from pushrod.web.guard import Guard
from tests.unit.web.conftest import Web


def ask(port: int) -> int:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/enter", headers={"Host": f"0123456789abcdef.pushrod.localhost:{port}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        status: int = answer.status
        return status


@pytest.mark.slow
def test_it_answers_and_ends_when_nobody_asks_and_nothing_is_busy(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_LOOK", 0.05)
    monkeypatch.setattr(server._Server, "capture_signals", threading.Lock)  # signals are the main thread's
    listening, busy = server.on_loopback(), [True]
    port = listening.getsockname()[1]
    page: Guard = pages.make(web.site)
    thread = threading.Thread(
        target=server.serve, args=(page, [listening]), kwargs={"idle": 0.3, "busy": lambda: busy[0]}
    )
    thread.start()
    assert ask(port) == 200
    time.sleep(0.6)
    assert thread.is_alive(), "it ended while it was busy"
    busy.clear()
    busy.append(False)
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.slow
def test_the_domains_requests_come_by_the_sockets_that_has_no_address(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_LOOK", 0.05)
    monkeypatch.setattr(server._Server, "capture_signals", threading.Lock)
    web.domain = "ops.example.com"
    listening, edge = server.on_loopback(), socket.socket(socket.AF_UNIX)
    port = listening.getsockname()[1]
    edge.bind(str(tmp_path / "web"))
    edge.listen()
    page = pages.make(web.site)
    thread = threading.Thread(target=server.serve, args=(page, [listening, edge]), kwargs={"idle": 1.0})
    thread.start()
    asked = b"GET /enter HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"
    assert network.exchange(tmp_path / "web", asked % b"ops.example.com").startswith(b"HTTP/1.1 200")
    name = b"0123456789abcdef.pushrod.localhost:%d" % port
    assert network.exchange(tmp_path / "web", asked % name).startswith(b"HTTP/1.1 421")
    assert ask(port) == 200
    with socket.create_connection(("127.0.0.1", port)) as other:
        other.sendall(asked % b"ops.example.com")
        assert other.recv(100).startswith(b"HTTP/1.1 421")
    thread.join(20)
    assert not thread.is_alive()


@contextlib.contextmanager
def served(web: Web, monkeypatch: pytest.MonkeyPatch, patience: float) -> Iterator[int]:
    """The port of a page that waits `patience` seconds for a request."""
    monkeypatch.setattr(server, "_LOOK", 0.05)
    monkeypatch.setattr(server, "PATIENCE", patience)
    monkeypatch.setattr(server._Server, "capture_signals", threading.Lock)
    listening, busy = server.on_loopback(), [True]
    thread = threading.Thread(
        target=server.serve,
        args=(pages.make(web.site), [listening]),
        kwargs={"idle": 0.1, "busy": lambda: bool(busy)},
    )
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        busy.clear()
        thread.join(10)


HEAD = b"%s /enter HTTP/1.1\r\nHost: 0123456789abcdef.pushrod.localhost:%d\r\n"


@pytest.mark.parametrize("method", ["", "part of a head", "part of a form"])
def test_a_connection_without_a_complete_request_ends(
    method: str, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(web, monkeypatch, 0.3) as port:
        sent = {
            "": b"",
            "part of a head": HEAD % (b"GET", port),
            "part of a form": HEAD % (b"POST", port) + b"Content-Length: 9\r\n\r\nlink=",
        }[method]
        with socket.create_connection(("127.0.0.1", port), timeout=5) as other:
            other.sendall(sent)
            begun = time.monotonic()
            with contextlib.suppress(ConnectionResetError):
                assert other.recv(1) == b""
            assert 0.1 < time.monotonic() - begun < 4


def test_an_answer_is_not_cut_and_another_request_may_follow_it(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(web, monkeypatch, 1.5) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        for _ in range(3):
            connection.request(
                "GET", "/enter", headers={"Host": f"0123456789abcdef.pushrod.localhost:{port}"}
            )
            answer = connection.getresponse()
            assert (answer.status, bool(answer.read())) == (200, True)
            time.sleep(0.7)
        connection.close()


def test_connections_on_which_nothing_is_said_keep_nobody_from_the_page(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even while they last: the one that has waited longest makes room."""
    with served(web, monkeypatch, 60.0) as port, contextlib.ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(server.MOST + 6)
        ]
        assert ask(port) == 200
        silent[0].settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            assert silent[0].recv(1) == b"", "the first one has gone"
        silent[-1].setblocking(False)
        with pytest.raises(BlockingIOError):
            silent[-1].recv(1)


def test_a_port_that_is_taken_is_an_error() -> None:
    with server.on_loopback() as taken, pytest.raises(OSError, match="in use"):
        server.on_loopback(taken.getsockname()[1])


def test_only_a_socket_for_this_process_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LISTEN_PID", raising=False)
    assert server.given() == []
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert server.given() == []
    assert socket.AF_INET
