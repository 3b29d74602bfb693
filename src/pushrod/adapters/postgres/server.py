"""A running server: asking it as the superuser, waiting for it, and its address for others."""

import csv
import io
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import quote

from pushrod.adapters.postgres.programs import SUPERUSER, Programs, environment
from pushrod.core.errors import StoreError
from pushrod.system import files, network, processes, waits

_CONNECT_TIMEOUT = 5  # seconds; the server is on this machine
_POLL = 0.02  # seconds between two questions while a server starts

Row = tuple[str, ...]


class Command(NamedTuple):
    """One of PostgreSQL's programs, as it is run on a server as the superuser; `where` is what errors say."""

    argv: list[str]
    environment: Mapping[str, str]
    where: str


class Database(Protocol):
    """A server that can be asked as its superuser."""

    def query(self, sql: str, database: str = "postgres", *, timeout: float = 30.0) -> list[Row]:
        """Run a psql script and return the rows it gives, NULL as an empty string."""

    def command(self, program: str, *argv: str, database: str = "", timeout: float = 30.0) -> Command:
        """How one of PostgreSQL's programs, of the server's own version, is run as its superuser, on a database or,
        where none is named, on none. `timeout` is in seconds, for each statement."""


@dataclass(frozen=True)
class Server:
    """A running server on this machine and the superuser's password to it."""

    programs: Programs
    port: int
    password: str = field(repr=False)

    def query(self, sql: str, database: str = "postgres", *, timeout: float = 30.0) -> list[Row]:
        """Run a psql script as the superuser and return the rows it gives, NULL as an empty string.

        The first failing statement ends it; a script that wants to be all or nothing says begin and commit.
        Names must carry their schema: `search_path` is empty, because whoever owns a schema could otherwise
        have the superuser call their functions. `timeout` is in seconds, for each statement. Raises StoreError
        with what PostgreSQL said.
        """
        return _query(self.command("psql", *FORM, database=database, timeout=timeout), sql, timeout)

    def command(self, program: str, *argv: str, database: str = "", timeout: float = 30.0) -> Command:
        """As `Database.command`; the programs are those beside the server's."""
        at = ["--host=127.0.0.1", f"--port={self.port}", f"--username={SUPERUSER}", *_on(database)]
        variables = environment() | {
            "PGPASSWORD": self.password,
            **_variables(timeout),
            "PGCONNECT_TIMEOUT": str(_CONNECT_TIMEOUT),
            "PGSSLMODE": "disable",
            "PGGSSENCMODE": "disable",
        }
        where = f"database {database} of PostgreSQL on port {self.port}"
        return Command([str(self.programs.bin / program), *argv, *at], variables, where)


@dataclass(frozen=True)
class ContainerServer:
    """A running server in a container, asked from inside it: over its own socket, as its superuser `user`, whom the
    official image trusts there (its `pg_hba.conf`). `docker` is the environment of Docker's program."""

    container: str
    user: str
    docker: Mapping[str, str] = field(repr=False)

    def query(self, sql: str, database: str = "postgres", *, timeout: float = 30.0) -> list[Row]:
        """As `Server.query`."""
        return _query(self.command("psql", *FORM, database=database, timeout=timeout), sql, timeout)

    def command(self, program: str, *argv: str, database: str = "", timeout: float = 30.0) -> Command:
        """As `Database.command`; the programs are the container's."""
        given = [w for name, value in _variables(timeout).items() for w in ("--env", f"{name}={value}")]
        words = [program, *argv, f"--username={self.user}", *_on(database)]
        whole = ["docker", "exec", "--interactive", *given, self.container, *words]
        return Command(whole, self.docker, f"database {database} in container {self.container}")


def _on(database: str) -> list[str]:
    return [f"--dbname={database}"] if database else []


FORM = ("--quiet", "--tuples-only", "--csv", "--no-psqlrc", "--no-password", "--set=ON_ERROR_STOP=1")


def _variables(timeout: float) -> dict[str, str]:
    options = f"-c statement_timeout={int(timeout * 1000)} -c search_path= -c client_min_messages=warning"
    return {"PGOPTIONS": options, "PGAPPNAME": "pushrod", "PGCLIENTENCODING": "UTF8"}


def refusal(said: str, where: str) -> StoreError:
    """What one of PostgreSQL's programs printed as it failed, as an error."""
    return StoreError(_message(said), where=where, hint=_hint(said), log=tuple(said.splitlines()[-20:]))


def _query(psql: Command, sql: str, timeout: float) -> list[Row]:
    done = processes.run(psql.argv, env=psql.environment, stdin=sql, timeout=timeout + 2 * _CONNECT_TIMEOUT)
    if done.status != 0:
        raise refusal(done.stderr, psql.where)
    return [tuple(row) or ("",) for row in csv.reader(io.StringIO(done.stdout, newline=""))]


def _message(said: str) -> str:
    """The sentence that matters in what psql printed, without the place it puts before it."""
    found = re.search(r"(?:ERROR|FATAL|PANIC): +(.+)", said) or re.search(r"error: (.+)", said)
    return found[1] if found else (said.strip() or "psql failed and said nothing")


def _hint(said: str) -> str:
    if "password authentication failed" in said:
        return "the store was made with another password: restore the app's secrets from where they were"
    if "statement timeout" in said:
        return "another session may hold a lock: look into pg_stat_activity"
    if re.search(r"container \S+ is not running|No such container", said):
        return "the store does not run: `docker logs` of its container says why"
    if "failed: FATAL" not in said and "connection to server" in said:
        return "see whether the server runs, and the end of its log"
    return ""


def ready(server: Server, deadline: float, log: Path) -> None:
    """Wait until the server answers `select 1`; StoreError with the end of `log` after `deadline` seconds.

    A server that refuses us (another password) fails at once. One that recovers from a crash is waited for.
    """
    end = time.monotonic() + deadline
    said = "nothing listens on its port"
    if waits.wait_until(lambda: network.accepts(server.port), deadline, _POLL):
        while True:
            try:
                server.query("select 1")
                return
            except StoreError as e:
                said = e.what
                if not _is_starting("\n".join(e.log)) or time.monotonic() >= end:
                    raise _not_ready(server, said, e.hint, log) from e
            time.sleep(_POLL)
    raise _not_ready(server, f"{said} after {deadline:g} s", "the lines above are the end of its log", log)


def _is_starting(said: str) -> bool:
    """Whether a refusal will pass: the server said that it is coming up, or had no time to say anything."""
    return "the database system is" in said or ("FATAL" not in said and "connection to server" in said)


def _not_ready(server: Server, said: str, hint: str, log: Path) -> StoreError:
    where = f"PostgreSQL on port {server.port}"
    return StoreError(f"PostgreSQL is not ready: {said}", where=where, hint=hint, log=files.tail(log))


def url(user: str, password: str, port: int, database: str, host: str = "127.0.0.1") -> str:
    """The address of a database as programs take it: `postgresql://user:password@127.0.0.1:port/database`."""
    return f"postgresql://{quote(user, '')}:{quote(password, '')}@{host}:{port}/{quote(database, '')}"
