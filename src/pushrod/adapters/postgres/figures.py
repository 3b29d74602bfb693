"""Figures of an app's database: the space it takes, and its slowest statements."""

from pushrod.adapters.postgres.server import Database
from pushrod.core.errors import StoreError
from pushrod.core.values import Value

LIBRARY = "pg_stat_statements"
"""The extension that counts statements; a server must load its library when it starts."""

_SINCE = 14  # the first major version with pg_stat_wal (release notes of PostgreSQL 14)
_LONG = 120.0  # seconds


class Table(Value, frozen=True):
    """A table: bytes of its rows (with TOAST) and of its indexes, and the planner's estimate of its rows (-1: never
    analysed)."""

    name: str
    data: int
    indexes: int
    rows: int


class Size(Value, frozen=True):
    """What a database takes, in bytes, its largest tables first.

    `wal` is the write-ahead log of the whole server as it lies on disk; `written` is how much of it was written
    within the last `seconds` (0: this version does not count it).
    """

    database: str
    bytes: int
    tables: tuple[Table, ...]
    wal: int
    written: int
    seconds: float


class Statement(Value, frozen=True):
    """A statement with its constants removed, and what all its calls took: times in milliseconds; `read` is the
    number of blocks (8 kB) that were not in shared buffers."""

    calls: int
    total: float
    mean: float
    longest: float
    rows: int
    read: int
    role: str
    text: str


def size(server: Database, database: str, most: int) -> Size:
    """The size of a database with its `most` largest tables. Raises StoreError if the server does not answer."""
    [(total, wal)] = server.query(_TOTAL, database, timeout=_LONG)
    rows = server.query(f"\\set most {most}\n{_TABLES}", database, timeout=_LONG)
    tables = tuple(Table(name, int(data), int(indexes), int(count)) for name, data, indexes, count in rows)
    written, seconds = "0", "0"
    if _major(server) >= _SINCE:
        [(written, seconds)] = server.query(_WRITTEN, database)
    return Size(database, int(total), tables, int(wal), int(written), float(seconds))


def statements(server: Database, database: str, most: int) -> list[Statement]:
    """The statements that took most time in a database, the slowest first; pushrod's own are left out.

    Raises StoreError if the server does not count statements.
    """
    loaded = server.query("select current_setting('shared_preload_libraries')")[0][0]
    if LIBRARY not in [word.strip() for word in loaded.split(",")]:
        raise StoreError(
            f"the server has not loaded {LIBRARY}, which counts statements",
            where=f"database {database}",
            hint="a store loads it when it starts next: `pushrod down` and `pushrod up`, or a reboot",
        )
    # In the server's own database: the app's dumps must not contain an extension that only a superuser may create.
    server.query(f"create extension if not exists {LIBRARY} with schema public", "postgres")
    rows = server.query(
        f"\\set database '{database}'\n\\set most {most}\n{_STATEMENTS}", "postgres", timeout=_LONG
    )
    return [
        Statement(int(calls), float(total), float(mean), float(longest), int(count), int(read), role, text)
        for calls, total, mean, longest, count, read, role, text in rows
    ]


def _major(server: Database) -> int:
    return int(server.query("select current_setting('server_version_num')::int / 10000")[0][0])


_TOTAL = """
select pg_database_size(current_database()), (select coalesce(sum(size), 0) from pg_ls_waldir());
"""

_TABLES = """
select c.oid::regclass, pg_table_size(c.oid), pg_indexes_size(c.oid), c.reltuples::bigint
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'm') and nspname !~ '^pg_' and nspname <> 'information_schema'
 order by pg_total_relation_size(c.oid) desc, 1
 limit :most;
"""

_WRITTEN = """
select wal_bytes::bigint, coalesce(extract(epoch from now() - stats_reset), 0) from pg_stat_wal;
"""

_STATEMENTS = r"""
select calls, total_exec_time, mean_exec_time, max_exec_time, rows, shared_blks_read, pg_get_userbyid(userid),
       regexp_replace(left(query, 4000), '\s+', ' ', 'g')
  from public.pg_stat_statements
 where dbid = (select oid from pg_database where datname = :'database')
   and userid <> (select oid from pg_roles where rolname = current_user)
 order by total_exec_time desc
 limit :most;
"""
