"""The sessions of a release command in PostgreSQL: what blocks them, how they are ended, and where they began.

PostgreSQL keeps executing the statement of a client that is gone, and keeps the locks it holds or waits for.
"""

from pushrod.adapters.postgres.roles import Roles
from pushrod.adapters.postgres.server import Database
from pushrod.core.errors import StoreError

_SHOWN = 60  # characters of a statement


def session_end(app: str, since: str) -> str:
    """The script that ends the sessions of an app's migrating role that were opened at a time (ISO 8601) or later.

    Earlier ones belong to a person: `pushrod run psql`.
    """
    return _set(migrator=Roles.of(app).migrator, since=since) + _END


def restore_point(name: str) -> str:
    """The script that writes a restore point of this name into the server's write-ahead log."""
    return _set(name=name) + "select pg_create_restore_point(:'name');\n"


def waiting(server: Database, app: str) -> list[str]:
    """What the sessions of an app's migrating role wait for, one sentence for each blocker."""
    return [_sentence(row) for row in server.query(_set(migrator=Roles.of(app).migrator) + _WAITING)]


def _set(**values: str) -> str:
    if any(c in value for value in values.values() for c in "'\\\n"):
        raise StoreError("a name or a time that cannot be quoted", where="PostgreSQL")
    return "".join(f"\\set {name} '{value}'\n" for name, value in values.items())


def _sentence(row: tuple[str, ...]) -> str:
    pid, who, state, seconds, statement = row
    shown = statement if len(statement) <= _SHOWN else f"{statement[:_SHOWN]}…"
    return f"it waits for a lock that {who} holds: process {pid}, {state}, in a transaction for {seconds} s: {shown}"


_END = r"""
select pid from (
  select pid, pg_terminate_backend(pid) from pg_stat_activity
   where usename = :'migrator' and backend_start >= :'since'::timestamptz
) as ended;
"""

_WAITING = r"""
select distinct b.pid, coalesce(b.usename, b.backend_type), coalesce(b.state, 'at work'),
       coalesce(extract(epoch from now() - b.xact_start)::int, 0),
       regexp_replace(coalesce(b.query, ''), '\s+', ' ', 'g')
  from pg_stat_activity w
 cross join unnest(pg_blocking_pids(w.pid)) as blocker (pid)
  join pg_stat_activity b on b.pid = blocker.pid
 where w.usename = :'migrator' and w.wait_event_type = 'Lock' and b.pid <> w.pid;
"""
