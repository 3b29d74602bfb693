"""Code that speaks to a running Redis or Valkey: its backups, and how the embedded engine runs one."""

import contextlib
import functools
import hashlib
import re
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pushrod.adapters import redis
from pushrod.adapters.dumps import ANSWER
from pushrod.core.errors import StoreError
from pushrod.core.modules import later
from pushrod.core.values import Program
from pushrod.stores import shells
from pushrod.stores.administration import Inspection, Slow, Stats
from pushrod.stores.backup_drivers import Archive
from pushrod.stores.kinds import ContainerStore, Endpoint, Figures, LocalStore, Server, Tuning
from pushrod.system import processes
from pushrod.system.streams import Sink, Source

if TYPE_CHECKING:
    from pushrod.adapters import redis_replacing as replacing
    from pushrod.adapters.redis_replacing import Ask
    from pushrod.stores import redis_restoring
else:
    replacing, redis_restoring = (
        later("pushrod.adapters.redis_replacing"),
        later("pushrod.stores.redis_restoring"),
    )

_LONG = 3600.0  # seconds for all of its data
_QUICK = 30.0
_CACHE = 256 << 20  # bytes of a cache without a limit of its own


def answers(store: ContainerStore, port: int) -> bool:
    """Whether the server in a container answers a PING, on the app's own network; a refusal is an answer too."""
    from pushrod.adapters import docker

    containers = docker.inspect([store.container])
    address = containers[0].networks.get(store.app, "") if containers else ""
    with suppress(OSError), socket.create_connection((address, port), 2) as s:
        s.sendall(b"PING\r\n")
        return s.recv(64).startswith((b"+PONG", b"-NOAUTH", b"-NOPERM"))
    return False


def stats_of(info: str, slow: Any) -> Stats:
    """The figures in the server's INFO and its slow log. Of a slow command only its name is shown, and how many
    arguments it had: they are the app's data.
    """
    figures = dict(line.rstrip("\r").split(":", 1) for line in info.splitlines() if ":" in line)

    def number(name: str) -> int:
        return int(float(figures.get(name) or 0))

    keys = [int(n) for n in re.findall(r"^db\d+:keys=(\d+)", info, re.MULTILINE)]
    hits, misses = number("keyspace_hits"), number("keyspace_misses")
    return Stats(
        version=figures.get("valkey_version") or figures.get("redis_version", ""),
        uptime=number("uptime_in_seconds"),
        memory=number("used_memory"),
        peak=number("used_memory_peak"),
        limit=number("maxmemory"),
        policy=figures.get("maxmemory_policy", ""),
        keys=sum(keys),
        clients=number("connected_clients"),
        hits=hits,
        misses=misses,
        hit_rate=round(hits / (hits + misses), 4) if hits + misses else None,
        evicted=number("evicted_keys"),
        expired=number("expired_keys"),
        append_only=figures.get("aof_enabled") == "1",
        slow=tuple(
            Slow(int(row[1]), int(row[2]), str(row[3][0]).upper(), len(row[3]) - 1)
            for row in slow or []
            if len(row) > 3 and row[3]
        ),
    )


def cache(store: LocalStore, tuning: Tuning | None = None) -> int:
    """The bytes of a cache; 0 for a durable store. One that has kept its data stays durable unless its profile says
    otherwise.
    """
    tuning = tuning or store.tuning
    named = store.name == "cache" and not redis.is_kept(store.directory)
    if tuning.profile == "durable" or not (tuning.profile or named):
        return 0
    return (tuning.memory or _CACHE) * 3 // 4


def users(store: LocalStore) -> dict[str, str]:
    """The password of each user of a store."""
    passwords = {user: store.password(user) for user in (redis.APP_USER, redis.HEALTH_USER)}
    return passwords if store.given is None else {**passwords, redis.DEFAULT_USER: store.given}


class _Local(Server):
    """A Valkey of this machine, which writes its snapshot into its own directory."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store

    def waiting(self, tuning: Tuning) -> Sequence[str]:
        """By the configuration that would be written."""
        store = self._store
        return redis.waiting(store.directory, store.port, store.address, cache(store, tuning))

    def tune(self, tuning: Tuning) -> Sequence[str]:
        """Let the server read the rules of its users, if it has older ones."""
        try:
            self._ask("SLOWLOG", "GET", "0")
        except StoreError as e:
            if not e.what.startswith("NOPERM"):
                raise
            self._ask("ACL", "LOAD")
        return self.waiting(tuning)

    def inspection(self) -> Inspection:
        """Over TCP."""
        return self

    def taken(self) -> int | None:
        """The memory that it uses."""
        return self.stats(0).memory

    def shell(self, *, terminal: bool) -> Program:
        """pushrod's own client: the wheel has none."""
        store = self._store
        words = (sys.executable, "-P", "-m", "pushrod.adapters.redis_client", store.address, str(store.port))
        variables = {"REDISCLI_USER": redis.APP_USER, "REDISCLI_AUTH": store.password(redis.APP_USER)}
        return Program(
            words,
            "/",
            {"PYTHONPATH": str(Path(__file__).parents[2]), **shells.terminal_variables(), **variables},
        )

    def stats(self, most: int) -> Stats:
        """As the user for health checks."""
        return stats_of(str(self._ask("INFO", "everything")), self._ask("SLOWLOG", "GET", str(most)))

    def _ask(self, *words: str) -> redis.Reply:
        store = self._store
        secret = store.password(redis.HEALTH_USER)
        return redis.command(store.port, redis.HEALTH_USER, secret, *words, address=store.address)

    def archive(self, *, ddl: bool) -> Archive:
        """A snapshot."""
        store, secret = self._store, self._store.password(redis.HEALTH_USER)

        def snapshot(sink: Sink) -> None:
            at = store.address
            redis.snapshot(store.directory, store.port, redis.HEALTH_USER, secret, sink, _LONG, at)

        return redis_restoring.Snapshots(
            store.name,
            lambda: redis.version(store.parts.redis),
            snapshot,
            lambda *words: str(self._ask(*words)),
            functools.partial(redis_restoring.loading_here, store),
            self._lent,
        )

    @contextlib.contextmanager
    def _lent(self) -> "Iterator[Ask]":
        store = self._store
        load = functools.partial(self._ask, "ACL", "LOAD")
        with redis.lent(store.directory, users(store), store.account, load) as password:

            def ask(*words: str) -> str:
                user = redis.RESTORING_USER
                return str(redis.command(store.port, user, password, *words, address=store.address))

            yield ask


