"""How an image of Redis is used as a store, and calls of one in a container; the lab has real servers."""

import io
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pushrod.core.errors import HostError, StoreError
from pushrod.core.values import Service
from pushrod.stores import redis, redis_driver
from pushrod.stores.administration import Slow
from pushrod.stores.backup_drivers import Archive
from pushrod.stores.kinds import ContainerStore
from pushrod.system import processes
from tests.unit import samples


def made(*options: str, **changes: Any) -> Service:
    command = ("redis-server", *options) if options else ()
    return samples.store("redis", **({"store": "redis", "image": "redis:7", "command": command} | changes))


def no_password(whose: str) -> str:
    raise AssertionError(whose)


def archive(store: Service) -> Archive | None:
    return redis.KIND.server(ContainerStore("shop", store, "shop-cache", no_password)).archive(ddl=True)


@pytest.mark.parametrize(
    ("given", "password", "port"),
    [
        ({}, "", 6379),
        ({"command": ("redis-server", "--appendonly", "yes")}, "", 6379),
        ({"command": ("redis-server", "--requirepass", "x y", "--port", "7000")}, "x y", 7000),
        ({"command": ("sh", "-c", "exec redis-server --requirepass hunter22")}, "hunter22", 6379),
        (
            {"command": ("sh", "-c", 'redis-server --requirepass "$PW"'), "environment": {"PW": "v"}},
            "v",
            6379,
        ),
        (
            {"command": ("sh", "-c", "redis-server --requirepass ${PW}"), "environment": {"PW": "v"}},
            "v",
            6379,
        ),
        ({"command": ("sh", "-c", "redis-server --requirepass $(cat /run/secrets/pw)")}, None, 6379),
        ({"command": ("redis-server", "--requirepass", "$PW")}, None, 6379),
        ({"command": ("redis-server", "--aclfile", "/users")}, None, 6379),
        ({"command": ("redis-server", "--requirepass")}, None, 6379),
        ({"command": ("redis-server", "--port", "x")}, "", 6379),
        ({"command": ("redis-server", "it's open")}, "", 6379),
    ],
)
def test_password_and_port_are_read_from_the_command(
    given: dict[str, Any], password: str | None, port: int
) -> None:
    store = made(**given)
    assert (redis.password(store), redis.port(store)) == (password, port)
    assert bool(redis.KIND.remark(store)) is (password is None)
    assert (archive(store) is None) is (password is None)


def test_the_password_of_a_bitnami_image_is_read() -> None:
    assert redis.password(made(image="bitnami/redis:7", environment={"REDIS_PASSWORD": "x"})) == "x"


def test_the_endpoint_has_the_store_name() -> None:
    def address_of(store: Service) -> tuple[str, bool] | None:
        endpoint = redis.KIND.endpoint(store, "shop", no_password, ours=True)
        return (endpoint.url, endpoint.adopts) if endpoint else None

    assert address_of(made()) == ("redis://redis:6379/0", False)
    assert address_of(made("--requirepass", "x y", "--port", "7000")) == (
        "redis://:x%20y@redis:7000/0",
        False,
    )
    assert address_of(made("--aclfile", "/users")) is None


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `docker` with only redis-cli, which records its argv and variables; returns the file with them."""
    program, record = tmp_path / "bin" / "docker", tmp_path / "record"
    program.parent.mkdir()
    program.write_text(
        f"""#!/bin/sh
echo "$REDISCLI_AUTH: $*" >> {record}
case "$*" in
*valkey-cli*) exit 127 ;;
*--version*) ;;
*"-p 2 "*) yes 'a_version:1' | head -c 6000000 ;;
*"-p 1 "*) echo 'Could not connect to Redis' >&2; exit 1 ;;
*info*) printf 'redis_version:7.2.4\\r\\n' ;;
*"INFO keyspace") printf '# Keyspace\\r\\ndb0:keys=3,expires=1,avg_ttl=9\\r\\ndb4:keys=2,expires=0\\r\\n' ;;
*" -p 6380 --rdb -") printf 'REDIS0011x\\377%s%s' 12345678 0123456789abcdef0123456789abcdef01234567 ;;
*) echo 'Could not connect to Redis' >&2; exit 1 ;;
esac
"""
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return record


def asked(port: str = "6380") -> Archive:
    result = archive(made("--port", port, "--requirepass", "s3cret"))
    assert result
    return result


def test_the_password_of_a_redis_is_in_no_argv(docker: Path) -> None:
    result = asked()
    assert result.version() == "7.2.4"
    written = io.BytesIO()
    assert result.save(written) == {"keys that do not expire": 4}
    assert written.getvalue() == b"REDIS0011x\xff12345678"
    written.seek(0)
    result.check(written)
    record = docker.read_text().splitlines()
    assert "s3cret: exec --env REDISCLI_AUTH shop-cache redis-cli -p 6380 --rdb -" in record
    assert not [line for line in record if "s3cret" in line.partition(": ")[2]]


def test_a_redis_that_does_not_answer_is_reported(docker: Path) -> None:
    with pytest.raises(StoreError, match="Could not connect to Redis"):
        asked(port="1").save(io.BytesIO())


def test_an_answer_of_a_redis_without_end_is_refused(docker: Path) -> None:
    """An app's own image decides what it says of its version."""
    with pytest.raises(HostError, match="prints more than 4 MiB"):
        asked(port="2").version()


