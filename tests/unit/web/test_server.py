"""The page listens on loopback or on a given socket, and ends by itself when nobody asks."""

import socket
import threading
import time
import urllib.request
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
