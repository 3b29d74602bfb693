"""Dumps of an app's database in MariaDB or MySQL: take, check and restore them beside the database, and swap them in.

A dump is SQL, compressed with gzip. Its rows are counted as they pass, so a restored database can be compared with
the dump, table by table.
"""

import gzip
import hashlib
import re
import zlib
from collections.abc import Sequence
from typing import IO, cast

from pushrod.adapters import dumps, mariadb
from pushrod.adapters.dumps import Command, Rows
from pushrod.adapters.mariadb import CLIENT, DUMP, LONG, Server, name, text
from pushrod.core.errors import StoreError
from pushrod.system import processes, streams
from pushrod.system.streams import Sink, Source

_LEVEL = 3  # gzip level: the server limits the speed of a dump, not this
_PACKET = 1 << 30  # bytes of one statement: the protocol's maximum
_TRIES = 5  # for the swap, during which no table may be in use
_LOCK = 10  # seconds that one attempt waits for sessions in a transaction
_OBJECTS = ("--routines", "--events", "--triggers", "--no-tablespaces", "--loose-set-gtid-purged=OFF")


class Copy(dumps.Copy):
    """An app's database, as it is dumped and restored."""

    _longest = 64

    def __init__(self, server: Server, database: str) -> None:
        super().__init__(database)
        self._server = server

    def version(self) -> str:
        """The server's version."""
        return self._server.version()

    def dump(self, sink: Sink) -> Rows:
        """Write the database; returns the number of rows of each table in the dump. Raises StoreError if it fails."""
        options = ("--single-transaction", "--quick", "--hex-blob", f"--max-allowed-packet={_PACKET}")
        command = self._server.command(DUMP, *options, *_OBJECTS, self._database)
        counter = Counter()
        with gzip.GzipFile(fileobj=cast(IO[bytes], sink), mode="wb", compresslevel=_LEVEL, mtime=0) as packed:
            _ended(
                processes.drain(command.argv, _Both(counter, packed), env=command.environment, timeout=LONG),
                command,
            )
        return counter.whole()

    def schema(self) -> str:
        """A digest of the database's structure, without its rows."""
        written = self._written("--no-data", "--skip-comments", *_OBJECTS, self._database)
        return hashlib.sha256(re.sub(r" AUTO_INCREMENT=\d+", "", written).encode()).hexdigest()

    def check(self, dump: Source) -> None:
        """Read a dump to its end. Raises StoreError if it is damaged or incomplete."""
        counter = Counter()
        streams.copy(_Unpacked(dump), counter)
        counter.whole()

    def restore(self, dump: Source, rows: Rows) -> str:
        """Replace the database by a dump; returns the name of the database in which the previous data is kept.

        The dump is restored beside the database, its rows are counted, then one statement swaps all tables: sessions
        are ended and reconnect. Until then the database is unchanged; what an earlier restore kept is dropped first.
        """
        made, kept = self._beside("restoring"), self._beside("before_restore")
        self._load(dump, made)
        self._prove(made, rows)
        self._create(kept)
        self._swap(made, kept)
        self._drop(made)
        return kept

    # ---- steps ------------------------------------------------------------------------------------------------

    def _load(self, dump: Source, database: str) -> None:
        self._create(database)
        (most,) = self._ask("select @@global.max_allowed_packet")[0]
        self._ask(f"set global max_allowed_packet = {_PACKET}")
        try:
            options = ("--binary-mode", f"--max-allowed-packet={_PACKET}")
            command = self._server.command(CLIENT, *options, database)
            unpacked = _Unpacked(dump)
            _ended(processes.feed(command.argv, unpacked, env=command.environment, timeout=LONG), command)
        finally:
            self._ask(f"set global max_allowed_packet = {int(most)}")

    def _create(self, database: str) -> None:
        """Create an empty database with the app's character set."""
        self._drop(database)
        of = f"from information_schema.schemata where schema_name = {text(self._database)}"
        character_set = self._ask(f"select default_character_set_name, default_collation_name {of}")
        options = (
            f" character set {character_set[0][0]} collate {character_set[0][1]}" if character_set else ""
        )
        self._ask(f"create database {name(database)}{options}")

    def _drop(self, database: str) -> None:
        self._ask(f"drop database if exists {name(database)}")

    def _count(self, database: str) -> Rows:
        tables = self._tables(database, "'BASE TABLE', 'SYSTEM VERSIONED'")
        counts = (f"select {text(t)}, count(*) from {name(t)}" for t in tables)  # noqa: S608
        return {row[0]: int(row[1]) for row in self._ask(";\n".join(counts), database)} if tables else {}

    def _swap(self, made: str, kept: str) -> None:
        """Triggers cannot move with their tables, and views, routines and events not at all: they are created
        again.
        """
        old, here = self._objects(self._database), self._database
        new = self._objects(made)
        moves = [f"{name(here)}.{name(t)} to {name(kept)}.{name(t)}" for t in self._moving(here)]
        moves += [f"{name(made)}.{name(t)} to {name(here)}.{name(t)}" for t in self._moving(made)]
        gone = [f"drop trigger {name(d)}.{name(t)}" for d in (here, made) for t in self._triggers(d)]
        try:
            self._ask(";\n".join(gone))
            if moves:
                self._rename(f"set session lock_wait_timeout = {_LOCK}; rename table {', '.join(moves)}")
        except BaseException:
            self._apply(old.triggers, here)
            raise
        self._ask(";\n".join(self._drops(here)))
        for objects, database in ((new, here), (old, kept)):
            self._apply(objects.whole, database)

    def _rename(self, sql: str) -> None:
        for left in reversed(range(_TRIES)):
            of = f"from information_schema.processlist where db = {text(self._database)}"
            mariadb.kill(self._server, [row[0] for row in self._ask(f"select id {of}")])
            try:
                self._ask(sql)
                return
            except StoreError as e:  # a client that connected again, and is in a transaction
                if "Lock wait timeout" not in e.what or not left:
                    raise

    # ---- contents ----------------------------------------------------------------------------------------------

    def _tables(self, database: str, types: str) -> list[str]:
        of = f"table_schema = {text(database)} and table_type in ({types})"
        order = "order by table_name"
        rows = self._ask(f"select table_name from information_schema.tables where {of} {order}")  # noqa: S608
        return [row[0] for row in rows]

    def _moving(self, database: str) -> list[str]:
        return self._tables(database, "'BASE TABLE', 'SYSTEM VERSIONED', 'SEQUENCE'")

    def _triggers(self, database: str) -> list[str]:
        of = f"where trigger_schema = {text(database)}"
        return [r[0] for r in self._ask(f"select trigger_name from information_schema.triggers {of}")]  # noqa: S608

    def _drops(self, database: str) -> list[str]:
        """The statements that drop its views, routines and events."""
        views = [f"drop view {name(v)}" for v in self._tables(database, "'VIEW'")]
        whose = text(database)
        routines = f"information_schema.routines where routine_schema = {whose}"
        events = f"information_schema.events where event_schema = {whose}"
        rows = self._ask(
            f"select routine_type, routine_name from {routines}; select 'EVENT', event_name from {events}"  # noqa: S608
        )
        drops = views + [f"drop {kind} {name(routine)}" for kind, routine in rows if kind != "PACKAGE BODY"]
        return [f"use {name(database)}", *drops]

    def _objects(self, database: str) -> "_Objects":
        bare = ("--no-data", "--no-tablespaces", "--loose-set-gtid-purged=OFF")
        triggers = self._written(*bare, "--no-create-info", "--triggers", database)
        others = self._written(
            *bare, "--no-create-info", "--skip-triggers", "--routines", "--events", database
        )
        views = self._tables(database, "'VIEW'")
        seen = self._written(*bare, "--skip-triggers", database, *views) if views else ""
        return _Objects(triggers, others + seen)

    def _written(self, *argv: str) -> str:
        command = self._server.command(DUMP, *argv)
        done = processes.run(command.argv, env=command.environment, timeout=LONG)
        _ended(done, command)
        return done.stdout

    def _apply(self, sql: str, database: str) -> None:
        command = self._server.command(CLIENT, "--binary-mode", database)
        _ended(processes.run(command.argv, env=command.environment, stdin=sql, timeout=LONG), command)

    def _ask(self, sql: str, database: str = "") -> Sequence[mariadb.Row]:
        return self._server.query(sql, database, timeout=LONG)


