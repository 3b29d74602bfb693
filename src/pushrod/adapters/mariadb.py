"""MariaDB and MySQL in a container: queried as root over the socket, with the programs of the container's own image.

Both have the same protocol and the same options, as far as used here; only their programs have different names.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple
from urllib.parse import quote

from pushrod.adapters import docker
from pushrod.adapters.dumps import ANSWER, Command
from pushrod.core.errors import StoreError
from pushrod.system import processes

ROOT = "root"
LONG = 6 * 3600.0
"""Seconds for a dump, a restore, or one statement of counting."""

CLIENT = ("mariadb", "mysql")
DUMP = ("mariadb-dump", "mysqldump")
_EITHER = """
for program in "$1" "$2"; do
    if command -v "$program" >/dev/null; then
        shift 2
        exec "$program" "$@"
    fi
done
echo "neither $1 nor $2 is in this image" >&2
exit 127
"""
_CHANGES = ("SELECT", "INSERT", "UPDATE", "DELETE")
_RIGHTS = (*_CHANGES, "EXECUTE", "SHOW VIEW", "CREATE TEMPORARY TABLES", "LOCK TABLES")
_LONGEST = 32  # characters of an account's name in MySQL; MariaDB allows more
_SHOWN = 60  # characters of a statement
_ESCAPES = {"\\n": "\n", "\\t": "\t", "\\0": "\0", "\\\\": "\\"}

Row = tuple[str, ...]


class Server:
    """A running server. `password` is root's."""

    def __init__(self, container: str, password: Callable[[], str]) -> None:
        self._container = container
        self._given = password

    @cached_property
    def _password(self) -> str:
        return self._given()

    def query(
        self, sql: str, database: str = "", *, timeout: float = 60.0, user: str = ROOT, password: str = ""
    ) -> list[Row]:
        """Run a script as root, or as another account, and return its rows, NULL as `NULL`.

        The first statement that fails ends it. Raises StoreError with the server's message.
        """
        options = ("--batch", "--skip-column-names", "--connect-timeout=10")
        command = self.command(CLIENT, *options, *([database] if database else []), user=user)
        secret = {"MYSQL_PWD": password} if user != ROOT else {}
        given = {**command.environment, **secret}
        done = processes.run(command.argv, env=given, stdin=sql, timeout=timeout, most=ANSWER)
        if done.status != 0:
            raise refusal(done.stderr, command.where)
        return [tuple(map(_plain, line.split("\t"))) for line in done.stdout.splitlines()]

    def command(self, program: tuple[str, str], *argv: str, user: str = ROOT) -> Command:
        """How to run a program that has one of two names. No argv contains the password."""
        inside = [
            "sh",
            "-c",
            _EITHER,
            "sh",
            *program,
            f"--user={user}",
            "--default-character-set=utf8mb4",
            *argv,
        ]
        whole = ["docker", "exec", "--interactive", "--env", "MYSQL_PWD", self._container, *inside]
        variables = docker.environment() | {"MYSQL_PWD": self._password}
        return Command(whole, variables, f"container {self._container}")

    def enters(self, user: str, password: str) -> bool:
        """Whether an account can log in with a password."""
        try:
            self.query("select 1", user=user, password=password)
        except StoreError as e:
            if not is_denied(e):
                raise
            return False
        return True

    def version(self) -> str:
        """The server's version, `11.8.3`."""
        return self.query("select version()")[0][0].partition("-")[0]


def refusal(output: str, where: str) -> StoreError:
    """The error for the output of a failed program."""
    lines = tuple(output.splitlines()[-20:])
    match = re.search(r"(?:ERROR|[Ee]rror:) ?(\d+)? ?(?:\(\w+\))?(?: at line \d+)?: (.+)", output)
    what = (
        match[2]
        if match
        else (output.strip().rpartition("\n")[2] or "the client failed without an error message")
    )
    hint = "see its last lines: docker logs"
    if "(28000)" in output or " 1045" in output:
        hint = "its data was created with another password than its variables have now: restore the old one"
    elif re.search(r"container \S+ is not running|No such container", output):
        hint = "the store does not run: `docker logs` of its container shows why"
    return StoreError(what, where=where, hint=hint, log=lines)


def is_denied(error: StoreError) -> bool:
    """Whether the server refused the login."""
    return error.what.startswith("Access denied for user") and "using password" in error.what


def url(user: str, password: str, host: str, port: int, database: str) -> str:
    """A database's address in the form that programs expect: `mysql://user:password@db:3306/database`."""
    return f"mysql://{quote(user, '')}:{quote(password, '')}@{host}:{port}/{quote(database, '')}"


def name(text: str) -> str:
    """An identifier in SQL."""
    return f"`{text.replace('`', '``')}`"


