"""Calls over a real unix socket to Python's own XML-RPC dispatcher, and to sockets that misbehave."""

import socket
import threading
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xmlrpc.server import SimpleXMLRPCDispatcher

import pytest

from pushrod.core.errors import HostError
from pushrod.engines.embedded import rpc


def refuse(code: int) -> None:
    raise xmlrpc.client.Fault(code, f"FAULT {code}")


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A socket whose server answers each connection once."""
    dispatcher = SimpleXMLRPCDispatcher(allow_none=True)
    dispatcher.register_function(lambda *a: list(a), "echo")
    dispatcher.register_function(lambda code: refuse(code) or True, "refuse")
    dispatcher.register_multicall_functions()
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "s"))
        s.listen()
        thread = threading.Thread(target=serve, args=(s, dispatcher), daemon=True)
        thread.start()
        yield tmp_path / "s"
        s.shutdown(socket.SHUT_RDWR)
        thread.join()


def serve(listener: socket.socket, dispatcher: SimpleXMLRPCDispatcher) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, connection.makefile("rb") as f:
            length = 0
            while (line := f.readline().strip().lower()) != b"":
                if line.startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            body: Any = dispatcher._marshaled_dispatch(f.read(length))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + bytes(body))


def test_a_call_returns_the_result(path: Path) -> None:
    assert rpc.call(path, "echo", "shop-r1:*", 1, True, ["ü"]) == ["shop-r1:*", 1, True, ["ü"]]


@pytest.mark.parametrize(("code", "meaning"), [(6, "is stopping"), (70, "does not run"), (1234, "refuses")])
def test_a_fault_has_a_readable_message(path: Path, code: int, meaning: str) -> None:
    with pytest.raises(rpc.Refused, match=meaning) as caught:
        rpc.call(path, "refuse", code)
    assert caught.value.code == code
    assert f"FAULT {code}" in str(caught.value)


def test_several_calls_are_sent_together(path: Path) -> None:
    rpc.call_all(path, [("echo", (1,)), ("refuse", (rpc.NOT_RUNNING,))], ignore=(rpc.NOT_RUNNING,))
    with pytest.raises(rpc.Refused):
        rpc.call_all(path, [("echo", (1,)), ("refuse", (rpc.NOT_RUNNING,))])


def test_a_missing_socket_is_reported(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"does not answer: .*No such file"):
        rpc.call(tmp_path / "none", "echo")


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 500 No\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n<a"]
)
def test_an_invalid_answer_is_reported(tmp_path: Path, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "s"))
        s.listen()

        def reply() -> None:
            connection, _ = s.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        with pytest.raises(HostError, match="does not answer"):
            rpc.call(tmp_path / "s", "echo")
        thread.join()


@pytest.mark.slow
def test_a_call_times_out(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "s"))
        s.listen()
        with pytest.raises(HostError, match="timed out"):
            rpc.call(tmp_path / "s", "echo", timeout=0.1)