class _Objects:
    """A database's triggers, views, routines and events, as SQL."""

    def __init__(self, triggers: str, others: str) -> None:
        self.triggers = triggers
        self.whole = others + triggers


class Counter:
    """A sink that counts the rows in a dump as it passes, and checks that its end is there.

    The programs write one statement after the other, each beginning on a new line. In an INSERT no text contains a
    newline, so `;` and a newline end it, and a bracket outside texts begins a row. Bodies of triggers and routines
    are between two DELIMITER lines.
    """

    def __init__(self) -> None:
        self.rows: Rows = {}
        self._table = ""  # the table of the current INSERT; empty outside one
        self._after = False  # whether its VALUES has passed
        self._quoted = False  # whether a text in it is open
        self._body = False  # whether this is the body of a trigger or a routine
        self._left = b""
        self._end = b""

    def write(self, block: bytes) -> None:
        """Count the rows in a block."""
        self._end = (self._end + block)[-_TAIL:]
        data = self._left + block
        while data:
            rest = self._inserted(data) if self._table else self._outside(data)
            if len(rest) == len(data):
                break
            data = rest
        self._left = data

    def whole(self) -> Rows:
        """The rows of each table. Raises StoreError if the dump has no proper end."""
        if b"\n-- Dump completed" not in self._end:
            raise StoreError(
                "is not a complete dump of a database", where="its dump", hint="take another backup"
            )
        return self.rows

    def _outside(self, data: bytes) -> bytes:
        """Skip lines up to the next INSERT; what is left begins with an incomplete line."""
        for statement in _LINE.finditer(data):
            line = statement[0]
            if line.startswith(b"DELIMITER "):
                self._body = line.strip() != b"DELIMITER ;"
            elif not self._body and (table := _TABLE.match(line)):
                self.rows.setdefault(_named(table[1]), 0)
            elif not self._body and (insert := _INSERT.match(data, statement.start())):
                self._table, self._after, self._quoted = _named(insert[1]), False, False
                return data[insert.end() :]
        left = data[data.rfind(b"\n") + 1 :]
        if not self._body and (insert := _INSERT.match(left)):
            self._table, self._after, self._quoted = _named(insert[1]), False, False
            return left[insert.end() :]
        return left[:_HEAD]  # only the beginning of this line matters; skip the rest

    def _inserted(self, data: bytes) -> bytes:
        """Count the rows of an INSERT as far as it goes; what is left follows it, or is too short to interpret."""
        end = data.find(b";\n")
        part = data if end < 0 else data[:end]
        if not self._after:
            values = _VALUES.search(part)
            if values is None:
                return data if end < 0 else self._over(data, end)
            part, self._after = part[values.end() :], True
        held = b""
        if end < 0 and part[-1:] in (b"\\", b";"):
            odd = (len(part) - len(part.rstrip(b"\\"))) % 2
            held, part = (part[-1:], part[:-1]) if odd or part[-1:] == b";" else (b"", part)
        if self._quoted:
            closing = _CLOSING.match(part)
            part, self._quoted = (part[closing.end() :], False) if closing else (b"", True)
        bare = _TEXT.sub(b"", part)
        open_ = bare.find(b"'")
        self._quoted = self._quoted or open_ >= 0
        self.rows[self._table] = self.rows.get(self._table, 0) + bare[: open_ if open_ >= 0 else None].count(
            b"("
        )
        return held if end < 0 else self._over(data, end)

    def _over(self, data: bytes, end: int) -> bytes:
        self._table = ""
        return data[end + 2 :]