DURABLE = list(redis.options(cache=0))
CACHE = ["--save", "", "--appendonly", "no", "--maxmemory", "96", "--maxmemory-policy", "allkeys-lru"]


@pytest.mark.parametrize(
    ("name", "profile", "before", "expected"),
    [
        ("redis", "", None, DURABLE),
        ("redis", "", DURABLE, DURABLE),
        ("redis", "", [], []),  # it exists, with the image's own way: an append-only file would be missing
        ("redis", "durable", [], []),
        ("redis", "", ["--save", "60", "1"], []),
        ("redis", "cache", None, CACHE),
        ("redis", "cache", [], CACHE),
        ("redis", "", CACHE, DURABLE),
        ("cache", "", None, CACHE),
        ("cache", "", [], []),
        ("cache", "durable", None, DURABLE),
    ],
)
def test_a_new_redis_is_durable_or_a_cache(
    name: str, profile: str, before: list[str] | None, expected: list[str]
) -> None:
    store = msgspec.structs.replace(made(), name=name, profile=profile)
    assert redis.KIND.first_command(store, 128, before) == expected


@pytest.mark.parametrize(
    ("there", "appends"),
    [
        ((), True),
        (("dump.rdb",), False),
        (("appendonlydir",), True),
        (("dump.rdb", "appendonlydir"), True),
        (("dump.rdb", "appendonly.aof"), True),  # Redis 6, whose snapshot is older than that
    ],
)
def test_a_snapshot_from_elsewhere_is_not_passed_over(
    tmp_path: Path, there: tuple[str, ...], appends: bool
) -> None:
    """The real shell, with a program instead of the image's entrypoint."""
    (tmp_path / "bin").mkdir()
    entry = tmp_path / "bin" / "docker-entrypoint.sh"
    entry.write_text('#!/bin/sh\necho "$@"\n')
    entry.chmod(0o755)
    (tmp_path / "data").mkdir()
    for name in there:
        (tmp_path / "data" / name).touch()
    environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin"}
    done = processes.run(redis.options(cache=0), cwd=tmp_path / "data", env=environment)
    assert ("--appendonly yes" in done.stdout, "noeviction" in done.stdout) == (appends, True)
    assert "$" not in redis.options(cache=0)[-1]


def test_a_redis_with_a_command_of_its_own_keeps_it() -> None:
    assert redis.KIND.first_command(made("--save", "60"), 128, None) == []
    assert redis.KIND.first_command(made(image="bitnami/redis:7"), 128, None) == []


def test_figures_of_a_server() -> None:
    info = (
        "# Server\r\nredis_version:7.2.4\r\nvalkey_version:9.1.2\r\nuptime_in_seconds:60\r\nused_memory:100\r\n"
        "used_memory_peak:200\r\nmaxmemory:300\r\nmaxmemory_policy:allkeys-lru\r\nkeyspace_hits:3\r\n"
        "keyspace_misses:1\r\nevicted_keys:5\r\nexpired_keys:6\r\nconnected_clients:2\r\naof_enabled:0\r\n"
        "db0:keys=4,expires=0\r\ndb3:keys=5,expires=1\r\n"
    )
    slow = [[1, 1700000000, 12000, ["set", "secret", "value"], "127.0.0.1:1", ""]]
    stats = redis_driver.stats_of(info, slow)
    assert (stats.version, stats.keys, stats.hit_rate, stats.append_only) == ("9.1.2", 9, 0.75, False)
    assert (stats.memory, stats.peak, stats.limit, stats.evicted, stats.expired) == (100, 200, 300, 5, 6)
    assert stats.slow == (Slow(1700000000, 12000, "SET", 2),)
    assert redis_driver.stats_of("redis_version:7.0\r\n", None).hit_rate is None
