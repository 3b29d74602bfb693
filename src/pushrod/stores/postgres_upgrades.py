"""A PostgreSQL in a container whose data is carried to one of a newer major version, in another container."""

import posixpath
from collections.abc import Mapping
from functools import cached_property

from pushrod.adapters import docker, postgres
from pushrod.adapters.dumps import Command
from pushrod.adapters.postgres import upgrade
from pushrod.adapters.postgres.recovery import Entry, Tape
from pushrod.core.upgrades import Carried
from pushrod.system import processes

Facts = upgrade.Facts
_PATIENCE = 30.0  # seconds for clients to end
_QUICK = 60.0
_LONG = 6 * 3600.0
_LONGEST_LOOK = 600.0  # seconds to measure or to remove a directory

# For a server that only takes data over: nothing is lost that could not be carried again, until it stops in order.
_OPTIONS = (
    "listen_addresses=", "autovacuum=off", "synchronous_commit=off", "max_wal_size=2GB", "maintenance_work_mem=64MB",
    "archive_mode=off", "jit=off",
)  # fmt: skip


class Pair:
    """The container `old`, with the environment `given`, and the one of the new version, which need not run yet."""

    def __init__(self, old: str, given: Mapping[str, str], new: str = "", jobs: int = 1) -> None:
        self._old, self._new, self._given, self._jobs = old, new, given, jobs

    @cached_property
    def facts(self) -> Facts:
        """Raises StoreError for data that cannot be carried."""
        return upgrade.facts(self._server())

    def free(self) -> int | None:
        """The free bytes on the disk with the old data; None if that is not known."""
        return self._server().free(self.facts.directory)

    def variables(self, data: str, password: str) -> dict[str, str]:
        """The environment in which the image makes a new cluster in the directory `data`."""
        options = self._given.get("POSTGRES_INITDB_ARGS", "")
        method = {"POSTGRES_HOST_AUTH_METHOD": self.facts.method} if self.facts.method else {}
        return {
            "POSTGRES_USER": self.facts.superuser,
            "POSTGRES_PASSWORD": self._given.get("POSTGRES_PASSWORD") or password,
            "POSTGRES_DB": "postgres",
            "POSTGRES_INITDB_ARGS": options
            if "checksums" in options
            else f"{options} --data-checksums".strip(),
            "PGDATA": data,
            **method,
        }

    def command(self) -> list[str]:
        """The command of the new container."""
        loaded = self.facts.libraries
        options = [*_OPTIONS, *([f"shared_preload_libraries={loaded}"] if loaded else [])]
        return ["postgres", *(word for option in options for word in ("-c", option))]

    def ready(self) -> bool:
        """Whether the new server itself is there: while the image makes the cluster, one is on its socket too."""
        first = docker.execute(self._new, ["cat", "/proc/1/comm"]).stdout.strip()
        return first == "postgres" and docker.execute(self._new, ["pg_isready", "--quiet"]).status == 0

    def alone(self) -> None:
        """End all clients of the old server, which nobody can reach any more."""
        upgrade.alone(self._server(), _PATIENCE)

    def carry(self, data: str) -> Carried:
        """Carry everything to the new server, whose directory is `data`."""
        file = posixpath.join(data, "pushrod.dump")
        its = upgrade.Carrying(
            self._server(),
            self._made(),
            self.facts.superuser,
            file,
            self._dump,
            self._bytes,
            self._remove,
            self._jobs,
        )
        carried = upgrade.carry(its, self.facts.size, data)
        if settings := upgrade.settings_for(self._made(), self.facts.settings):
            tape = Tape([Entry("postgresql.auto.conf", settings.encode())])
            argv = [
                "docker",
                "exec",
                "--interactive",
                "--user=postgres",
                self._new,
                "tar",
                "-xf",
                "-",
                "-C",
                data,
            ]
            done = processes.feed(argv, tape, env=docker.environment(), timeout=_QUICK)
            if done.status != 0:
                raise docker.failed(done.stderr, "docker exec")
        return carried

    def compare(self) -> None:
        """Raise StoreError unless both have the same."""
        upgrade.compare(self._server(), self._made())

    def rebuild_statistics(self) -> None:
        """Of the server in the container `old`, which is the new one by then."""
        upgrade.rebuild_statistics(self._server(), self._jobs)

    def _server(self) -> postgres.ContainerServer:
        user = self._given.get("POSTGRES_USER") or postgres.SUPERUSER
        return postgres.ContainerServer(self._old, user, docker.environment())

    def _made(self) -> postgres.ContainerServer:
        return postgres.ContainerServer(self._new, self.facts.superuser, docker.environment())

    def _dump(self, command: Command, file: str) -> None:
        argv = ["docker", "exec", "--interactive", self._new, "tee", file]
        read, written = processes.relay(command.argv, argv, env=docker.environment(), timeout=_LONG)
        if written.status != 0:
            raise docker.failed(written.stderr, f"container {self._new}")
        if read.status != 0:
            raise postgres.refusal(read.stderr, command.where)

    def _bytes(self, path: str) -> int:
        done = docker.execute(self._new, ["du", "-sk", path], timeout=_LONGEST_LOOK)
        return int(done.stdout.split()[0]) * 1024 if done.status == 0 and done.stdout else 0

    def _remove(self, path: str) -> None:
        docker.execute(self._new, ["rm", "-rf", path], timeout=_LONGEST_LOOK)