_TAIL = 256  # bytes in which the end of a dump must be
_HEAD = 512  # bytes of a line that show its kind: a name has 64 characters
_LINE = re.compile(rb"^.*\n", re.MULTILINE)
_TABLE = re.compile(rb"CREATE TABLE `((?:[^`]|``)+)`(?= )")
_INSERT = re.compile(rb"INSERT INTO `((?:[^`]|``)+)`(?= )")
_VALUES = re.compile(rb" VALUES\s")
_TEXT = re.compile(rb"'[^'\\]*(?:\\.[^'\\]*)*'", re.DOTALL)
_CLOSING = re.compile(rb"[^'\\]*(?:\\.[^'\\]*)*'", re.DOTALL)


def _named(raw: bytes) -> str:
    return raw.replace(b"``", b"`").decode(errors="replace")


class _Both:
    """Two sinks as one."""

    def __init__(self, *sinks: Sink) -> None:
        self._sinks = sinks

    def write(self, block: bytes) -> None:
        for sink in self._sinks:
            sink.write(block)


class _Unpacked:
    """The contents of a compressed source. Raises StoreError if it is damaged or incomplete."""

    def __init__(self, source: Source) -> None:
        self._file = gzip.GzipFile(fileobj=cast(IO[bytes], source), mode="rb")

    def read(self, size: int, /) -> bytes:
        try:
            return self._file.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as e:
            raise StoreError("is damaged or incomplete", where="its dump", hint="take another backup") from e


def _ended(done: processes.Completed, command: Command) -> None:
    if done.status != 0:
        raise mariadb.refusal(done.stderr, command.where)
