"""What is backed up on a Docker host: by the programs of each store's own container, so that versions match."""

import functools
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from pushrod.adapters import docker, postgres, redis
from pushrod.core.errors import StoreError
from pushrod.core.values import Release, Service
from pushrod.engines.docker import names
from pushrod.engines.docker.stores import Stores
from pushrod.manifest import store_images
from pushrod.state.apps import App
from pushrod.stores.backup_drivers import Archive, PostgresArchive, RedisArchive
from pushrod.system import processes

_LONG = 3600.0  # seconds for all of a Redis
_QUICK = 30.0


def archives(app: App, release: Release, *, ddl: bool) -> list[Archive]:
    """Each PostgreSQL with a database that pushrod knows, and each Redis whose password it knows."""
    stores = Stores(app)
    found: list[Archive] = []
    for store in release.stores:
        variables = stores.running_environment(store)
        if database := store_images.database(store, variables, app.name):
            ensure = functools.partial(stores.ensure_roles, store, ddl=ddl)
            copy = postgres.Copy(stores.server(store), database, ensure)
            found.append(PostgresArchive(store.name, copy))
        elif store.store == "redis":
            client = _client(app, msgspec.structs.replace(store, environment=dict(variables)))
            if client is not None:
                found.append(RedisArchive(store.name, client.version, client.snapshot))
    return found


def _client(app: App, store: Service) -> "_RedisClient | None":
    password = store_images.redis_password(store)
    if password is None:
        return None
    return _RedisClient(names.store(app, store.name), store_images.redis_port(store), password)


class _RedisClient:
    """The command line of a Redis or Valkey, in the container of a store."""

    def __init__(self, container: str, port: int, password: str) -> None:
        self._container = container
        self._port = port
        self._password = password

    @functools.cached_property
    def _program(self) -> str:
        """What the image calls it."""
        for name in ("valkey-cli", "redis-cli"):
            if docker.execute(self._container, [name, "--version"], timeout=_QUICK).status == 0:
                return name
        raise StoreError(
            "neither redis-cli nor valkey-cli runs in it",
            where=f"container {self._container}",
            hint="see whether it runs: pushrod status",
        )

    def version(self) -> str:
        """The server's version; Valkey says that of the Redis it is like, too."""
        said = processes.run(self._exec("info", "server"), env=self._environment(), timeout=_QUICK)
        found: dict[str, str] = dict(re.findall(r"^(\w+_version):(\S+)", said.stdout, re.MULTILINE))
        if said.status != 0 or "redis_version" not in found:
            raise self._failed(said)
        return found.get("valkey_version") or found["redis_version"]

    def snapshot(self, file: Path) -> None:
        """Write what the server sends a replica into a new file."""
        with file.open("xb") as out:
            done = processes.run(self._exec("--rdb", "-"), env=self._environment(), stdout=out, timeout=_LONG)
        if done.status != 0:
            raise self._failed(done)
        redis.end_snapshot(file)

    def _exec(self, *argv: str) -> list[str]:
        # A variable without a value is taken from our own environment, which others cannot see.
        given = ["--env", "REDISCLI_AUTH"] if self._password else []
        client = [self._program, "-p", str(self._port)]
        return ["docker", "exec", *given, self._container, *client, *argv]

    def _environment(self) -> Mapping[str, str]:
        secret = {"REDISCLI_AUTH": self._password} if self._password else {}
        return docker.environment() | secret

    def _failed(self, done: processes.Completed) -> StoreError:
        said = (
            done.stderr.strip() or done.stdout.strip() or "redis-cli failed and said nothing"
        ).splitlines()
        return StoreError(
            said[-1],
            where=f"container {self._container}",
            hint="see its last lines: docker logs",
            log=tuple(said),
        )
