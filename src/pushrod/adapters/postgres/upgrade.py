"""Carrying all data of a server to one of a newer major version: pg_dumpall and pg_dump of the old one, pg_restore of
the new one.

Both servers run; the old one is only read. Roles come first, then each database: dumped into a file beside the new
server, and restored from there by several processes.
"""

import re
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from pushrod.adapters.dumps import Command, Rows, difference
from pushrod.adapters.postgres.dumps import rows_of
from pushrod.adapters.postgres.server import Database, refusal
from pushrod.core.errors import StoreError
from pushrod.core.upgrades import Carried
from pushrod.system import processes

_LONG = 6 * 3600.0  # seconds for one program
_POLL = 0.1
_GRANTED = re.compile(r'^(GRANT .+) GRANTED BY (?:"(?:[^"]|"")+"|[^" ;]+);$')
_SETTING = re.compile(r"^([a-z_][a-z0-9_.]*) = '", re.IGNORECASE)


class Facts(NamedTuple):
    """What the new server must have in common with the old one: the name of its first superuser, how clients prove
    who they are, libraries that are loaded at start, and what ALTER SYSTEM has set. `size` is in bytes, of all
    databases, in `directory`.
    """

    superuser: str
    method: str
    libraries: str
    settings: str
    size: int
    directory: str


def facts(server: Database) -> Facts:
    """Ask a server. Raises StoreError for one that cannot be carried."""
    ((superuser, libraries, size, directory, prepared, spaces, settings),) = server.query(_FACTS)
    methods = [method for (method,) in server.query(_METHODS)]
    for count, what, hint in (
        (prepared, "prepared transactions", "commit them or roll them back: see pg_prepared_xacts"),
        (spaces, "tablespaces of its own", "move everything into pg_default first"),
    ):
        if count != "0":
            raise StoreError(
                f"it has {what}, which no dump contains", where=f"data in {directory}", hint=hint
            )
    return Facts(superuser, methods[0] if methods else "", libraries, settings, int(size), directory)


def settings_for(server: Database, settings: str) -> str:
    """The lines of a `postgresql.auto.conf` whose settings a server knows."""
    known = {name.lower() for (name,) in server.query("select name from pg_catalog.pg_settings")}
    kept = []
    for line in settings.splitlines(keepends=True):
        if (match := _SETTING.match(line)) and ("." in match[1] or match[1].lower() in known):
            kept.append(line)
    return "".join(kept)


class Carrying(NamedTuple):
    """What a carrying needs: both servers, each asked by its own programs, and the name of their first superuser.
    `file` is beside the new server: `dump` writes a program's output to it. `measure` returns the bytes of a path
    there, `remove` removes it. `jobs` work at a time.
    """

    old: Database
    new: Database
    superuser: str
    file: str
    dump: Callable[[Command, str], None]
    measure: Callable[[str], int]
    remove: Callable[[str], object]
    jobs: int


def carry(its: Carrying, before: int, data: str) -> Carried:
    """Carry all roles and databases; `data` is the new server's directory. Raises StoreError at the first error."""
    began, largest = time.monotonic(), 0
    roles = _run(its.old.command("pg_dumpall", "--globals-only", "--no-password", timeout=_LONG))
    its.new.query(roles_for(roles, its.superuser), timeout=_LONG)
    for name in databases(its.old):
        options = ("--format=custom", "--compress=1", "--no-password")
        its.dump(its.old.command("pg_dump", *options, database=name, timeout=_LONG), its.file)
        largest = max(largest, its.measure(its.file))
        made = () if name == _TEMPLATE else ("--create", "--clean", "--if-exists")
        words = (*made, "--exit-on-error", f"--jobs={its.jobs}", "--no-password", its.file)
        _run(its.new.command("pg_restore", *words, database=_TEMPLATE, timeout=_LONG))
    its.remove(its.file)
    for name in databases(its.new):  # a first, rough statistic: so that no plan is made without any
        its.new.query("set default_statistics_target = 1;\nanalyze;\n", name, timeout=_LONG)
    rows = sum(sum(tables.values()) for tables in counted(its.new).values())
    return Carried(time.monotonic() - began, rows, before, its.measure(data), largest)


