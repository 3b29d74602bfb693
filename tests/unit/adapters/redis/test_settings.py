import hashlib
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushrod.adapters import redis
from pushrod.core.errors import StoreError
from pushrod.system import accounts

PASSWORDS = {"app": "app-password", "health": "health-password"}


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
