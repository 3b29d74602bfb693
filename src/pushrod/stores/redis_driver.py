"""Code that speaks to a running Redis or Valkey: its backups, and how the embedded engine runs one."""

import functools
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress

from pushrod.adapters import docker, redis
from pushrod.adapters.dumps import Rows
from pushrod.core.errors import StoreError
from pushrod.stores.backup_drivers import Archive
from pushrod.stores.kinds import ContainerStore, Endpoint, LocalStore, Server
from pushrod.system import processes
from pushrod.system.streams import Sink, Source

_LONG = 3600.0  # seconds for all of its data
_QUICK = 30.0


def answers(store: ContainerStore, port: int) -> bool:
    """Whether the server in a container answers a PING, on the app's own network; a refusal is an answer too."""
    found = docker.inspect([store.container])
    address = found[0].networks.get(store.app, "") if found else ""
    with suppress(OSError), socket.create_connection((address, port), 2) as s:
        s.sendall(b"PING\r\n")
        return s.recv(64).startswith((b"+PONG", b"-NOAUTH", b"-NOPERM"))
    return False


class _Snapshots:
    """All data of a Redis or Valkey; `snapshot` writes its RDB file."""

    suffix = "rdb"

    def __init__(self, store: str, version: Callable[[], str], snapshot: Callable[[Sink], None]) -> None:
        self.store = store
        self.version = version
        self._snapshot = snapshot

    def save(self, sink: Sink) -> Rows:
        """A snapshot as the server writes it."""
        self._snapshot(sink)
        return {}

    def check(self, source: Source) -> None:
        """Check that it begins and ends like an RDB file."""
        redis.check_snapshot(source)

    def rehearse(self, source: Source) -> Rows | None:
        """Not possible: only a server of the same version could."""
        return None

    def restore(self, source: Source) -> str | None:
        """Not done: the manifest decides how a Redis keeps its data."""
        return None


class _Local(Server):
    """A Valkey of this machine, which writes its snapshot into its own directory."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store

    def archive(self, *, ddl: bool) -> Archive:
        """A snapshot."""
        store, secret = self._store, self._store.password(redis.HEALTH_USER)

        def snapshot(sink: Sink) -> None:
            redis.snapshot(store.directory, store.port, redis.HEALTH_USER, secret, sink, _LONG)

        return _Snapshots(store.name, lambda: redis.version(store.parts.redis), snapshot)


class Process:
    """One Valkey for each store."""

    stop_signal = redis.STOP_SIGNAL

    def endpoint(self, store: LocalStore) -> Endpoint:
        """On its port of 127.0.0.1, as the app's own user."""
        url = redis.url(redis.APP_USER, store.password(redis.APP_USER), store.port)
        return Endpoint(store.name, "redis", url, url)

    def prepare(self, store: LocalStore) -> tuple[tuple[str, ...], bool]:
        """Write its configuration and its users."""
        users = {user: store.password(user) for user in (redis.APP_USER, redis.HEALTH_USER)}
        changed = redis.configure(store.directory, store.port, users, store.account)
        return redis.server_argv(store.parts.redis, store.directory), changed

    def ready(self, store: LocalStore, deadline: float) -> str:
        """Until it answers PING."""
        redis.ready(store.port, redis.HEALTH_USER, store.password(redis.HEALTH_USER), deadline, store.log)
        return redis.version(store.parts.redis)

    def server(self, store: LocalStore) -> Server:
        """Queried over TCP."""
        return _Local(store)


class Contained(Server):
    """The command line of a Redis or Valkey, in a store's container."""

    def __init__(self, name: str, container: str, port: int, password: str) -> None:
        self._name = name
        self._container = container
        self._port = port
        self._password = password

    def archive(self, *, ddl: bool) -> Archive:
        """A snapshot as a replica receives it."""
        return _Snapshots(self._name, self.version, self.snapshot)

    @functools.cached_property
    def _program(self) -> str:
        """The name of the client in the image."""
        for name in ("valkey-cli", "redis-cli"):
            if docker.execute(self._container, [name, "--version"], timeout=_QUICK).status == 0:
                return name
        raise StoreError(
            "neither redis-cli nor valkey-cli runs in it",
            where=f"container {self._container}",
            hint="check whether it runs: pushrod status",
        )

    def version(self) -> str:
        """The server's version; Valkey also reports the version of Redis that it is compatible with."""
        done = processes.run(self._exec("info", "server"), env=self._environment(), timeout=_QUICK)
        versions: dict[str, str] = dict(re.findall(r"^(\w+_version):(\S+)", done.stdout, re.MULTILINE))
        if done.status != 0 or "redis_version" not in versions:
            raise self._failed(done)
        return versions.get("valkey_version") or versions["redis_version"]

    def snapshot(self, sink: Sink) -> None:
        """Copy a replica's snapshot to the sink."""
        taken = redis.Snapshot(sink)
        done = processes.drain(self._exec("--rdb", "-"), taken, env=self._environment(), timeout=_LONG)
        if done.status != 0:
            raise self._failed(done)
        taken.end()

    def _exec(self, *argv: str) -> list[str]:
        # A variable without a value is taken from our own environment, which others cannot see.
        given = ["--env", "REDISCLI_AUTH"] if self._password else []
        client = [self._program, "-p", str(self._port)]
        return ["docker", "exec", *given, self._container, *client, *argv]

    def _environment(self) -> Mapping[str, str]:
        secret = {"REDISCLI_AUTH": self._password} if self._password else {}
        return docker.environment() | secret

    def _failed(self, done: processes.Completed) -> StoreError:
        lines = (
            done.stderr.strip() or done.stdout.strip() or "redis-cli failed without an error message"
        ).splitlines()
        return StoreError(
            lines[-1],
            where=f"container {self._container}",
            hint="read its last lines: docker logs",
            log=tuple(lines),
        )
