"""A running server: query it as the superuser, wait for it, and build its address for clients."""

import csv
import io
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from pushrod.adapters.dumps import ANSWER, Command
from pushrod.adapters.postgres.programs import SUPERUSER, Programs, environment
from pushrod.core.errors import StoreError
from pushrod.system import files, network, processes, streams, tails, waits
from pushrod.system.streams import Sink

_CONNECT_TIMEOUT = 5  # seconds; the server is on this machine
_READ = 600.0  # seconds to read a file from a container
_POLL = 0.02  # seconds between two queries while a server starts

Row = tuple[str, ...]


class Database(Protocol):
    """A server that can be queried as its superuser."""

    def query(self, sql: str, database: str = "postgres", *, timeout: float = 30.0) -> list[Row]:
        """Run a psql script and return its rows, NULL as an empty string."""

    def command(self, program: str, *argv: str, database: str = "", timeout: float = 30.0) -> Command:
        """How to run one of PostgreSQL's programs, of the server's own version, as its superuser, on a database or,
        without a name, on none. `timeout` is in seconds, for each statement.
        """

    def read(self, path: str, sink: Sink) -> None:
        """Write one of the server's files to the sink. Raises StoreError if it cannot be read."""

    def free(self, path: str) -> int | None:
        """The free bytes of the disk with one of the server's directories; None if that is not known."""

    def as_role(self, role: str, password: str) -> "Database":
        """The same server, for another role that logs in."""


@dataclass(frozen=True)
class Server:
    """A running server on this machine, with its superuser's password."""

    programs: Programs
    port: int
    password: str = field(repr=False)
    address: str = "127.0.0.1"
    user: str = SUPERUSER

    def query(self, sql: str, database: str = "postgres", *, timeout: float = 30.0) -> list[Row]:
        """Run a psql script as the superuser and return its rows, NULL as an empty string.

        The first failing statement ends it; an atomic script contains begin and commit. Names must include their
        schema: `search_path` is empty, because a schema's owner could otherwise make the superuser call their
        functions. `timeout` is in seconds, for each statement. Raises StoreError with PostgreSQL's message.
        """
        return _query(self.command("psql", *FORM, database=database, timeout=timeout), sql, timeout)

    def command(self, program: str, *argv: str, database: str = "", timeout: float = 30.0) -> Command:
        """Like `Database.command`, with the programs beside the server's."""
        at = [f"--host={self.address}", f"--port={self.port}", f"--username={self.user}", *_on(database)]
        variables = environment() | {
            "PGPASSWORD": self.password,
            **_variables(timeout),
            "PGCONNECT_TIMEOUT": str(_CONNECT_TIMEOUT),
            "PGSSLMODE": "disable",
            "PGGSSENCMODE": "disable",
        }
        where = f"database {database} of PostgreSQL on port {self.port}"
        return Command([str(self.programs.bin / program), *argv, *at], variables, where)

    def read(self, path: str, sink: Sink) -> None:
        """Like `Database.read`."""
        try:
            with Path(path).open("rb") as file:
                streams.copy(file, sink)
        except FileNotFoundError as e:
            raise _gone(path) from e

    def free(self, path: str) -> int | None:
        """Like `Database.free`."""
        try:
            return files.free_space(Path(path))
        except OSError:
            return None

    def as_role(self, role: str, password: str) -> "Server":
        """Like `Database.as_role`."""
        return replace(self, user=role, password=password)


@dataclass(frozen=True)
class ContainerServer:
    """A running server in a container, queried from inside it: over its own socket, as its superuser `user`, which
    the official image trusts there (its `pg_hba.conf`). `docker` is the environment of Docker's program.
    """

    container: str
    user: str
    docker: Mapping[str, str] = field(repr=False)

    def query(self, sql: str, database: str = "postgres", *, timeout: float = 30.0) -> list[Row]:
        """Like `Server.query`."""
        return _query(self.command("psql", *FORM, database=database, timeout=timeout), sql, timeout)

    def command(self, program: str, *argv: str, database: str = "", timeout: float = 30.0) -> Command:
        """Like `Database.command`, with the container's programs."""
        given = [w for name, value in _variables(timeout).items() for w in ("--env", f"{name}={value}")]
        words = [program, *argv, f"--username={self.user}", *_on(database)]
        whole = ["docker", "exec", "--interactive", *given, self.container, *words]
        return Command(whole, self.docker, f"database {database} in container {self.container}")

    def read(self, path: str, sink: Sink) -> None:
        """Like `Database.read`, with the container's `cat`."""
        argv = ["docker", "exec", self.container, "cat", path]
        if processes.drain(argv, sink, env=self.docker, timeout=_READ).status != 0:
            raise _gone(path)

    def free(self, path: str) -> int | None:
        """Like `Database.free`, with the container's `df`."""
        done = processes.run(["docker", "exec", self.container, "df", "-P", "-k", path], env=self.docker)
        match = re.search(r"^\S+ +[0-9]+ +[0-9]+ +([0-9]{1,18}) +[0-9]+% ", done.stdout, re.MULTILINE)
        return int(match[1]) * 1024 if done.status == 0 and match else None

    def as_role(self, role: str, password: str) -> "ContainerServer":  # noqa: ARG002
        """Like `Database.as_role`; the image trusts every role on its socket."""
        return replace(self, user=role)


