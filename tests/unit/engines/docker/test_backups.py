"""Which stores of a release are backed up, and how a Redis is asked; the real ones are in the lab."""

from pathlib import Path

import pytest

from pushrod.core.errors import StoreError
from pushrod.core.values import Service
from pushrod.engines.docker import backups, environment, names
from pushrod.state.apps import App
from pushrod.stores.backup_drivers import Archive
from tests.unit.samples import release, store


def found(app: App, *stores: Service, **variables: str) -> list[tuple[str, str]]:
    for one in stores:
        environment.write(names.store_environment(app, one.name), variables)
    made = backups.archives(app, release(stores=stores), ddl=True)
    return [(a.store, a.suffix) for a in made]


def cache(*options: str) -> Service:
    command = ("redis-server", *options) if options else ()
    return store("cache", image="redis:7", store="redis", command=command)


@pytest.mark.parametrize(
    ("one", "variables", "suffix"),
    [
        (store(), {}, "dump"),
        (store(), {"POSTGRES_DB": "main", "POSTGRES_USER": "me"}, "dump"),
        (store(), {"POSTGRES_DB": "Main DB"}, ""),
        (store(image="bitnami/postgresql:17"), {}, ""),
        (cache(), {}, "rdb"),
        (cache("--requirepass", "x"), {}, "rdb"),
        (cache("--requirepass", "$X"), {"X": "y"}, "rdb"),
        (cache("--requirepass", "$X"), {}, ""),
        (store("db", image="mysql:8", store=None), {}, ""),
    ],
)  # fmt: skip
def test_what_can_be_asked_is_backed_up(
    app: App, one: Service, variables: dict[str, str], suffix: str
) -> None:
    assert found(app, one, **variables) == ([(one.name, suffix)] if suffix else [])


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


def redis(app: App, port: str = "6380") -> Archive:
    one = cache("--port", port, "--requirepass", "s3cret")
    (made,) = backups.archives(app, release(stores=(one,)), ddl=True)
    return made


def test_the_password_of_a_redis_is_in_no_argv(app: App, docker: Path, tmp_path: Path) -> None:
    made = redis(app)
    assert made.version() == "7.2.4"
    assert made.save(tmp_path / "x.rdb") == {}
    assert (tmp_path / "x.rdb").read_bytes() == b"REDIS0011x\xff12345678"
    made.check(tmp_path / "x.rdb")
    told = docker.read_text().splitlines()
    assert told[-1] == "s3cret: exec --env REDISCLI_AUTH shop-cache redis-cli -p 6380 --rdb -"
    assert not [line for line in told if "s3cret" in line.partition(": ")[2]]


def test_a_redis_that_does_not_answer_says_so(app: App, docker: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="Could not connect to Redis"):
        redis(app, port="1").save(tmp_path / "x.rdb")
