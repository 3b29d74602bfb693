"""A server beside a Redis or Valkey that loads a snapshot: as a proof, or to restore from."""

import contextlib
import functools
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

from pushrod.adapters import docker, redis
from pushrod.adapters import redis_replacing as replacing
from pushrod.adapters.dumps import Rows, difference
from pushrod.adapters.redis_replacing import Ask
from pushrod.core.errors import StoreError
from pushrod.stores.kinds import LocalStore
from pushrod.system import files, network, processes, streams, waits
from pushrod.system.streams import Sink, Source

_LONG = 3600.0  # seconds to load or take over all data
_QUICK = 60.0
_POLL = 0.1
_START = 10.0
_PORT = 26379  # in the network of the store's own container, where nothing else listens
_PLACE = "/restoring"
_SPARE = 64 << 20
_UNCHANGED = "the running data is unchanged"


class Beside(NamedTuple):
    """A server that has loaded a snapshot, its address for the running one, and the password (empty: none)."""

    ask: Ask
    address: str
    port: int
    password: str = ""


Loading = Callable[[Source], AbstractContextManager[Beside]]
"""Starts such a server, which ends with the block."""

Lent = Callable[[], AbstractContextManager[Ask]]
"""A user of the running server that may replace its data, during the block."""


class Snapshots:
    """All data of a Redis or Valkey; `snapshot` writes its RDB file."""

    suffix = "rdb"
    logged = None

    def __init__(
        self,
        store: str,
        version: Callable[[], str],
        snapshot: Callable[[Sink], None],
        ask: Ask,
        loading: Loading,
        lent: Lent,
    ) -> None:
        self.store = store
        self.version = version
        self._snapshot = snapshot
        self._ask = ask
        self._loading = loading
        self._lent = lent

    def save(self, sink: Sink) -> Rows:
        """A snapshot as the server writes it; the number of keys in it, if that did not change meanwhile."""
        before = replacing.lasting(self._ask)
        self._snapshot(sink)
        return before if replacing.lasting(self._ask) == before else {}

    def check(self, source: Source) -> None:
        """Check that it begins and ends like an RDB file."""
        redis.check_snapshot(source)

    def rehearse(self, source: Source) -> Rows:
        """Load it in a server beside the running one."""
        with self._loading(source) as beside:
            return replacing.lasting(beside.ask)

    def restore(self, source: Source, rows: Rows) -> str:
        """Load it in a server beside the running one, which then takes the data over."""
        with self._loading(source) as beside:
            restored = replacing.lasting(beside.ask)
            if rows and restored != rows:
                raise StoreError(
                    f"the restored keys differ from the recorded ones: {difference(rows, restored)}",
                    where=f"store {self.store}",
                    hint=f"{_UNCHANGED}; `pushrod db backups` lists other backups",
                )
            with self._lent() as live:
                if beside.password:
                    live("CONFIG", "SET", "masterauth", beside.password)
                try:
                    replacing.replace(live, beside.ask, beside.address, beside.port, _LONG)
                finally:
                    if beside.password:
                        live("CONFIG", "SET", "masterauth", "")
        return "the backup that was just taken"


# ---- on this machine --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def loading_here(store: LocalStore, source: Source) -> Iterator[Beside]:
    """A server of this machine, in a directory that is removed again."""
    directory, password = store.directory / "restoring", secrets.token_hex(32)
    files.remove_tree(directory)
    files.make_private(directory)
    try:
        with (directory / "dump.rdb").open("xb") as data:
            streams.copy(source, data)
        port = network.free_port()
        text = (
            f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {redis.quoted(directory)}\n"
            'save ""\nappendonly no\ndaemonize no\nlogfile ""\nrepl-diskless-sync-delay 0\n'
        )
        files.write(directory / "valkey.conf", text, mode=0o600)
        for path in (directory, directory / "dump.rdb", directory / "valkey.conf"):
            files.own(path, store.account)
        argv = [str(store.parts.redis), str(directory / "valkey.conf")]
        argv = processes.as_account(argv, store.account, death_signal="KILL")
        ask = functools.partial(_asked, port, redis.DEFAULT_USER, password)
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
        with processes.beside(argv, env=environment, stdin="", timeout=_QUICK):
            try:
                waits.wait_until(lambda: network.accepts(port), _START, _POLL)
                if not network.belongs(port, store.account.uid if store.account else os.geteuid()):
                    raise _not_loaded(store.name)  # what another account listens with would be the data
                waits.wait_until(lambda: replacing.loaded(ask) or not network.accepts(port), _LONG, _POLL)
                if not replacing.loaded(ask):
                    raise _not_loaded(store.name)
                yield Beside(ask, "127.0.0.1", port, password)
            finally:
                with contextlib.suppress(StoreError):
                    ask("SHUTDOWN", "NOSAVE")
    finally:
        files.remove_tree(directory)


