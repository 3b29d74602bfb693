"""Dumps of an app's database: taken, read whole, tried out beside it, put in its place.

A dump is pg_dump's custom format. What is in it is counted in the snapshot that it is taken in, so that a restored
database can be compared with what was there, row for row.
"""

import contextlib
import re
from collections.abc import Callable, Iterator

from pushrod.adapters import dumps
from pushrod.adapters.dumps import Rows
from pushrod.adapters.postgres.server import FORM, Command, Database, refusal
from pushrod.core.errors import StoreError
from pushrod.system import processes
from pushrod.system.streams import Sink, Source

_LONG = 6 * 3600.0  # seconds for a dump, a restore, or one statement of counting
_LOCK = 60  # seconds that a dump waits for whoever changes a table's schema
_TRIES = 5  # at the moment in which the database has to be without sessions


class Copy(dumps.Copy):
    """The database of an app, as what is dumped and restored.

    `ensure` makes the roles and rights of a database what they should be, given its name.
    """

    _longest = 63

    def __init__(self, server: Database, database: str, ensure: Callable[[str], None]) -> None:
        super().__init__(database)
        self._server = server
        self._ensure = ensure

    def version(self) -> str:
        """The server's version, `17.2`."""
        return self._ask("show server_version")[0][0].split()[0]

    def dump(self, sink: Sink) -> Rows:
        """Write the database; how many rows each of its tables has in the dump. StoreError if it fails."""
        with self._snapshot() as snapshot:
            options = ("--format=custom", "--no-password", f"--lock-wait-timeout={_LOCK}s")
            command = self._command("pg_dump", *options, f"--snapshot={snapshot}", database=self._database)
            _ended(processes.drain(command.argv, sink, env=command.environment, timeout=_LONG), command)
            return self._count(self._database, snapshot)

    def check(self, dump: Source) -> None:
        """Read a dump to its end; StoreError where it is damaged, or cut off."""
        self._read("pg_restore", "--file=/dev/null", dump=dump)

    def restore(self, dump: Source) -> str:
        """Put what a dump holds in the place of the database; the name of the one before, which is kept.

        It is restored beside it, roles and rights are ensured, then the names are swapped: sessions are ended and
        begin anew. Until then nothing of the database has changed; what an earlier restore kept is dropped before.
        """
        made, kept = self._beside("restoring"), self._beside("before_restore")
        self._load(dump, made)
        self._ensure(made)
        self._ask("analyze", made)
        self._drop(kept)
        self._swap(made, kept)
        return kept

    # ---- steps ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[str]:
        """A snapshot of the database that other sessions can look at during the block."""
        psql = self._server.command("psql", *FORM, database=self._database, timeout=_LONG)
        with processes.beside(psql.argv, env=psql.environment, stdin=_EXPORT) as said:
            if not re.fullmatch(r"[0-9A-F-]+", said):
                raise refusal(said, psql.where)
            yield said

    def _load(self, dump: Source, database: str) -> None:
        self._drop(database)
        self._ask(_named(database=self._database, made=database) + _CREATE)
        self._read("pg_restore", "--exit-on-error", "--no-password", database=database, dump=dump)

    def _count(self, database: str, snapshot: str = "") -> Rows:
        within = f"set transaction snapshot '{snapshot}';\n" if snapshot else ""
        begin = "begin isolation level repeatable read, read only;\n"
        return {table: int(rows) for table, rows in self._ask(begin + within + _COUNT, database)}

    def _swap(self, made: str, kept: str) -> None:
        for left in reversed(range(_TRIES)):
            try:
                names = _named(database=self._database, made=made, kept=kept)
                self._ask(f"{names}begin;\n{_SESSIONS}{_SWAP}")
                return
            except StoreError as e:  # a client that connected again between the two statements
                if "being accessed by other users" not in e.what or not left:
                    raise

    def _drop(self, database: str) -> None:
        self._ask(_named(database=database) + _DROP)

    def _ask(self, sql: str, database: str = "") -> list[tuple[str, ...]]:
        # Not from the database that is renamed, nor from one that an image was told not to make.
        return self._server.query(sql, database or "template1", timeout=_LONG)

    def _read(self, program: str, *argv: str, database: str = "", dump: Source) -> None:
        command = self._command(program, *argv, database=database)
        _ended(processes.feed(command.argv, dump, env=command.environment, timeout=_LONG), command)

    def _command(self, program: str, *argv: str, database: str) -> Command:
        return self._server.command(program, *argv, database=database, timeout=_LONG)


def _ended(done: processes.Completed, command: Command) -> None:
    if done.status != 0:
        raise refusal(done.stderr, command.where)


def _named(**names: str) -> str:
    return "".join(f"\\set {variable} '{name}'\n" for variable, name in names.items())


_EXPORT = """
set idle_in_transaction_session_timeout = 0;
begin isolation level repeatable read, read only;
select pg_catalog.pg_export_snapshot();
"""

# As the database is, or as template0 where somebody has dropped it.
_CREATE = r"""
select format('create database %I template template0 encoding %L lc_collate %L lc_ctype %L',
              :'made', pg_encoding_to_char(encoding), datcollate, datctype)
  from pg_database
 where datname in (:'database', 'template0')
 order by datname = :'database' desc
 limit 1
\gexec
"""

_SESSIONS = """
select from (select pg_terminate_backend(pid) from pg_stat_activity
              where datname = :'database' and pid <> pg_backend_pid()) as ended;
"""

_DROP = f'{_SESSIONS}drop database if exists :"database";\n'

# Renaming locks a database against new sessions until the end of the transaction.
_SWAP = r"""
select format('alter database %I rename to %I', datname, :'kept') from pg_database where datname = :'database'
\gexec
alter database :"made" rename to :"database";
commit;
"""

# Not what belongs to an extension: restoring makes the extension anew.
_COUNT = r"""
select format('select %L, count(*) from only %s', c.oid::regclass, c.oid::regclass)
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'r' and nspname !~ '^pg_' and nspname <> 'information_schema'
   and not exists (select from pg_depend d
                    where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
 order by c.oid::regclass::text
\gexec
commit;
"""