def text(value: str) -> str:
    """A text in SQL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _plain(field: str) -> str:
    return re.sub(r"\\[nt0\\]", lambda match: _ESCAPES[match[0]], field)


# ---- roles ---------------------------------------------------------------------------------------------------


class Roles(NamedTuple):
    """The names of an app's two accounts."""

    migrator: str
    app: str

    @classmethod
    def of(cls, app: str) -> "Roles":
        """The accounts of the app of that name. A server has only one app's accounts, so a long name may be
        shortened.
        """
        return cls(*(f"{app[: _LONGEST - len(ending)]}{ending}" for ending in ("_migrator", "_app")))


def ensure(server: Server, app: str, database: str, passwords: Mapping[str, str], *, ddl: bool) -> None:
    """Ensure an app's accounts, its database and their rights; writes nothing if they are correct.

    `passwords` has `migrator` and `app`. With `ddl` the app's own account changes the schema too. A right that
    somebody revoked from an account stays revoked while the account has other rights in the database.
    """
    roles = Roles.of(app)
    there = {row[0] for row in server.query("select user from mysql.user where host = '%'")}
    account_passwords = {roles.migrator: passwords["migrator"], roles.app: passwords["app"]}
    sql = [f"create database if not exists {name(database)};"]
    sql += [
        f"create user {_account(role)} identified by {text(password)};"
        for role, password in account_passwords.items()
        if role not in there
    ]
    held = {role: _rights(server, role, database) for role in roles}
    if not held[roles.migrator]:
        sql.append(_grant(("ALL",), database, roles.migrator))
    if held[roles.app] and ("CREATE" in held[roles.app]) != ddl:
        sql.append(f"revoke all privileges on {name(database)}.* from {_account(roles.app)};")
        held[roles.app] = set()
    if not held[roles.app]:
        sql.append(_grant(("ALL",) if ddl else _RIGHTS, database, roles.app))
    for role, password in account_passwords.items():
        if role in there and not server.enters(role, password):
            sql.append(f"alter user {_account(role)} identified by {text(password)};")
    server.query("\n".join(sql))


def initial_sql(app: str, database: str, passwords: Mapping[str, str], *, ddl: bool) -> str:
    """The statements of `ensure` for a server that has none of the accounts yet."""
    roles = Roles.of(app)
    accounts = {roles.migrator: passwords["migrator"], roles.app: passwords["app"]}
    sql = [f"create database if not exists {name(database)};"]
    sql += [f"create user {_account(role)} identified by {text(p)};" for role, p in accounts.items()]
    sql += [_grant(("ALL",), database, roles.migrator)]
    sql += [_grant(("ALL",) if ddl else _RIGHTS, database, roles.app)]
    return "".join(f"{line}\n" for line in sql)


def _rights(server: Server, role: str, database: str) -> set[str]:
    of = f"table_schema = {text(database)} and grantee = {text(_account(role))}"
    rows = server.query(f"select privilege_type from information_schema.schema_privileges where {of}")  # noqa: S608
    return {row[0] for row in rows}


def _grant(rights: Collection[str], database: str, role: str) -> str:
    return f"grant {', '.join(rights)} on {name(database)}.* to {_account(role)};"


def _account(role: str) -> str:
    return f"{text(role)}@'%'"


# ---- migrations ----------------------------------------------------------------------------------------------


def waiting(server: Server, app: str) -> Sequence[str]:
    """What the sessions of an app's migrating account wait for, one sentence for each possible blocker."""
    migrator = text(Roles.of(app).migrator)
    return [
        f"it waits for a lock that {who} may hold: connection {number}, in a transaction for {seconds} s: "
        f"{statement if len(statement) <= _SHOWN else statement[:_SHOWN] + '…'}"
        for number, who, seconds, statement in server.query(_WAITING.replace("MIGRATOR", migrator))
    ]


def end_sessions(server: Server, app: str, since: str) -> None:
    """End the statements of an app's migrating account that began at a time (ISO 8601) or later.

    A session that is between two statements ends with its client.
    """
    rows = server.query(
        _RUNNING.replace("MIGRATOR", text(Roles.of(app).migrator)).replace("SINCE", text(since[:19]))
    )
    kill(server, [row[0] for row in rows])


def kill(server: Server, connections: Collection[str]) -> None:
    """End connections; ignores those that have ended meanwhile."""
    command = server.command(CLIENT, "--force")
    sql = "".join(f"kill {int(number)};\n" for number in connections)
    if sql:
        processes.run(command.argv, env=command.environment, stdin=sql, timeout=60)


_WAITING = """
select distinct p.id, p.user, timestampdiff(second, t.trx_started, now()),
       regexp_replace(coalesce(p.info, 'idle'), '[[:space:]]+', ' ')
  from information_schema.innodb_trx t
  join information_schema.processlist p on p.id = t.trx_mysql_thread_id
 where p.user <> MIGRATOR
   and exists (select 1 from information_schema.processlist m
                where m.user = MIGRATOR
                  and (m.state like 'Waiting for%lock%'
                       or m.id in (select trx_mysql_thread_id from information_schema.innodb_trx
                                    where trx_state = 'LOCK WAIT')));
"""

_RUNNING = """
select id from information_schema.processlist
 where user = MIGRATOR and command <> 'Sleep'
   and utc_timestamp() - interval time second >= cast(SINCE as datetime);
"""