def _asked(port: int, user: str, password: str, *words: str) -> str:
    return str(redis.command(port, user, password, *words))


def _not_loaded(store: str, log: tuple[str, ...] = ()) -> StoreError:
    return StoreError(
        "a server beside it cannot load the snapshot",
        where=f"store {store}",
        hint=f"{_UNCHANGED}; `pushrod db backups` lists other backups",
        log=log,
    )


# ---- in a container ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def loading_in_container(container: str, client: str, source: Source) -> Iterator[Beside]:
    """A server of the same image, in a container that shares the running one's network alone."""
    (running,) = docker.inspect([container])
    name = f"{container}-restoring"
    _remove(name)
    closed: tuple[str, ...] = (
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--log-driver=none",
        "--no-healthcheck",
    )
    closed += ("--pull=never", "--pids-limit=64", "--oom-score-adj=500", "--user=0:0")
    closed += (f"--memory={running.memory}",) if running.memory else ()
    closed += (f"--cgroup-parent={running.slice}",) if running.slice else ()
    where = (f"--network=container:{container}", f"--volume={_PLACE}", "--entrypoint=sleep")
    server = client.replace("-cli", "-server")
    options: tuple[str, ...] = (
        "--port",
        str(_PORT),
        "--bind",
        "127.0.0.1",
        "--dir",
        _PLACE,
        "--save",
        "",
        "--appendonly",
        "no",
    )
    options += ("--protected-mode", "no", "--repl-diskless-sync-delay", "0", "--logfile", f"{_PLACE}/log")
    try:
        done = processes.run(
            [
                "docker",
                "run",
                "--detach",
                "--rm",
                "--name",
                name,
                *closed,
                *where,
                running.image,
                str(int(2 * _LONG)),
            ],
            env=docker.environment(),
            timeout=_QUICK,
        )
        if done.status != 0:
            raise docker.failed(done.stderr, "docker run")
        argv = ["docker", "exec", "--interactive", name, "tee", f"{_PLACE}/dump.rdb"]
        done = processes.feed(argv, source, env=docker.environment(), timeout=_LONG)
        if done.status != 0:
            raise docker.failed(done.stderr, f"container {name}")
        docker.docker("exec", "--detach", name, server, *options)
        ask = functools.partial(_asked_inside, name, client)
        if not _loads(name, server, ask):
            log = docker.execute(name, ["tail", "-n", "20", f"{_PLACE}/log"]).stdout
            raise _not_loaded(container, tuple(log.splitlines()))
        yield Beside(ask, "127.0.0.1", _PORT)
    finally:
        _remove(name)


def _loads(name: str, server: str, ask: Ask) -> bool:
    """Wait until it has loaded its data; False as soon as it does not run."""
    waits.wait_until(lambda: replacing.loaded(ask) or not _runs(name, server), _LONG, _POLL)
    return replacing.loaded(ask)


def _runs(name: str, server: str) -> bool:
    shown = docker.docker("top", name)
    return server in shown


def _asked_inside(name: str, client: str, *words: str) -> str:
    done = docker.execute(name, [client, "-p", str(_PORT), *words], timeout=_QUICK)
    if done.status != 0:
        raise StoreError((done.stderr or done.stdout).strip() or "no answer", where=f"container {name}")
    return replacing.answer(done.stdout, words, f"container {name}")


def _remove(name: str) -> None:
    docker.remove([c.name for c in docker.inspect([name]) if docker.APP not in c.labels])
