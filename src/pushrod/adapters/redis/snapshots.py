"""Snapshots (RDB): written by a running server, checked, and taken from what it sends to a replica."""

import os
import re
from pathlib import Path

from pushrod.adapters.redis.commands import command
from pushrod.core.errors import StoreError
from pushrod.system import streams, trees, waits
from pushrod.system.streams import Sink, Source

_MAGIC = 9  # bytes that identify a snapshot; its end has as many
_ENDING = 9 + 40  # bytes: that end, and the mark after it


def snapshot(
    directory: Path,
    port: int,
    user: str,
    password: str,
    sink: Sink,
    deadline: float,
    address: str = "127.0.0.1",
) -> None:
    """Make a store's server write a snapshot, and copy it to `sink`.

    Raises StoreError if the server cannot, or takes longer than `deadline` seconds.
    """

    def state() -> dict[str, str]:
        reply = str(command(port, user, password, "INFO", "persistence", address=address))
        return dict(line.split(":", 1) for line in reply.splitlines() if ":" in line)

    source = directory / "data" / "dump.rdb"
    before = source.stat().st_ino if source.exists() else 0
    command(port, user, password, "BGSAVE", "SCHEDULE", address=address)

    def written() -> bool:
        now = state()
        done = now["rdb_bgsave_in_progress"] == "0" and now["aof_rewrite_in_progress"] == "0"
        failed = done and now["rdb_last_bgsave_status"] != "ok"
        return failed or (done and source.exists() and source.stat().st_ino != before)

    if not waits.wait_until(written, deadline, 0.1) or state()["rdb_last_bgsave_status"] != "ok":
        raise StoreError(
            "the server could not write a snapshot", where=str(source), hint="see the end of its log"
        )
    # The server's account may have put a link there.
    with trees.opened(source.parent, source.name) as descriptor, os.fdopen(os.dup(descriptor), "rb") as data:
        streams.copy(data, sink)


def check_snapshot(source: Source) -> None:
    """Raise StoreError for data that does not begin and end like a snapshot (RDB).

    It ends with the byte 0xFF and a checksum of eight bytes (rdb.c); Valkey has its own magic word from version 9 on.
    """
    ends = _Ends()
    streams.copy(source, ends)
    if not re.match(rb"REDIS\d{4}|VALKEY\d{3}", ends.first) or ends.last[-9:-8] != b"\xff":
        raise StoreError(
            "is not a complete snapshot of a Redis", where="its snapshot", hint="take another backup"
        )


class _Ends:
    """The first and the last bytes of what passes."""

    first = b""
    last = b""

    def write(self, block: bytes) -> None:
        self.first = (self.first + block[:_MAGIC])[:_MAGIC]
        self.last = (self.last + block)[-_MAGIC:]


class Snapshot:
    """Turns a server's data for a replica into a snapshot: removes a mark of 40 characters that may follow it
    (RDB_EOF_MARK_SIZE in server.h).
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._held = b""

    def write(self, block: bytes) -> None:
        """Pass on everything except what may be the end."""
        self._held += block
        if len(self._held) > _ENDING:
            self._sink.write(self._held[:-_ENDING])
            self._held = self._held[-_ENDING:]

    def end(self) -> None:
        """Pass on the rest."""
        marked = re.fullmatch(rb"\xff.{8}[0-9a-f]{40}", self._held, re.DOTALL)
        self._sink.write(self._held[:-40] if marked else self._held)
