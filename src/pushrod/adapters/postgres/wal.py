"""A server's write-ahead log (WAL), for recovery to a point in time: held by a replication slot, copied segment by
segment, and base backups, which it continues.

Nothing has to be configured before the server starts, so this works with a running container of an unchanged image:
`wal_level = replica` is PostgreSQL's default. The slot makes the server keep what has not been copied yet, up to
`max_slot_wal_keep_size`; beyond that PostgreSQL gives up the slot, not its disk.
"""

import datetime
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pushrod.adapters.logs import Position, UnfitError
from pushrod.adapters.postgres.base_backups import inspect
from pushrod.adapters.postgres.server import Database, Row, refusal
from pushrod.core.errors import StoreError
from pushrod.core.patterns import lazy
from pushrod.system import processes
from pushrod.system.streams import Sink

SLOT = "pushrod"
"""The name of the replication slot."""

_OLDEST = 130000  # the first version with `max_slot_wal_keep_size`
_LONG = 6 * 3600.0  # seconds for a base backup
_QUICK = 600.0  # seconds to look at the sizes of all files
_LOCATION = r"[0-9A-F]{1,8}/[0-9A-F]{1,8}"
# What an image of an app answers is not trusted: the system, the time, the end, its segment, a segment's size, the
# directory, wal_level, slots, the slot's state, what it keeps.
_FORMS = (
    *(
        r"[0-9]{1,20}",
        r"[0-9]{4}-[0-9T:.-]{21}\+00:00",
        _LOCATION,
        r"[0-9A-F]{24}",
        r"[1-9][0-9]{6,9}",
        r"/[^\x00]{0,4095}",
    ),
    *(r"[a-z]{1,20}", r"[0-9]{1,9}", r"[a-z]{0,20}", rf"(?:{_LOCATION})?"),
)
_SEGMENT = lazy(r"[0-9A-F]{24}")
_VERSION = lazy(r"[1-9][0-9]{4,5}")
_SIZES = frozenset(
    1 << bits for bits in range(20, 31)
)  # bytes that a segment may have (initdb, --wal-segsize)


def segment(timeline: int, number: int, size: int) -> str:
    """The name of a segment, as PostgreSQL makes it (`XLogFileName`)."""
    each = (1 << 32) // size
    return f"{timeline:08X}{number // each:08X}{number % each:08X}"


