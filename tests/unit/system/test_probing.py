"""Hostile servers: none takes longer than the time limit or more than the byte limit, and no other is delayed."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pushrod.system import probing
from pushrod.system.probing import Answer, Question, ask

Talk = Callable[[socket.socket], None]


@pytest.fixture
def served() -> Iterator[Callable[[Talk], Question]]:
    sockets: list[socket.socket] = []
    end = threading.Event()

    def start(talk: Talk) -> Question:
        listening = socket.create_server(("127.0.0.1", 0))
        sockets.append(listening)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while not end.is_set():
                    connection, _ = listening.accept()
                    with contextlib.suppress(OSError), connection:
                        connection.recv(4096)
                        talk(connection)

        threading.Thread(target=serve, daemon=True).start()
        return Question("127.0.0.1", listening.getsockname()[1], "/")

    yield start
    end.set()
    for one in sockets:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


def sends(*parts: bytes) -> Talk:
    def talk(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)

    return talk


def dribbles(connection: socket.socket) -> None:
    """A head that goes on and on; each byte comes well before a single read would time out."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in range(400):
        connection.sendall(b"a")
        time.sleep(0.01)


def floods(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-More: and more\r\n" * 100)


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], 204),
        ([b"HTTP/1.0 200 OK\n\nbody"], 200),
        ([b"HT", b"TP/1.1 2", b"00\r\nA: b\r\n", b"\r", b"\nbody"], 200),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 404 None\r\n\r\n"], 404),
        ([b"HTTP/1.1 500 Oops\r\n"], 500),
    ],
)  # fmt: skip
def test_the_status_is_parsed(served: Callable[[Talk], Question], parts: list[bytes], status: int) -> None:
    assert ask([served(sends(*parts))]) == [Answer(status)]


@pytest.mark.parametrize(
    "sent", [b"HTTP/1.1 abc\r\n\r\n", b"HTTP/2 200\r\n\r\n", b"SSH-2.0\r\n", b"\r\n", b"H" * 99]
)
def test_an_answer_that_is_not_http_is_reported(served: Callable[[Talk], Question], sent: bytes) -> None:
    assert ask([served(sends(sent))]) == [Answer(why="was not answered in HTTP")]


def test_an_endless_header_is_cut_off(served: Callable[[Talk], Question]) -> None:
    assert ask([served(floods)], 60) == [Answer(why="was not answered in HTTP")]


@pytest.mark.slow
def test_a_slow_answer_has_one_time_limit_in_total(served: Callable[[Talk], Question]) -> None:
    assert ask([served(dribbles)], 0.2) == [Answer(why="timed out")]


@pytest.mark.slow
def test_slow_servers_do_not_delay_others(
    served: Callable[[Talk], Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three at a time: the good one comes last, and is asked once those before it have timed out."""
    monkeypatch.setattr(probing, "WIDTH", 3)
    bad, good = served(dribbles), served(sends(b"HTTP/1.1 200 OK\r\n\r\n"))
    result = ask([bad, bad, bad, bad, good], 0.2)
    assert result == [*[Answer(why="timed out")] * 4, Answer(200)]


def test_a_port_without_a_path_is_only_connected_to(served: Callable[[Talk], Question]) -> None:
    question = served(sends())
    with socket.create_server(("127.0.0.1", 0)) as unused:
        closed = unused.getsockname()[1]
    assert ask([question._replace(target=""), Question("127.0.0.1", closed)]) == [
        Answer(),
        Answer(why="Connection refused", refused=True),
    ]


def test_no_questions_give_no_answers() -> None:
    assert ask([]) == []
