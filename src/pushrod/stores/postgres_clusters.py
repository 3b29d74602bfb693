"""A PostgreSQL of this machine whose data is carried to the major version of the programs here.

The old version's programs are still needed: they serve the old data once more, to nobody else, and dump it for a
cluster of the new version beside it. Then both change places.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from pushrod.adapters import postgres
from pushrod.adapters.dumps import Command
from pushrod.adapters.postgres import upgrade
from pushrod.adapters.postgres.programs import environment
from pushrod.core.errors import StoreError, UnknownNameError
from pushrod.core.upgrades import Carried, UpgradePlan
from pushrod.stores.kinds import LocalStore
from pushrod.stores.postgres_driver import Cluster
from pushrod.system import files, processes, tails

_LONG = 6 * 3600.0
_START = 600.0  # seconds for a server to start or to end
_PATIENCE = 10.0
_SPARE = 256 << 20
_JOBS = 4
PROGRAMS = "PUSHROD_POSTGRES"
"""The variable that names the programs to be used."""

_PORT = 5432  # of a socket's name
_UNCHANGED = "the data is unchanged"


class _Alone(NamedTuple):
    """A server that listens on a socket alone, in a directory that nobody else may enter."""

    programs: postgres.Programs
    data: Path
    sockets: Path
    store: LocalStore

    def start(self) -> None:
        """Start it; raises StoreError with its log if it does not."""
        access = self.sockets / "pg_hba.conf"
        files.write(access, "local all all trust\n", mode=0o644)
        options = {
            "listen_addresses": "", "port": str(_PORT), "unix_socket_directories": str(self.sockets), "ssl": "off",
            "hba_file": str(access), "autovacuum": "off", "archive_mode": "off", "max_wal_size": "2GB",
        }  # fmt: skip
        words = "".join(f" -c {name}={value or chr(39) * 2}" for name, value in options.items())
        done = self._control(
            "start", "--wait", f"--timeout={_START:g}", f"--log={self._log}", f"--options={words}"
        )
        if done.status != 0:
            raise StoreError(
                f"PostgreSQL {self.programs.version()} does not start",
                where=str(self.data),
                hint=f"its last lines are above; {_UNCHANGED}",
                log=tails.of_file(self._log),
            )

    def stop(self) -> None:
        """End it in order."""
        if self._runs():
            self._control("stop", "--wait", f"--timeout={_START:g}", "--mode=fast")

    def _runs(self) -> bool:
        """Whether the process of `postmaster.pid` is its server: after a power cut it may be any other."""
        with contextlib.suppress(OSError, ValueError, psutil.Error):
            first, _, _ = (self.data / "postmaster.pid").read_text().partition("\n")
            return Path(psutil.Process(int(first)).cwd()) == self.data.resolve()
        return False

    @property
    def _log(self) -> Path:
        return self.sockets / "log"

    def _control(self, *argv: str) -> processes.Completed:
        words = [str(self.programs.bin / "pg_ctl"), *argv, f"--pgdata={self.data}"]
        words = processes.as_account(words, self.store.account)
        return processes.run(words, cwd=Path("/"), env=environment(), timeout=_START + _PATIENCE)

    def server(self, programs: postgres.Programs, user: str) -> postgres.Server:
        """Queried by these programs."""
        return postgres.Server(programs, _PORT, "", str(self.sockets), user)


class LocalUpgrade:
    """The steps of an upgrade as it was planned, as far as they do not start or end the store itself."""

    def __init__(self, store: LocalStore, plan: UpgradePlan) -> None:
        self._plan = plan
        self._store = store
        self._data = self._store.directory / "data"
        self._work = self._store.directory / "upgrade"
        self._before = postgres.Programs(Path(plan.programs))

    @property
    def _after(self) -> postgres.Programs:
        return postgres.Programs(self._store.parts.postgres)

    def rehearse(self, *, runs: bool) -> Carried:
        """With the server that runs, or with one that is started for it."""
        try:
            self.prepare()
            if runs:
                with self._server(self._after, self._work / "data") as new:
                    return self._carry(self._running(self._before), new)
            with self._both() as (old, new):
                return self._carry(old, new)
        finally:
            files.remove_tree(self._work)

    def prepare(self) -> None:
        """In a directory beside the data."""
        files.remove_tree(self._work)
        files.make_open(self._work)
        user = self._user()
        secret = self._store.password("superuser")
        postgres.initialise(self._after, self._work / "data", secret, self._store.account, user)

    def copy(self) -> Carried:
        """With the old server started apart from everybody."""
        with self._both() as (old, new):
            carried = self._carry(old, new)
            upgrade.compare(old, new)
            settings = upgrade.settings_for(new, upgrade.facts(old).settings)
        files.write(self._work / "data" / "postgresql.auto.conf", settings, mode=0o600)
        files.own(self._work / "data" / "postgresql.auto.conf", self._store.account)
        if (own := self._data / "local.conf").is_file() and not own.is_symlink():
            shutil.copyfile(own, self._work / "data" / "local.conf", follow_symlinks=False)
        return carried

    def switch(self) -> None:
        """By two renames."""
        self._data.rename(self._plan.old)
        (self._work / "data").rename(self._data)
        files.sync_directory(self._data.parent)

    def back(self) -> None:
        """By the same renames."""
        for data in (self._data, self._work / "data"):
            for programs in (self._before, self._after):
                with contextlib.suppress(StoreError):
                    if (data / "PG_VERSION").exists() and _version(data) == programs.major():
                        self._alone(programs, data, Path("/nonexistent")).stop()
        if (kept := Path(self._plan.old)).exists():
            files.remove_tree(self._data)
            kept.rename(self._data)
            files.sync_directory(self._data.parent)
        files.remove_tree(self._work)

    def finish(self) -> None:
        """On the running server."""
        files.remove_tree(self._work)
        upgrade.rebuild_statistics(self._running(self._after), _jobs())

    # ---- servers --------------------------------------------------------------------------------------------

    def _carry(self, old: postgres.Server, new: postgres.Server) -> Carried:
        before = _bytes(str(self._data))
        its = upgrade.Carrying(
            old, new, self._user(), str(self._work / "dump"), _dump, _bytes, _remove, _jobs()
        )
        return upgrade.carry(its, before, str(self._work / "data"))

    @contextlib.contextmanager
    def _both(self) -> Iterator[tuple[postgres.Server, postgres.Server]]:
        with (
            self._server(self._before, self._data) as old,
            self._server(self._after, self._work / "data") as new,
        ):
            yield old, new

    @contextlib.contextmanager
    def _server(self, programs: postgres.Programs, data: Path) -> Iterator[postgres.Server]:
        """A server of these programs, which also ask it."""
        with tempfile.TemporaryDirectory(prefix="pushrod-") as sockets:
            files.own(Path(sockets), self._store.account)
            alone = self._alone(programs, data, Path(sockets))
            try:
                alone.start()
                yield alone.server(programs, self._user())
            finally:
                alone.stop()

    def _alone(self, programs: postgres.Programs, data: Path, sockets: Path) -> _Alone:
        return _Alone(programs, data, sockets, self._store)

    def _running(self, programs: postgres.Programs) -> postgres.Server:
        store = self._store
        return postgres.Server(programs, store.port, store.password("superuser"), store.address, self._user())

    def _user(self) -> str:
        return Cluster.superuser(self._store)


def plan(local: LocalStore, after: str, given: str) -> UpgradePlan:
    """Decide about an upgrade by the programs here; `given` is the directory of the data's own.

    Raises UnknownNameError or StoreError if it cannot be done.
    """
    data, programs = local.directory / "data", postgres.Programs(local.parts.postgres)
    before = _version(data)
    if after != programs.major():
        raise UnknownNameError(
            f"the PostgreSQL here is {programs.version()}",
            where=str(programs.bin),
            hint=f"install version {after}, or set {PROGRAMS} to its programs",
        )
    if int(after) <= int(before):
        raise UnknownNameError(
            f"the data is from PostgreSQL {before}", where=str(data), hint="nothing is to be done"
        )
    older = postgres.Programs(Path(given or "/nonexistent").absolute())
    if not given or older.major() != before:
        raise UnknownNameError(
            f"its data is from PostgreSQL {before}, whose programs are needed once more",
            where="--programs",
            hint=f"name their directory, such as /usr/lib/postgresql/{before}/bin",
        )
    kept = local.directory / f"data-{before}"
    if kept.exists():
        raise StoreError("an older cluster is there already", where=str(kept), hint="--remove-old removes it")
    size, free = _bytes(str(data)), files.free_space(data)
    if free - 2 * size < _SPARE:
        raise StoreError(
            f"a copy needs up to {2 * size // 10**6} MB, and {free // 10**6} MB are free",
            where=str(data),
            hint=f"free some space on that disk; {_UNCHANGED}",
        )
    return UpgradePlan(local.name, before, after, str(kept), str(data), str(older.bin))


def remove_old(local: LocalStore) -> Iterator[str]:
    """Remove the older clusters of a store; yields each."""
    for old in sorted(local.directory.glob("data-[0-9][0-9]")):
        files.remove_tree(old)
        yield str(old)


def _version(data: Path) -> str:
    try:
        return (data / "PG_VERSION").read_text().strip()
    except OSError as e:
        raise StoreError("there is no data", where=str(data), hint="`pushrod up` creates it") from e


def _bytes(path: str) -> int:
    place = Path(path)
    return sum(f.lstat().st_size for f in (place, *place.rglob("*")) if f.is_file())


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)


def _dump(command: Command, file: str) -> None:
    with Path(file).open("wb") as sink:
        done = processes.drain(command.argv, sink, env=command.environment, timeout=_LONG)
    if done.status != 0:
        raise postgres.refusal(done.stderr, command.where)


def _jobs() -> int:
    return max(1, min(_JOBS, len(os.sched_getaffinity(0))))