def roles_for(dumped: str, superuser: str) -> str:
    """What a new cluster needs of `pg_dumpall --globals-only`: its superuser is there already, and from version 16 on
    only a role that may give a role to others can be named as the one that did.
    """
    there = {f"CREATE ROLE {name};" for name in (superuser, f'"{superuser}"')}
    kept = [line for line in dumped.splitlines() if line not in there]
    return "\n".join(_GRANTED.sub(r"\1;", line) for line in kept) + "\n"


def compare(old: Database, new: Database) -> None:
    """Raise StoreError unless both have the same tables with the same number of rows, and the same roles."""
    there, here = counted(old), counted(new)
    if {*there} != {*here}:
        raise StoreError(f"databases are missing: {', '.join(sorted({*there} ^ {*here}))}", hint=_UNCHANGED)
    for name in there:
        if there[name] != here[name]:
            what = difference(there[name], here[name])
            raise StoreError(f"tables of {name} differ: {what}", where=f"database {name}", hint=_UNCHANGED)
    if old.query(_ROLES) != new.query(_ROLES):
        raise StoreError("its roles or their passwords differ", where="pg_authid", hint=_UNCHANGED)


def counted(server: Database) -> Mapping[str, Rows]:
    """The rows of each table of each database."""
    return {name: rows_of(server, name) for name in databases(server)}


def databases(server: Database) -> list[str]:
    """The databases that a dump can contain."""
    return [name for (name,) in server.query(_DATABASES)]


def alone(server: Database, patience: float) -> None:
    """End all clients of a server that nobody can reach any more. Raises StoreError if some do not end."""
    end = time.monotonic() + patience
    while server.query(_END):
        if time.monotonic() >= end:
            raise StoreError("clients of the database do not end", where="pg_stat_activity", hint=_UNCHANGED)
        time.sleep(_POLL)


def rebuild_statistics(server: Database, jobs: int) -> None:
    """Rebuild them in stages, while the app runs. Raises StoreError, which says how to do it by hand."""
    words = ("--all", "--analyze-in-stages", f"--jobs={jobs}", "--no-password", "--quiet")
    try:
        _run(server.command("vacuumdb", *words, timeout=_LONG))
    except StoreError as e:
        by_hand = "`vacuumdb --all --analyze-in-stages` beside its server does it"
        raise StoreError(f"{e.what}; {by_hand}", where=e.where, hint=e.hint, log=e.log) from e


def _run(command: Command) -> str:
    done = processes.run(command.argv, env=command.environment, timeout=_LONG)
    if done.status != 0:
        raise refusal(done.stderr, command.where)
    return done.stdout


_UNCHANGED = "the old data is unchanged"
_TEMPLATE = "template1"
_DATABASES = "select datname from pg_catalog.pg_database where datallowconn order by 1"

_FACTS = r"""
select (select rolname from pg_catalog.pg_authid where oid = 10),
       current_setting('shared_preload_libraries'),
       (select sum(pg_database_size(oid)) from pg_catalog.pg_database),
       current_setting('data_directory'),
       (select count(*) from pg_catalog.pg_prepared_xacts),
       (select count(*) from pg_catalog.pg_tablespace where spcname not in ('pg_default', 'pg_global')),
       pg_read_file('postgresql.auto.conf')
"""

_METHODS = r"""
select auth_method from pg_catalog.pg_hba_file_rules
 where type = 'host' and address = 'all' and '{all}' = database order by line_number desc limit 1
"""

_ROLES = r"""
select rolname, rolsuper, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolconnlimit, rolpassword
  from pg_catalog.pg_authid where rolname !~ '^pg_' order by rolname
"""

_END = r"""
select pid, pg_terminate_backend(pid) from pg_catalog.pg_stat_activity
 where backend_type = 'client backend' and pid <> pg_backend_pid()
"""
