"""Counts of requests from the edge's access log, which is read on from where the last run stopped.

The counts are kept in a file between runs. The edge rotates its log by renaming it, so the position is kept with
the log's inode: what was written to the renamed file is read first. If the position is lost, counting begins at the
end of the log: no request is counted twice.
"""

import bisect
import contextlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""The upper bounds of the histogram's buckets, in seconds; one more bucket has no bound."""

MOST = 64 << 20
"""Bytes of the log that are read in one run: 20 s of 10,000 requests a second. The rest follows in the next run."""

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
"""The methods with a label of their own; a client can send any word, so all others count as `other`."""

MOST_ROUTES = 200
"""Routes of an app beyond which those are dropped that its live release lacks: each release may have others."""

_BLOCK = 1 << 20
_OLDER = 3  # renamed logs that the edge keeps


class Key(NamedTuple):
    """What requests are counted by. Each value comes from a bounded set: the app's own routes, `METHODS`, and the
    five classes of a status."""

    app: str
    route: str
    method: str
    status: str


class Latency(msgspec.Struct):
    """The durations of the requests of a route: how many in each bucket, and their sum in seconds."""

    buckets: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0


class Counts(msgspec.Struct):
    """Everything counted so far, by app, and the position in the log: its inode and the bytes that were read.

    `unread` are the bytes that the last run left.
    """

    inode: int = 0
    offset: int = 0
    unread: int = 0
    requests: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)
    latency: dict[str, dict[str, Latency]] = msgspec.field(default_factory=dict)
    sent: dict[str, int] = msgspec.field(default_factory=dict)
    upstream_errors: dict[str, int] = msgspec.field(default_factory=dict)

    def by_key(self) -> Iterator[tuple[Key, int]]:
        """The number of requests of each kind."""
        for app, kinds in self.requests.items():
            for kind, count in kinds.items():
                method, status, route = kind.split(" ", 2)
                yield Key(app, route, method, status), count


class _Line(msgspec.Struct):
    """What is counted of one line of the log."""

    app: str = ""
    method: str = ""
    path: str = ""
    status: int = 0
    bytes: int = 0
    seconds: float = 0.0
    upstream_status: str = ""


def read_on(log: Path, counts: Counts | None, apps: Mapping[str, Sequence[str]], most: int = MOST) -> Counts:
    """Count what was added to the log since `counts`; without these, begin at its end.

    `apps` are the apps with the prefixes of their routes, the longest first; requests to others are not counted, and
    the counts of others are dropped. At most `most` bytes are read. The values in the log come from clients: a line
    that cannot be read is skipped.
    """
    if counts is None:
        inode, size = _identity(log)
        return Counts(inode=inode, offset=size)
    for named in (counts.requests, counts.latency, counts.sent, counts.upstream_errors):
        for gone in set(named) - set(apps):
            del named[gone]
    for app, prefixes in apps.items():
        _drop_former(counts, app, {*prefixes, "/"})
    decoder = msgspec.json.Decoder(_Line)
    for path in _since(log, counts):
        with path.open("rb") as file:
            file.seek(counts.offset)
            while most > 0 and (block := file.read(min(_BLOCK, most))):
                whole = block[: block.rfind(b"\n") + 1]
                if not whole and len(block) < _BLOCK:
                    break  # the last line is still being written
                most -= len(block)
                counts.offset += len(whole or block)
                file.seek(counts.offset)
                _count(counts, _decoded(whole.split(b"\n")[:-1], decoder), apps)
    counts.unread = max(0, _identity(log)[1] - counts.offset)
    return counts


def _drop_former(counts: Counts, app: str, routes: Collection[str]) -> None:
    """Drop what was counted of former routes of an app, if it has had too many."""
    latency = counts.latency.get(app, {})
    if len(latency) <= MOST_ROUTES:
        return
    for route in set(latency) - set(routes):
        del latency[route]
    kinds = counts.requests.get(app, {})
    for kind in [kind for kind in kinds if kind.split(" ", 2)[2] not in latency]:
        del kinds[kind]


def _since(log: Path, counts: Counts) -> Iterator[Path]:
    """The log as it was at the last run, and everything that followed; moves the position from one to the next."""
    logs = [log.with_name(f"{log.name}.{number}") for number in range(_OLDER, 0, -1)] + [log]
    known = [path for path in logs if _identity(path)[0]]
    inodes = [_identity(path)[0] for path in known]
    first = inodes.index(counts.inode) if counts.inode in inodes else 0
    for number, path in enumerate(known[first:]):
        inode, size = _identity(path)
        if number or inode != counts.inode or size < counts.offset:
            counts.inode, counts.offset = inode, 0
        yield path
        if counts.offset < size and path != log:
            return  # the rest of this one comes first in the next run


def _identity(path: Path) -> tuple[int, int]:
    """The inode and size of a file; zeros if there is none."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_ino, status.st_size


def _decoded(lines: Iterable[bytes], decoder: "msgspec.json.Decoder[_Line]") -> Iterator[_Line]:
    for line in lines:
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            yield decoder.decode(line)


def _count(counts: Counts, lines: Iterable[_Line], apps: Mapping[str, Sequence[str]]) -> None:
    for line in lines:
        prefixes = apps.get(line.app)
        if prefixes is None:
            continue
        route = next((p for p in prefixes if _below(line.path, p)), "/")
        method = line.method if line.method in METHODS else "other"
        status = f"{line.status // 100}xx" if 100 <= line.status < 600 else "none"
        kinds = counts.requests.setdefault(line.app, {})
        kind = f"{method} {status} {route}"
        kinds[kind] = kinds.get(kind, 0) + 1
        latency = counts.latency.setdefault(line.app, {}).setdefault(route, Latency())
        latency.buckets[bisect.bisect_left(BOUNDS, line.seconds)] += 1
        latency.total += line.seconds
        counts.sent[line.app] = counts.sent.get(line.app, 0) + line.bytes
        if failed := _failures(line.upstream_status):
            counts.upstream_errors[line.app] = counts.upstream_errors.get(line.app, 0) + failed


def _below(path: str, prefix: str) -> bool:
    return path.startswith(prefix) and (prefix.endswith("/") or path == prefix or path[len(prefix)] in "/?;")


def _failures(upstream_status: str) -> int:
    """How many instances did not answer, or answered with a gateway's error: nginx logs one status for each."""
    if upstream_status in ("", "200"):
        return 0
    return sum(word in ("502", "504", "-") for word in re.split(r"[,:\s]+", upstream_status))