class Process:
    """One Valkey for each store."""

    stop_signal = redis.STOP_SIGNAL
    configured = ("valkey.conf", r"^port (\d+)$")

    def endpoint(self, store: LocalStore) -> Endpoint:
        """On its port of this machine, as the app's own user."""
        url = redis.url(redis.APP_USER, store.password(redis.APP_USER), store.port, address=store.address)
        return Endpoint(store.name, "redis", url, url)

    def prepare(self, store: LocalStore) -> tuple[tuple[str, ...], bool]:
        """Write its configuration and its users."""
        changed = redis.configure(
            store.directory, store.port, users(store), store.account, store.address, cache(store)
        )
        return redis.server_argv(store.parts.redis, store.directory), changed

    def lost(self, store: LocalStore, knows: Callable[[str], bool]) -> str:
        """None: its users are written before each start."""
        return ""

    def set_password(self, store: LocalStore, role: str, password: str) -> None:
        """Nothing to do, for the same reason."""

    def ready(self, store: LocalStore, deadline: float) -> str:
        """Until it answers PING."""
        secret = store.password(redis.HEALTH_USER)
        redis.ready(store.port, redis.HEALTH_USER, secret, deadline, store.log, store.address)
        return redis.version(store.parts.redis)

    def server(self, store: LocalStore) -> Server:
        """Queried over TCP."""
        return _Local(store)


class Contained(Server):
    """The command line of a Redis or Valkey, in a store's container."""

    def __init__(self, store: ContainerStore, port: int, password: str) -> None:
        self._placed = store
        self._name = store.service.name
        self._container = store.container
        self._port = port
        self._password = password

    def inspection(self) -> Inspection:
        """By the image's own client."""
        return self

    def taken(self) -> int | None:
        """The memory that it uses."""
        return stats_of(self._answer("info", "memory"), []).memory

    def shell(self, *, terminal: bool) -> Program:
        """The image's client, in a container of its own."""
        variables = {"REDISCLI_AUTH": self._password} if self._password else {}
        words = ("-h", self._name, "-p", str(self._port))
        return shells.apart(self._placed, self._program, words, variables, terminal=terminal)

    def watch(self, password: str) -> Figures | None:
        """As a user of its access list, which the server forgets when it ends. Its argument is a digest, because
        others on this machine can read arguments."""
        digest = hashlib.sha256(password.encode()).hexdigest()
        words = ("reset", "on", f"#{digest}", *redis.WATCHING.split())
        self._direct("acl", "setuser", redis.WATCHING_USER, *words)
        return Figures(self._port, redis.WATCHING_USER)

    def unwatch(self) -> None:
        """By the same list."""
        self._direct("acl", "deluser", redis.WATCHING_USER)

    def stats(self, most: int) -> Stats:
        """In the server's container."""
        info, slow = self._answer("info", "everything"), self._answer("--json", "slowlog", "get", str(most))
        return stats_of(info, msgspec.json.decode(slow) if slow.lstrip().startswith("[") else [])

    def _answer(self, *words: str) -> str:
        done = processes.run(self._exec(*words), env=self._environment(), timeout=_QUICK, most=ANSWER)
        if done.status != 0:
            raise self._failed(done)
        return done.stdout

    def archive(self, *, ddl: bool) -> Archive:
        """A snapshot as a replica receives it."""
        return redis_restoring.Snapshots(
            self._name, self.version, self.snapshot, self._direct, self._loading, self._lent
        )

    def _loading(self, source: Source) -> "AbstractContextManager[redis_restoring.Beside]":
        return redis_restoring.loading_in_container(self._container, self._program, source)

    @contextlib.contextmanager
    def _lent(self) -> "Iterator[Ask]":
        yield self._direct

    def _direct(self, *words: str) -> str:
        return replacing.answer(self._answer(*words), words, f"container {self._container}")

    @functools.cached_property
    def _program(self) -> str:
        """The name of the client in the image."""
        from pushrod.adapters import docker

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
        argv = self._exec("info", "server")
        done = processes.run(argv, env=self._environment(), timeout=_QUICK, most=ANSWER)
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
        from pushrod.adapters import docker

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
