"""Replacing all data of a running Redis or Valkey by that of another, which has proved that it can load it.

The running server becomes a replica of the other one for a moment, and then its own master again. It takes the data
over as a whole, and writes its append-only file anew, by its own rules: a snapshot that is laid beside an append-only
file would be ignored. Connections stay; while it takes the data over, writes are refused.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from pushrod.adapters.dumps import Rows
from pushrod.core.errors import StoreError
from pushrod.system import waits

_POLL = 0.1
_LASTING = "keys that do not expire"


class Ask(Protocol):
    """Sends a command to a server and returns its answer. Raises StoreError if the server refuses."""

    def __call__(self, *words: str) -> str: ...


def answer(output: str, words: Sequence[str], where: str) -> str:
    """What a client has printed, which does not tell errors apart. Raises StoreError for one."""
    good = output.startswith("#" if words[0] == "INFO" else ("OK", "Background"))
    if not good:
        raise StoreError(output.strip() or f"no answer to {words[0]}", where=where)
    return output


def figures(info: str) -> Mapping[str, str]:
    """What a server says in INFO."""
    return dict(line.rstrip("\r").split(":", 1) for line in info.splitlines() if ":" in line)


def lasting(ask: Ask) -> Rows:
    """How many keys a server has that do not expire: others may be gone before they are counted."""
    keys, expiring = _counted(ask)
    return {_LASTING: keys - expiring}


def keys(ask: Ask) -> int:
    """How many keys a server has."""
    return _counted(ask)[0]


def _counted(ask: Ask) -> tuple[int, int]:
    rows = re.findall(r"^db\d+:keys=(\d+),expires=(\d+)", ask("INFO", "keyspace"), re.MULTILINE)
    return sum(int(k) for k, _ in rows), sum(int(e) for _, e in rows)


def loaded(ask: Ask) -> bool:
    """Whether a server answers and has read its data."""
    try:
        return figures(ask("INFO", "persistence")).get("loading") == "0"
    except StoreError:
        return False


def replace(live: Ask, other: Ask, address: str, port: int, deadline: float) -> None:
    """Replace the data of `live` by that of `other`, which is at an address and a port.

    Raises StoreError if `live` does not have the same keys then.
    """
    expected = lasting(other)
    live("REPLICAOF", address, str(port))
    try:
        if not waits.wait_until(lambda: _follows(live), deadline, _POLL):
            raise StoreError("it did not take the data over in time", where="REPLICAOF", hint="see its log")
        if lasting(live) != expected:
            raise StoreError(
                "it has other keys than the restored server", where="REPLICAOF", hint="see its log"
            )
    finally:
        live("REPLICAOF", "NO", "ONE")
    if not _kept(live, deadline):
        raise StoreError(
            "it has the restored data in memory, and could not write it to its disk",
            where="its append-only file",
            hint="see its log; free some space on its disk, and restore again before it restarts",
        )


def _follows(live: Ask) -> bool:
    try:
        its = figures(live("INFO", "replication"))
    except StoreError:  # while it loads
        return False
    return (its.get("master_link_status"), its.get("master_sync_in_progress")) == ("up", "0")


def _kept(live: Ask, deadline: float) -> bool:
    """Whether it writes its data to disk, as far as it keeps any: an append-only file, or else a snapshot."""

    def idle() -> bool:
        its = figures(live("INFO", "persistence"))
        busy = ("loading", "aof_rewrite_in_progress", "aof_rewrite_scheduled", "rdb_bgsave_in_progress")
        return all(its.get(name, "0") == "0" for name in busy)

    if not waits.wait_until(idle, deadline, _POLL):
        return False
    its = figures(live("INFO", "persistence"))
    if its.get("aof_enabled") == "1":
        return its.get("aof_last_bgrewrite_status") == its.get("aof_last_write_status", "ok") == "ok"
    live("BGSAVE")
    return waits.wait_until(idle, deadline, _POLL) and (
        figures(live("INFO", "persistence")).get("rdb_last_bgsave_status") == "ok"
    )
