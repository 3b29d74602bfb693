"""Recovery to a point in time, beside the running server: a base backup and the log after it become a cluster of its
own, which PostgreSQL brings to that point. The running server is not touched.

`Place` is where that happens: a directory of this machine (`LocalPlace`), or a container of the same image without a
network (`ContainerPlace`).
"""

import contextlib
import re
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, Protocol

from pushrod.adapters.logs import TooShort
from pushrod.adapters.postgres.base_backups import SETTINGS, inspect
from pushrod.adapters.postgres.programs import Programs, environment
from pushrod.adapters.postgres.server import ContainerServer, Database, Server
from pushrod.adapters.postgres.wal import location, segment_number
from pushrod.core.errors import StoreError
from pushrod.system import files, processes, tails
from pushrod.system.accounts import Account
from pushrod.system.streams import Source

_LONG = 6 * 3600.0  # seconds for a recovery
_QUICK = 60.0
_POLL = 0.1  # seconds between two looks at a recovery
_LOG = "recovery.log"
_TOO_SHORT = "recovery ended before configured recovery target was reached"
_ACCESS = "pushrod_hba.conf"


class Place(Protocol):
    """Where a cluster is recovered; see `LocalPlace` and `ContainerPlace`."""

    def unpack(self, archive: Source) -> None:
        """Unpack a tar archive in the cluster's directory."""

    def control(self, *argv: str) -> bool:
        """Run `pg_ctl` for the cluster; returns whether it succeeds."""

    def log(self) -> str:
        """What the server has logged."""

    @property
    def server(self) -> Database:
        """The server, once it is recovered."""


def recover(
    place: Place, base: Path, log: Iterable[tuple[str, Path]], until: str, directory: str
) -> Database:
    """Recover a cluster to the time `until` (ISO 8601; empty: to the end of the log); returns its server.

    `log` are the segments by their names, `directory` is the cluster's in the place. Raises TooShort if no
    transaction follows that time, StoreError if PostgreSQL cannot recover, or not to the end of the log.
    """
    log = list(log)
    with base.open("rb") as archive:
        place.unpack(archive)
    own = {
        SETTINGS: inspect(base).settings + _settings(until, directory),
        _ACCESS: "local all all trust\n",
        "recovery.signal": "",
    }
    contents = [Entry(name, text.encode()) for name, text in own.items()]
    place.unpack(Tape([*contents, *(Entry(f"pg_wal/{name}", path) for name, path in log)]))
    if _started(place, directory):
        if not until:
            _check_end(place.server, log, base)
        return place.server
    output = place.log()
    if _TOO_SHORT in output:
        raise TooShort
    reasons = re.findall(r"(?:FATAL|PANIC):\s+(.+)", output)
    raise StoreError(
        f"PostgreSQL cannot recover it: {reasons[-1] if reasons else 'it does not start'}",
        where=f"base backup {base}",
        hint="the running database was not touched; the lines above are PostgreSQL's",
        log=tuple(output.splitlines()[-20:]),
    )


def _check_end(server: Database, log: Sequence[tuple[str, Path]], base: Path) -> None:
    """Raise StoreError unless all of the log was applied.

    PostgreSQL takes the first record that is not valid for the end. A record may reach into the last segment without
    its own end, so the one before it is where the last record begins.
    """
    if not log:
        return
    name, path = log[-1]
    size = path.stat().st_size
    reached = location(server.query("select pg_last_wal_replay_lsn()")[0][0] or "0/0")
    if reached < (segment_number(name, size) - 1) * size:
        raise StoreError(
            f"the recovery ended at {reached >> 32:X}/{reached & 0xFFFFFFFF:X}, before the end of the log",
            where=f"base backup {base}",
            hint="the log is damaged there: choose a time before it; the running database was not touched",
        )


def _started(place: Place, directory: str) -> bool:
    """Start the server, and wait until it is recovered; returns whether it is."""
    end = time.monotonic() + _LONG
    running = place.control("start", "--no-wait", f"--log={directory}/{_LOG}")
    while running and time.monotonic() < end:
        with contextlib.suppress(StoreError):
            if place.server.query("select pg_is_in_recovery()") == [("f",)]:
                return True
        time.sleep(_POLL)
        running = place.control("status")
    return False


def _settings(until: str, directory: str) -> str:
    target = f"recovery_target_time = '{until}'\nrecovery_target_action = 'promote'\n" if until else ""
    return f"""
# For the recovery only.
restore_command = 'false'
recovery_target_timeline = 'current'
{target}hot_standby = off
archive_mode = off
listen_addresses = ''
port = 5432
hba_file = '{directory}/{_ACCESS}'
ssl = off
fsync = off
autovacuum = off
jit = off
shared_buffers = '64MB'
huge_pages = off
max_connections = 20
logging_collector = off
log_destination = 'stderr'
"""


class Entry(NamedTuple):
    """One file of a `Tape`."""

    name: str
    content: bytes | Path


