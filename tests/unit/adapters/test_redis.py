import contextlib
import hashlib
import io
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushrod.adapters import redis
from pushrod.core.errors import StoreError
from pushrod.system import accounts

PASSWORDS = {"app": "app-password", "health": "health-password"}


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


# ---- what is rendered ---------------------------------------------------------------------------------------


def test_the_configuration_is_complete() -> None:
    text = redis.configuration(
        26379, Path("/s/redis/data"), Path("/s/redis/users.acl"), Path("/s/redis/local.conf")
    )
    assert (
        text
        == """\
# Written by pushrod, and written again whenever it differs. Your own settings: local.conf, beside this file.
bind 127.0.0.1
port 26379
protected-mode yes
aclfile "/s/redis/users.acl"

daemonize no
logfile ""
loglevel notice

dir "/s/redis/data"
appendonly yes
appendfsync everysec
save ""

maxmemory-policy noeviction

include "/s/redis/local.conf"
"""
    )


def test_paths_are_quoted() -> None:
    text = redis.configuration(1, Path('/a b/"c"\\d\n'), Path("/u"), Path("/l"))
    assert r'dir "/a b/\"c\"\\d\n"' in text


def test_the_acl_is_complete_and_contains_no_password() -> None:
    app, health = (hashlib.sha256(p.encode()).hexdigest() for p in PASSWORDS.values())
    assert redis.acl(PASSWORDS).splitlines() == [
        "user default reset off",
        f"user app reset on #{app} ~* &* +@all -@admin -@dangerous "
        "+info +keys +flushdb +sort +sort_ro +role +client|list",
        f"user health reset on #{health} resetkeys resetchannels -@all +ping +info +acl|load +bgsave "
        "+slowlog|get",
    ]


def test_server_argv_names_the_file_that_configure_wrote(tmp_path: Path) -> None:
    redis.configure(tmp_path, 26379, PASSWORDS, None)
    program, file = redis.server_argv(Path("/usr/bin/valkey-server"), tmp_path)
    assert program == "/usr/bin/valkey-server"
    assert f'dir "{tmp_path / "data"}"' in Path(file).read_text()


@given(st.text(st.characters(codec="utf-8"), min_size=1))
@pytest.mark.slow
def test_url_round_trips_the_password(password: str) -> None:
    parts = urlsplit(redis.url("app", password, 26379, 3))
    assert unquote(parts.password or "") == password
    assert (parts.scheme, parts.username, parts.hostname, parts.port) == ("redis", "app", "127.0.0.1", 26379)
    assert parts.path == "/3"


# ---- what is written ----------------------------------------------------------------------------------------


def test_configure_returns_whether_it_wrote(tmp_path: Path) -> None:
    assert redis.configure(tmp_path, 26379, PASSWORDS, None)
    assert not redis.configure(tmp_path, 26379, PASSWORDS, None)
    assert redis.configure(tmp_path, 26380, PASSWORDS, None)
    assert redis.configure(tmp_path, 26380, PASSWORDS | {"app": "new"}, None)
    assert not redis.configure(tmp_path, 26380, PASSWORDS | {"app": "new"}, None)


def test_what_a_server_takes_when_it_starts_waits_for_its_next_start(tmp_path: Path) -> None:
    redis.configure(tmp_path, 26379, PASSWORDS, None)
    assert redis.waiting(tmp_path, 26379, "127.0.0.1", 1 << 20) == [
        "appendonly",
        "maxmemory",
        "maxmemory-policy",
    ]
    assert not redis.configure(tmp_path, 26379, PASSWORDS, None, cache=1 << 20)
    assert redis.waiting(tmp_path, 26379, "127.0.0.1", 1 << 20) == []
    users = tmp_path / "users.acl"
    users.write_text(users.read_text().replace(" +slowlog|get", ""))  # as an older pushrod wrote it
    assert not redis.configure(tmp_path, 26379, PASSWORDS, None, cache=1 << 20)
    assert users.read_text() == redis.acl(PASSWORDS)


def test_a_cache_is_bounded_and_keeps_nothing() -> None:
    text = redis.configuration(1, Path("/d"), Path("/u"), Path("/l"), cache=192 << 20)
    assert 'appendonly no\nsave ""\n\nmaxmemory 201326592\nmaxmemory-policy allkeys-lru\n' in text


def test_configured_files_are_readable_only_by_the_owner(tmp_path: Path) -> None:
    redis.configure(tmp_path, 26379, PASSWORDS, None)
    assert (tmp_path / "users.acl").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_configure_keeps_the_users_own_settings(tmp_path: Path) -> None:
    (tmp_path / "local.conf").write_text("maxmemory 100mb\n")
    redis.configure(tmp_path, 26379, PASSWORDS, None)
    assert (tmp_path / "local.conf").read_text() == "maxmemory 100mb\n"


def test_data_of_another_user_are_refused(tmp_path: Path) -> None:
    redis.configure(tmp_path, 26379, PASSWORDS, None)
    stranger = accounts.Account("stranger", (tmp_path / "data").stat().st_uid + 4321, 4321)
    with pytest.raises(StoreError, match="would run as user"):
        redis.configure(tmp_path, 26379, PASSWORDS, stranger)


@pytest.mark.parametrize(
    ("printed", "version"),
    [
        ("Valkey server v=9.1.2 sha=00000000:0 malloc=libc bits=64 build=1", "9.1.2"),
        ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64", "7.0.15"),
    ],
)
def test_the_version_is_read(tmp_path: Path, printed: str, version: str) -> None:
    (tmp_path / "server").write_text(f"#!/bin/sh\necho '{printed}'\n")
    (tmp_path / "server").chmod(0o755)
    assert redis.version(tmp_path / "server") == version


def test_version_of_another_program_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "server").write_text("#!/bin/sh\necho hello\n")
    (tmp_path / "server").chmod(0o755)
    with pytest.raises(StoreError):
        redis.version(tmp_path / "server")


# ---- what is asked ------------------------------------------------------------------------------------------


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


# ---- snapshots ------------------------------------------------------------------------------------------------

WHOLE = b"REDIS0011" + b"data" * 20 + b"\xff" + b"\x01" * 8


@pytest.mark.parametrize("raw", [WHOLE, b"VALKEY080" + WHOLE[9:]])
def test_a_complete_snapshot_is_accepted(raw: bytes) -> None:
    redis.check_snapshot(io.BytesIO(raw))


@pytest.mark.parametrize(
    "raw",
    [b"", WHOLE[:-1], WHOLE[:20], b"PGDMP" + WHOLE, WHOLE + b"0123456789abcdef0123456789abcdef01234567"],
)
def test_an_invalid_or_truncated_snapshot_is_refused(raw: bytes) -> None:
    with pytest.raises(StoreError, match="not a complete snapshot"):
        redis.check_snapshot(io.BytesIO(raw))


@pytest.mark.parametrize("mark", [b"", b"0123456789abcdef0123456789abcdef01234567"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_end_mark_after_a_snapshot_is_removed(mark: bytes, size: int) -> None:
    written, raw = io.BytesIO(), WHOLE + mark
    taken = redis.Snapshot(written)
    for at in range(0, len(raw), size):
        taken.write(raw[at : at + size])
    taken.end()
    assert written.getvalue() == WHOLE
