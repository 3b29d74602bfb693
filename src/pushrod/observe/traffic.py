"""An app's requests over the last hours, by intervals, from the edge's access log."""

import bisect
import contextlib
import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

MOST = 48 << 20
"""Bytes that are read, from the end: more than the edge keeps before its log is rotated."""

_BLOCK = 1 << 20
_OLDER = 3  # renamed logs that the edge keeps


class Interval(NamedTuple):
    """The requests that began in an interval: how many, by class of status, and quantiles of their seconds."""

    begin: float
    requests: int = 0
    client_errors: int = 0
    server_errors: int = 0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0


class Traffic(NamedTuple):
    """The intervals, each of `length` seconds, oldest first, and the same for all of them together."""

    length: float
    intervals: tuple[Interval, ...]
    total: Interval


class _Line(msgspec.Struct):
    time: str = ""
    app: str = ""
    status: int = 0
    seconds: float = 0.0


def of(log: Path, app: str, *, until: float, length: float, count: int) -> Traffic:
    """The requests of an app in the `count` intervals of `length` seconds that end at `until`.

    The values in the log come from clients: a line that cannot be read is skipped.
    """
    first = until - length * count
    requests: list[list[tuple[int, float]]] = [[] for _ in range(count)]
    needle = f'"app":"{app}"'.encode()
    decoder = msgspec.json.Decoder(_Line)
    for raw in _lines(log):
        if needle not in raw:
            continue
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, ValueError):
            line = decoder.decode(raw)
            place = int((datetime.datetime.fromisoformat(line.time).timestamp() - first) // length)
            if line.app == app and 0 <= place < count:
                requests[place].append((line.status, line.seconds))
    intervals = tuple(_interval(first + n * length, own) for n, own in enumerate(requests))
    return Traffic(length, intervals, _interval(first, [one for own in requests for one in own]))


def _interval(begin: float, requests: Sequence[tuple[int, float]]) -> Interval:
    times = sorted(seconds for _, seconds in requests)
    statuses = sorted(status for status, _ in requests)
    server = len(statuses) - bisect.bisect_left(statuses, 500)
    client = len(statuses) - bisect.bisect_left(statuses, 400) - server

    def quantile(part: float) -> float:
        return times[min(len(times) - 1, int(len(times) * part))] if times else 0.0

    return Interval(begin, len(times), client, server, quantile(0.5), quantile(0.95), quantile(0.99))


def _lines(log: Path) -> Iterator[bytes]:
    """The lines of the log and of its renamed predecessors, newest file first, up to MOST bytes from the end."""
    left = MOST
    for path in (log, *(log.with_name(f"{log.name}.{n}") for n in range(1, _OLDER + 1))):
        try:
            with path.open("rb") as file:
                start = max(0, file.seek(0, 2) - left)
                file.seek(start)
                if start:
                    file.readline(_BLOCK)
                for line in iter(lambda file=file: file.readline(_BLOCK), b""):  # type: ignore[misc]
                    left -= len(line)
                    yield line
        except OSError:
            continue
        if left <= 0:
            return