def segment_number(name: str, size: int) -> int:
    """The number of a segment, by its name."""
    return int(name[8:16], 16) * ((1 << 32) // size) + int(name[16:], 16)


def location(text: str) -> int:
    """A position as PostgreSQL prints it, `0/16B3748`, as a number of bytes."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


class Log:
    """The log of one server, as `logs.Log`."""

    product = "PostgreSQL"
    segment = staticmethod(segment)
    number = staticmethod(segment_number)

    def __init__(self, server: Database, where: str) -> None:
        self._server = server
        self._where = where

    def position(self) -> Position:
        """Where the log ends now. Raises StoreError if this server cannot be recovered to a point in time."""
        (number,) = self._row("show server_version_num", (_VERSION.pattern,))
        version = int(number)
        if version < _OLDEST:
            raise self._unfit(
                f"PostgreSQL {version // 10000} cannot bound the log that it keeps", "13 or newer"
            )
        row = self._row(f"\\set slot '{SLOT}'\n{_POSITION}", _FORMS)
        system, at, end, first, size, directory, level, slots, slot, kept = row
        if int(size) not in _SIZES or not _is_time(at):
            raise self._foreign()
        if level not in ("replica", "logical") or slots == "0":
            raise self._unfit(
                f"wal_level is {level}, max_replication_slots is {slots}", "PostgreSQL's defaults"
            )
        return Position(
            system=system,
            at=at,
            end=location(end),
            timeline=int(first[:8], 16),
            segment_size=int(size),
            major=str(version // 10000),
            directory=directory,
            held=slot not in ("", "lost"),
            kept=location(kept) if kept else 0,
        )

    def hold(self, most: int) -> None:
        """Make the server keep its log from now on, until it is copied, at most `most` bytes.

        A bound that somebody else has set stays. As it is for every slot of the server, none is set for slots of
        others. Raises UnfitError if there are some, without a bound.
        """
        if others := self._server.query(f"\\set slot '{SLOT}'\n{_OTHERS}"):
            raise self._unfit(
                f"the slot {others[0][0]} of another program keeps its log, without a bound",
                "a bound for all slots: `alter system set max_slot_wal_keep_size`",
            )
        self._server.query(f"\\set slot '{SLOT}'\n\\set most '{most >> 20}MB'\n{_HOLD}")

    def advance(self, position: int) -> None:
        """Let the server remove the log below a position, which has been copied."""
        text = f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"
        self._server.query(f"\\set slot '{SLOT}'\n\\set position '{text}'\n{_ADVANCE}")

    def release(self) -> None:
        """Let the server remove all of its log: nothing is copied any more."""
        self._server.query(f"\\set slot '{SLOT}'\n{_RELEASE}")

    def copy(self, position: Position, name: str, sink: Sink) -> None:
        """Write a segment as far as the log goes."""
        if not _SEGMENT.fullmatch(name):
            raise AssertionError("a segment's name")
        size = position.segment_size
        valid = min(size, position.end - segment_number(name, size) * size)
        cut = _Cut(sink, valid)
        self._server.read(f"{position.directory}/pg_wal/{name}", cut)
        if cut.missing:
            raise StoreError(
                "a segment of the log is shorter than it should be", where=f"{self._where}, {name}"
            )

    def size(self) -> int:
        """The bytes of all databases, which a base backup may take."""
        return int(self._server.query(_SIZE, timeout=_QUICK)[0][0])

    def free(self, position: Position) -> int | None:
        """The free bytes of the disk with the server's data, where a recovery takes place; None if not known."""
        return self._server.free(position.directory)

    def base(self, sink: Sink) -> None:
        """Write a base backup as a tar archive."""
        options = ("--pgdata=-", "--format=tar", "--wal-method=none", "--checkpoint=fast", "--no-password")
        command = self._server.command("pg_basebackup", *options, timeout=_LONG)
        done = processes.drain(command.argv, sink, env=command.environment, timeout=_LONG)
        if done.status != 0:
            raise refusal(done.stderr, self._where)

    def begin(self, base: Path) -> int:
        """By its label."""
        return inspect(base).begin

    def _row(self, sql: str, forms: Sequence[str]) -> Row:
        """The one row that a query returns, whose values have these forms."""
        rows = self._server.query(sql)
        if len(rows) != 1 or len(rows[0]) != len(forms) or not all(map(re.fullmatch, forms, rows[0])):
            raise self._foreign()
        return rows[0]

    def _foreign(self) -> StoreError:
        return StoreError("its answers about its log are not PostgreSQL's", where=self._where)

    def _unfit(self, what: str, needed: str) -> UnfitError:
        return UnfitError(
            f"it cannot be recovered to a point in time: {what}",
            where=self._where,
            hint=f"it needs {needed}; `x-pushrod: {{backups: {{wal: false}}}}` turns this off",
        )


def _is_time(text: str) -> bool:
    """Whether it is a time as records have it, which others will compare and calculate with."""
    with suppress(ValueError, OverflowError):
        return datetime.datetime.fromisoformat(text).isoformat(timespec="microseconds") == text
    return False


class _Cut:
    """A sink for the first bytes of something; `missing` is how many have not come yet."""

    def __init__(self, sink: Sink, size: int) -> None:
        self._sink = sink
        self.missing = size

    def write(self, block: bytes) -> None:
        """Pass on the part of a block that is needed."""
        self._sink.write(block[: self.missing])
        self.missing -= min(len(block), self.missing)


# The time comes first: what was acknowledged before it is flushed when the position is read.
_POSITION = """
select clock_timestamp() as at \\gset
select (select system_identifier from pg_control_system()),
       to_char(:'at'::timestamptz at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'),
       lsn, pg_walfile_name(lsn), pg_size_bytes(current_setting('wal_segment_size')),
       current_setting('data_directory'), current_setting('wal_level'), current_setting('max_replication_slots'),
       coalesce((select wal_status from pg_replication_slots where slot_name = :'slot'), ''),
       (select restart_lsn from pg_replication_slots where slot_name = :'slot')
  from pg_current_wal_flush_lsn() as lsn;
"""

_OTHERS = """
select slot_name from pg_replication_slots
 where slot_name <> :'slot' and not temporary and current_setting('max_slot_wal_keep_size') = '-1'
 order by 1 limit 1;
"""

_HOLD = """
select 'alter system set max_slot_wal_keep_size = ' || quote_literal(:'most')
 where current_setting('max_slot_wal_keep_size') = '-1'
\\gexec
select from (select pg_reload_conf()) as done;
select from (select pg_drop_replication_slot(slot_name) from pg_replication_slots
              where slot_name = :'slot' and wal_status = 'lost') as done;
select from (select pg_create_physical_replication_slot(:'slot', true)
              where not exists (select from pg_replication_slots where slot_name = :'slot')) as done;
"""

_ADVANCE = """
select from (select pg_replication_slot_advance(slot_name, :'position'::pg_lsn) from pg_replication_slots
              where slot_name = :'slot' and restart_lsn < :'position'::pg_lsn) as done;
"""

_RELEASE = """
select from (select pg_drop_replication_slot(slot_name) from pg_replication_slots
              where slot_name = :'slot') as done;
"""

_SIZE = "select sum(pg_database_size(oid))::bigint from pg_database;"