def _gone(path: str) -> StoreError:
    return StoreError("the server has removed a part of its log that was not copied yet", where=path)


def _on(database: str) -> list[str]:
    return [f"--dbname={database}"] if database else []


FORM = ("--quiet", "--tuples-only", "--csv", "--no-psqlrc", "--no-password", "--set=ON_ERROR_STOP=1")


def _variables(timeout: float) -> dict[str, str]:
    options = f"-c statement_timeout={int(timeout * 1000)} -c search_path= -c client_min_messages=warning"
    return {"PGOPTIONS": options, "PGAPPNAME": "pushrod", "PGCLIENTENCODING": "UTF8"}


def refusal(output: str, where: str) -> StoreError:
    """The error for the output of a failed program of PostgreSQL."""
    return StoreError(_message(output), where=where, hint=_hint(output), log=tuple(output.splitlines()[-20:]))


def _query(psql: Command, sql: str, timeout: float) -> list[Row]:
    limit = timeout + 2 * _CONNECT_TIMEOUT
    done = processes.run(psql.argv, env=psql.environment, stdin=sql, timeout=limit, most=ANSWER)
    if done.status != 0:
        raise refusal(done.stderr, psql.where)
    try:
        return [tuple(row) or ("",) for row in csv.reader(io.StringIO(done.stdout, newline=""))]
    except csv.Error as e:  # an app's own image may answer anything
        raise StoreError(f"its answer cannot be read: {e}", where=psql.where) from e


def _message(output: str) -> str:
    """The decisive sentence in psql's output, without the location in front of it."""
    match = re.search(r"(?:ERROR|FATAL|PANIC): +(.+)", output) or re.search(r"error: (.+)", output)
    return match[1] if match else (output.strip() or "psql failed without an error message")


def _hint(output: str) -> str:
    if "password authentication failed" in output:
        return "the store was created with another password: restore the app's secrets from a backup"
    if re.search(r"input file (?:is too short|appears to be|does not)|not a valid archive", output):
        return "give a dump by `pushrod db export`, or by pg_dump --format=custom; nothing has changed"
    if "unsupported version" in output:
        return (
            "a newer pg_dump wrote it: upgrade the store first (`pushrod db upgrade`), or dump with its own"
        )
    if "statement timeout" in output:
        return "another session may hold a lock: see pg_stat_activity"
    if re.search(r"container \S+ is not running|No such container", output):
        return "the store does not run: `docker logs` of its container shows why"
    if "failed: FATAL" not in output and "connection to server" in output:
        return "check whether the server runs, and read the end of its log"
    return ""


def ready(server: Server, deadline: float, log: Path, question: str = "select 1") -> None:
    """Wait until the server answers a question. Raises StoreError with the end of `log` after `deadline` seconds.

    A server that refuses the login (another password) fails at once; one that recovers from a crash is waited for.
    """
    end = time.monotonic() + deadline
    problem = "nothing listens on its port"
    if waits.wait_until(lambda: network.accepts(server.port, server.address), deadline, _POLL):
        while True:
            try:
                server.query(question)
                return
            except StoreError as e:
                problem = e.what
                if not _is_starting("\n".join(e.log)) or time.monotonic() >= end:
                    raise _not_ready(server, problem, e.hint, log) from e
            time.sleep(_POLL)
    raise _not_ready(server, f"{problem} after {deadline:g} s", "the lines above are the end of its log", log)


def _is_starting(output: str) -> bool:
    """Whether a refusal is temporary: the server reported that it is starting, or ended the connection without a
    message.
    """
    return "the database system is" in output or ("FATAL" not in output and "connection to server" in output)


def _not_ready(server: Server, problem: str, hint: str, log: Path) -> StoreError:
    where = f"PostgreSQL on port {server.port}"
    return StoreError(f"PostgreSQL is not ready: {problem}", where=where, hint=hint, log=tails.of_file(log))


def url(user: str, password: str, port: int, database: str, host: str = "127.0.0.1") -> str:
    """A database's address in the form that programs expect: `postgresql://user:password@127.0.0.1:port/database`."""
    return f"postgresql://{quote(user, '')}:{quote(password, '')}@{host}:{port}/{quote(database, '')}"
