"""What an image of a Redis promises, and how one in a container is asked; the real ones are in the lab."""

import io
from pathlib import Path
from typing import Any

import pytest

from pushrod.core.errors import StoreError
from pushrod.core.values import Service
from pushrod.stores import redis
from pushrod.stores.backup_drivers import Archive
from pushrod.stores.kinds import ContainerStore
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
def test_what_its_command_says(given: dict[str, Any], password: str | None, port: int) -> None:
    store = made(**given)
    assert (redis.password(store), redis.port(store)) == (password, port)
    assert bool(redis.KIND.remark(store)) is (password is None)
    assert (archive(store) is None) is (password is None)


def test_one_of_another_publisher() -> None:
    assert redis.password(made(image="bitnami/redis:7", environment={"REDIS_PASSWORD": "x"})) == "x"


def test_it_is_found_under_its_name() -> None:
    def found(store: Service) -> tuple[str, bool] | None:
        endpoint = redis.KIND.endpoint(store, "shop", no_password, ours=True)
        return (endpoint.url, endpoint.adopts) if endpoint else None

    assert found(made()) == ("redis://redis:6379/0", False)
    assert found(made("--requirepass", "x y", "--port", "7000")) == ("redis://:x%20y@redis:7000/0", False)
    assert found(made("--aclfile", "/users")) is None


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `docker` that writes down its argv and variables; it has only redis-cli. The file it writes."""
    program, told = tmp_path / "bin" / "docker", tmp_path / "told"
    program.parent.mkdir()
    program.write_text(
        f"""#!/bin/sh
echo "$REDISCLI_AUTH: $*" >> {told}
case "$*" in
*valkey-cli*) exit 127 ;;
*--version*) ;;
*info*) printf 'redis_version:7.2.4\\r\\n' ;;
*" -p 6380 --rdb -") printf 'REDIS0011x\\377%s%s' 12345678 0123456789abcdef0123456789abcdef01234567 ;;
*) echo 'Could not connect to Redis' >&2; exit 1 ;;
esac
"""
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return told


def asked(port: str = "6380") -> Archive:
    found = archive(made("--port", port, "--requirepass", "s3cret"))
    assert found
    return found


def test_the_password_of_a_redis_is_in_no_argv(docker: Path) -> None:
    found = asked()
    assert found.version() == "7.2.4"
    written = io.BytesIO()
    assert found.save(written) == {}
    assert written.getvalue() == b"REDIS0011x\xff12345678"
    written.seek(0)
    found.check(written)
    told = docker.read_text().splitlines()
    assert told[-1] == "s3cret: exec --env REDISCLI_AUTH shop-cache redis-cli -p 6380 --rdb -"
    assert not [line for line in told if "s3cret" in line.partition(": ")[2]]


def test_a_redis_that_does_not_answer_says_so(docker: Path) -> None:
    with pytest.raises(StoreError, match="Could not connect to Redis"):
        asked(port="1").save(io.BytesIO())
