import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pushrod.adapters import redis
from pushrod.core.errors import StoreError


@contextlib.contextmanager
def answering(*conversations: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A port that answers each connection with the next bytes; yields it with the requests it received."""
    asked: list[bytes] = []

    def serve() -> None:
        for answer in conversations:
            connection, _ = listener.accept()
            with connection:
                asked.append(connection.recv(65536))
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], asked
        thread.join(10)


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (b"+PONG\r\n", "PONG"),
        (b":42\r\n", 42),
        (b"$5\r\na\r\nb \r\n", "a\r\nb "),
        (b"$0\r\n\r\n", ""),
        (b"$-1\r\n", None),
        (b"*-1\r\n", None),
        (b"*3\r\n$1\r\na\r\n*1\r\n:1\r\n$-1\r\n", ["a", [1], None]),
        ("$2\r\nü\r\n".encode(), "ü"),
    ],
)
def test_replies_are_parsed(answer: bytes, reply: redis.Reply) -> None:
    with answering(b"+OK\r\n" + answer) as (port, _):
        assert redis.command(port, "app", "secret", "GET", "x") == reply


def test_a_command_is_sent_after_the_password() -> None:
    with answering(b"+OK\r\n+OK\r\n") as (port, asked):
        redis.command(port, "app", "s ü\r\n", "SET", "k", "v")
    auth = "*3\r\n$4\r\nAUTH\r\n$3\r\napp\r\n$6\r\ns ü\r\n\r\n".encode()
    assert asked == [auth + b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"]


def test_an_error_contains_the_servers_message() -> None:
    with (
        answering(b"-WRONGPASS invalid username-password pair\r\n-NOAUTH\r\n") as (port, _),
        pytest.raises(StoreError) as caught,
    ):
        redis.command(port, "app", "wrong", "PING")
    assert caught.value.what == "WRONGPASS invalid username-password pair"
    assert caught.value.where == f"Redis on port {port}"
    assert caught.value.hint


@pytest.mark.parametrize("answer", [b"", b"+O", b"+OK\r\n", b"+OK\r\n$10\r\nab", b"+OK\r\n*2\r\n:1\r\n"])
def test_a_connection_that_ends_in_the_middle_is_an_error(answer: bytes) -> None:
    with answering(answer) as (port, _), pytest.raises(StoreError, match="does not answer"):
        redis.command(port, "app", "secret", "PING")


def test_ready_waits_while_the_data_are_loaded(tmp_path: Path) -> None:
    loading = b"+OK\r\n-LOADING Valkey is loading the dataset in memory\r\n"
    with answering(loading, b"", loading, b"+OK\r\n+PONG\r\n") as (port, asked):
        redis.ready(port, "health", "secret", 10, tmp_path / "log")
    assert len(asked) == 4


def test_ready_gives_up_with_the_end_of_the_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("Can't open the append-only file\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(StoreError, match="not ready: does not answer: connection refused") as caught:
        redis.ready(port, "health", "secret", 0.05, tmp_path / "log")
    assert caught.value.log == ("Can't open the append-only file",)