class Tape:
    """Files as a tar archive that is read as a stream."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._blocks = self._read(entries)
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        """As `Source.read`."""
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return b""
            self._rest = block
        block, self._rest = self._rest[:size], self._rest[size:]
        return block

    @staticmethod
    def _read(entries: Iterable[Entry]) -> Iterator[bytes]:
        for entry in entries:
            head, content = tarfile.TarInfo(entry.name), entry.content
            head.size = len(content) if isinstance(content, bytes) else content.stat().st_size
            head.mode, head.mtime = 0o600, int(time.time())
            yield head.tobuf(tarfile.GNU_FORMAT)
            with BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
                while block := file.read(1 << 20):
                    yield block
            yield bytes(-head.size % tarfile.BLOCKSIZE)
        yield bytes(2 * tarfile.BLOCKSIZE)


# ---- places ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LocalPlace:
    """A directory of this machine: `path` belongs to `account`, `sockets` is a short one that only it may enter."""

    programs: Programs
    path: Path
    sockets: Path
    account: Account | None
    user: str

    def unpack(self, archive: Source) -> None:
        """As `Place.unpack`."""
        argv = processes.as_account(["tar", "-xf", "-", "-C", str(self.path)], self.account)
        _unpacked(processes.feed(argv, archive, env=environment(), timeout=_LONG), str(self.path))

    def control(self, *argv: str) -> bool:
        """As `Place.control`."""
        words = [str(self.programs.bin / "pg_ctl"), *argv, f"--pgdata={self.path}"]
        words += ["-o", f"-c unix_socket_directories={self.sockets}"] if argv[0] == "start" else []
        words = processes.as_account(words, self.account)
        return processes.run(words, cwd=Path("/"), env=environment(), timeout=_QUICK).status == 0

    def log(self) -> str:
        """As `Place.log`."""
        return "\n".join(tails.of_file(self.path / _LOG, 200))

    def stop(self) -> None:
        """End the server, if it runs."""
        if (self.path / "postmaster.pid").exists():
            self.control("stop", "--mode=immediate")

    @property
    def server(self) -> Server:
        """As `Place.server`."""
        return Server(self.programs, 5432, "", str(self.sockets), self.user)


@contextlib.contextmanager
def local_place(
    programs: Programs, path: Path, account: Account | None, user: str
) -> Iterator[tuple[LocalPlace, str]]:
    """A place in the directory `path`, emptied before and removed at the end, and its path there."""
    with tempfile.TemporaryDirectory(prefix="pushrod-") as sockets:
        place = LocalPlace(programs, path, Path(sockets), account, user)
        place.stop()
        files.remove_tree(path)
        files.make_private(path)
        for directory in (path, Path(sockets)):
            files.own(directory, account)
        try:
            yield place, str(path)
        finally:
            place.stop()
            files.remove_tree(path)


@dataclass(frozen=True)
class ContainerPlace:
    """A container that does nothing itself; `docker` is the environment of Docker's program."""

    container: str
    directory: str
    user: str
    docker: Mapping[str, str] = field(repr=False)

    def unpack(self, archive: Source) -> None:
        """As `Place.unpack`."""
        argv = ["docker", "exec", "--interactive", self.container, "tar", "-xf", "-", "-C", self.directory]
        _unpacked(processes.feed(argv, archive, env=self.docker, timeout=_LONG), self.container)

    def control(self, *argv: str) -> bool:
        """As `Place.control`."""
        return self._run(["pg_ctl", *argv, f"--pgdata={self.directory}"]).status == 0

    def log(self) -> str:
        """As `Place.log`."""
        return self._run(["tail", "-n", "200", f"{self.directory}/{_LOG}"]).stdout

    @property
    def server(self) -> ContainerServer:
        """As `Place.server`."""
        return ContainerServer(self.container, self.user, self.docker)

    def _run(self, argv: list[str]) -> processes.Completed:
        return processes.run(["docker", "exec", self.container, *argv], env=self.docker, timeout=_QUICK)


@contextlib.contextmanager
def container_place(
    name: str,
    image: str,
    user: str,
    docker: Mapping[str, str],
    remove: Callable[[str], object],
    limits: Sequence[str] = (),
) -> Iterator[tuple[ContainerPlace, str]]:
    """A place in a new container `name` of a store's image, which is removed at the end.

    It has no network, and the rights of the image's `postgres` user; its files are in a volume of its own. `limits`
    are further options of `docker run`, such as the app's slice.
    """
    home = "/var/lib/postgresql"  # belongs to `postgres` in the official image, and in Debian's package
    directory = f"{home}/recovery"
    remove(name)
    closed = ("--network=none", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--log-driver=none")
    # if the app's memory runs out, it ends, and not the running server
    bounds = (
        "--memory=1g",
        "--pids-limit=128",
        "--oom-score-adj=500",
        "--no-healthcheck",
        "--pull=never",
        *limits,
    )
    what = ("--user=postgres", f"--volume={home}", "--entrypoint=sleep", image, str(int(_LONG)))
    argv = ["docker", "run", "--detach", "--rm", "--name", name, *closed, *bounds, *what]
    try:
        done = processes.run(argv, env=docker, timeout=_QUICK)
        if done.status == 0:
            done = processes.run(
                ["docker", "exec", name, "mkdir", "-m", "700", directory], env=docker, timeout=_QUICK
            )
        if done.status != 0:
            raise StoreError(
                "a container for the recovery does not start",
                where=f"image {image}",
                hint="the running database was not touched",
                log=tuple(done.stderr.splitlines()[-6:]),
            )
        yield ContainerPlace(name, directory, user, docker), directory
    finally:
        remove(name)


def _unpacked(done: processes.Completed, where: str) -> None:
    if done.status != 0:
        raise StoreError(
            "a base backup cannot be unpacked",
            where=where,
            hint="is there enough space? The running database was not touched",
            log=tuple(done.stderr.splitlines()[-6:]),
        )
