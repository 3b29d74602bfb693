"""Dumps of an app's database: take, check and restore them beside it, and swap them in.

A dump has pg_dump's custom format. Its rows are counted in the same snapshot, so that a restored database can be
compared with the original, row count by row count.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from pushrod.adapters import dumps
from pushrod.adapters.dumps import Command, Rows
from pushrod.adapters.postgres.server import FORM, Database, refusal
from pushrod.core.errors import StoreError
from pushrod.system import processes
from pushrod.system.signals import signals_held
from pushrod.system.streams import Sink, Source

_LONG = 6 * 3600.0  # seconds for a dump, a restore, or one counting statement
_LOCK = 60  # seconds that a dump waits for a session that changes a table's schema
_SPARE = 256 << 20  # bytes of the disk that a copy of the database leaves free
_TRIES = 5  # for the swap, during which the database must have no sessions


class Copy(dumps.Copy):
    """An app's database, as it is dumped and restored.

    `ensure` ensures the roles and rights of the database of a name.
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
        """Write the database; returns the number of rows of each table in the dump. Raises StoreError if it fails."""
        with self._snapshot() as snapshot:
            options = ("--format=custom", "--no-password", f"--lock-wait-timeout={_LOCK}s")
            command = self._command("pg_dump", *options, f"--snapshot={snapshot}", database=self._database)
            _ended(processes.drain(command.argv, sink, env=command.environment, timeout=_LONG), command)
            return self._count(self._database, snapshot)

    def check(self, dump: Source) -> None:
        """Read a dump to its end. Raises StoreError if it is damaged or incomplete."""
        self._read("pg_restore", "--file=/dev/null", dump=dump)

    def restore(self, dump: Source, rows: Rows) -> str:
        """Replace the database by a dump; returns the name of the previous database, which is kept.

        The dump is restored beside the database, its rows are counted while statistics are made, roles and rights are
        ensured, then the names are swapped: sessions are ended and reconnect. Until then the database is unchanged;
        what an earlier restore kept is dropped first.
        """
        made, kept = self._beside("restoring"), self._beside("before_restore")
        try:
            self._load(dump, made)
            with ThreadPoolExecutor(1) as pool:
                with signals_held():
                    analysed = pool.submit(self._ask, "analyze", made)
                self._prove(made, rows)
                analysed.result()
            self._ensure(made)
        except BaseException:
            with contextlib.suppress(StoreError):
                self._drop(made)
            raise
        self._drop(kept)
        self._swap(made, kept)
        return kept

    def restore_as(self, dump: Source, rows: Rows, name: str) -> None:
        """Restore a dump as a new database `name`, which is there complete or not at all. Raises StoreError if there
        is one.
        """
        if self._ask(_named(database=name) + _EXISTS):
            raise StoreError(
                f"there is a database `{name}` already",
                where=f"store of database {self._database}",
                hint="choose another name, or drop that database first",
            )
        try:
            self._load(dump, name)
            self._prove(name, rows)
            self._ensure(name)
        except BaseException:
            self._drop(name)
            raise

    def load(self, dump: Source, loader: Database) -> tuple[Rows, str]:
        """Replace the database by a dump from elsewhere; returns the rows of its tables, and the name of the previous
        database, which is kept.

        The dump may come from anybody, so `loader` restores it as a role of the app's, never as the superuser, and
        what it says about owners and rights is left out. It is restored beside the database; unless all of it can be,
        and it has a table, nothing changes. Raises StoreError then.
        """
        made, kept = self._beside("importing"), self._beside("before_import")
        self._drop(made)
        self._check_room()
        self._ask(_named(database=self._database, made=made) + _CREATE)
        try:
            self._ensure(made)
            options = ("--exit-on-error", "--no-password", "--no-owner", "--no-privileges")
            command = loader.command("pg_restore", *options, database=made, timeout=_LONG)
            _ended(processes.feed(command.argv, dump, env=command.environment, timeout=_LONG), command)
            rows = self._count(made)
            if not rows:
                raise StoreError(
                    "the dump has no table",
                    where=f"database {self._database}",
                    hint="the database is unchanged; take one with pg_dump --format=custom",
                )
            self._ask("analyze", made)
        except BaseException:
            self._drop(made)
            raise
        self._drop(kept)
        self._swap(made, kept)
        return rows, kept

    # ---- steps ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[str]:
        """A snapshot of the database that other sessions can use during the block."""
        psql = self._server.command("psql", *FORM, database=self._database, timeout=_LONG)
        with processes.beside(psql.argv, env=psql.environment, stdin=_EXPORT) as snapshot:
            if not re.fullmatch(r"[0-9A-F-]+", snapshot):
                raise refusal(snapshot, psql.where)
            yield snapshot

    def _load(self, dump: Source, database: str) -> None:
        self._drop(database)
        self._check_room()
        self._ask(_named(database=self._database, made=database) + _CREATE)
        self._read("pg_restore", "--exit-on-error", "--no-password", database=database, dump=dump)

    def _check_room(self) -> None:
        """Raise StoreError unless the disk has room for the database once more: the running one writes there too."""
        for size, directory in self._ask(_named(database=self._database) + _ROOM):
            free = self._server.free(directory)
            if free is not None and free - int(size) < _SPARE:
                raise StoreError(
                    f"a copy beside the database needs {int(size) // 10**6} MB, and {free // 10**6} MB are free",
                    where=f"database {self._database}, in {directory}",
                    hint="free some space on that disk; the database is unchanged",
                )

    def _count(self, database: str, snapshot: str = "") -> Rows:
        return rows_of(self._server, database, snapshot)

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
        # Neither from the database that is renamed, nor from one that an image may not create.
        return self._server.query(sql, database or "template1", timeout=_LONG)

    def _read(self, program: str, *argv: str, database: str = "", dump: Source) -> None:
        command = self._command(program, *argv, database=database)
        _ended(processes.feed(command.argv, dump, env=command.environment, timeout=_LONG), command)

    def _command(self, program: str, *argv: str, database: str) -> Command:
        return self._server.command(program, *argv, database=database, timeout=_LONG)


def rows_of(server: Database, database: str, snapshot: str = "") -> Rows:
    """The number of rows of each table of a database, in a snapshot if one is given."""
    within = f"set transaction snapshot '{snapshot}';\n" if snapshot else ""
    begin = "begin isolation level repeatable read, read only;\n"
    rows = server.query(begin + within + _COUNT, database, timeout=_LONG)
    return {table: int(number) for table, number in rows}


def _ended(done: processes.Completed, command: Command) -> None:
    if done.status != 0:
        raise refusal(done.stderr, command.where)


def _named(**names: str) -> str:
    return "".join(f"\\set {variable} '{name}'\n" for variable, name in names.items())


_EXISTS = "select 1 from pg_database where datname = :'database';\n"

_ROOM = """
select pg_database_size(oid), current_setting('data_directory') from pg_database where datname = :'database';
"""

_EXPORT = """
set idle_in_transaction_session_timeout = 0;
begin isolation level repeatable read, read only;
select pg_catalog.pg_export_snapshot();
"""

# Like the database, or like template0 if somebody dropped it.
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

# Without what belongs to an extension: restoring creates the extension again.
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
