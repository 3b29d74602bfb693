"""A running server: asking it as the superuser, waiting for it, and its address for others."""

import csv
import io
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from pushrod import host
from pushrod.errors import StoreError
from pushrod.gears.postgres.programs import SUPERUSER, Programs, environment

_CONNECT_TIMEOUT = 5  # seconds; the server is on this machine
_POLL = 0.02  # seconds between two questions while a server starts

Row = tuple[str, ...]


class Database(Protocol):
    """A server that can be asked as its superuser."""

    def query(self, sql: str, database: str = "postgres", *, timeout: float = 30.0) -> list[Row]:
        """Run a psql script and return the rows it gives, NULL as an empty string."""


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
        at = ["--host=127.0.0.1", f"--port={self.port}", f"--username={SUPERUSER}", f"--dbname={database}"]
        variables = environment() | {
            "PGPASSWORD": self.password,
            **_variables(timeout),
            "PGCONNECT_TIMEOUT": str(_CONNECT_TIMEOUT),
            "PGSSLMODE": "disable",
            "PGGSSENCMODE": "disable",
        }
        argv = [self.programs.psql, *_FORM, *at]
        return _query(argv, variables, sql, timeout, f"database {database} of PostgreSQL on port {self.port}")


@dataclass(frozen=True)
class ContainerServer:
    """A running server in a container, asked from inside it: over its own socket, as its superuser `user`, whom the
    official image trusts there (its `pg_hba.conf`). `docker` is the environment of Docker's program."""

    container: str
    user: str
    docker: Mapping[str, str] = field(repr=False)

    def query(self, sql: str, database: str = "postgres", *, timeout: float = 30.0) -> list[Row]:
        """As `Server.query`."""
        given = [w for name, value in _variables(timeout).items() for w in ("--env", f"{name}={value}")]
        psql = ["psql", *_FORM, f"--username={self.user}", f"--dbname={database}"]
        argv = ["docker", "exec", "--interactive", *given, self.container, *psql]
        return _query(argv, self.docker, sql, timeout, f"database {database} in container {self.container}")


_FORM = ("--quiet", "--tuples-only", "--csv", "--no-psqlrc", "--no-password", "--set=ON_ERROR_STOP=1")


def _variables(timeout: float) -> dict[str, str]:
    options = f"-c statement_timeout={int(timeout * 1000)} -c search_path= -c client_min_messages=warning"
    return {"PGOPTIONS": options, "PGAPPNAME": "pushrod", "PGCLIENTENCODING": "UTF8"}


def _query(
    argv: Sequence[str], variables: Mapping[str, str], sql: str, timeout: float, where: str
) -> list[Row]:
    done = host.run(argv, env=variables, stdin=sql, timeout=timeout + 2 * _CONNECT_TIMEOUT)
    if done.status != 0:
        raise StoreError(
            _message(done.stderr),
            where=where,
            hint=_hint(done.stderr),
            log=tuple(done.stderr.splitlines()[-20:]),
        )
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
    if "failed: FATAL" not in said and "connection to server" in said:
        return "see whether the server runs, and the end of its log"
    return ""


def ready(server: Server, deadline: float, log: Path) -> None:
    """Wait until the server answers `select 1`; StoreError with the end of `log` after `deadline` seconds.

    A server that refuses us (another password) fails at once. One that recovers from a crash is waited for.
    """
    end = time.monotonic() + deadline
    said = "nothing listens on its port"
    if host.wait_until(lambda: host.accepts(server.port), deadline, _POLL):
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
    return StoreError(f"PostgreSQL is not ready: {said}", where=where, hint=hint, log=host.tail(log))


def url(user: str, password: str, port: int, database: str, host: str = "127.0.0.1") -> str:
    """The address of a database as programs take it: `postgresql://user:password@127.0.0.1:port/database`."""
    return f"postgresql://{quote(user, '')}:{quote(password, '')}@{host}:{port}/{quote(database, '')}"
