"""The edge's access log: how nginx records a request, and how one app's requests are read.

All apps share one file, which is rotated: `access.log`, then the older `access.log.1` and so on.
"""

import contextlib
import datetime
import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from pushrod.adapters.templates import beside, fill
from pushrod.core.site import Request

NAME = "access.log"

_FORMAT = beside(__file__, "log_format.conf")

_BLOCK = 1 << 18  # bytes per read
_POLL = 0.2  # seconds between two reads while following


def log_format(name: str, app: str = "", release: int = 0) -> str:
    """The log format for an app's requests; without an app, for requests with an unknown host name."""
    return fill(_FORMAT, name=name, app=app, release=str(release))


class AccessLog:
    """The requests of one app in the logs of a directory. Creating the value reads nothing.

    `select` maps each request to the one to return, or None to skip it.
    """

    def __init__(
        self, directory: Path, app: str, select: Callable[[Request], Request | None] = lambda request: request
    ) -> None:
        self._path = directory / NAME
        self._app = app
        self._select = select

    def last(self, count: int) -> list[Request]:
        """The last selected requests, oldest first; read from older files too if necessary."""
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(f) for f in self._open()]
            return self._last(count, [(f, f.seek(0, os.SEEK_END)) for f in files])

    def follow(self, count: int) -> Iterator[Request]:
        """The same, then future ones, without end, across rotations."""
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(f) for f in self._open()]
            ends = [_whole(f) for f in files]
            yield from self._last(count, list(zip(files, ends, strict=True)))
            growing = [_Growing(f, end) for f, end in zip(files[:1], ends[:1], strict=True)]
            while True:
                if self._replaced(growing):
                    with contextlib.suppress(FileNotFoundError):
                        # Until all workers have opened the new file, some still write to the previous one.
                        growing.append(_Growing(stack.enter_context(self._path.open("rb")), 0))
                        for file in growing[:-2]:
                            file.close()
                        del growing[:-2]
                for file in growing:
                    yield from filter(None, map(self._read, file.lines()))
                time.sleep(_POLL)

    def _last(self, count: int, files: list[tuple[BinaryIO, int]]) -> list[Request]:
        lines = itertools.chain.from_iterable(_backwards(f, end) for f, end in files)
        requests = itertools.islice(filter(None, map(self._read, lines)), max(0, count))
        return list(requests)[::-1]

    def _open(self) -> Iterator[BinaryIO]:
        """The files, newest first, each once even if they are rotated meanwhile."""
        seen = set()
        for number in itertools.count():
            path = self._path.with_name(f"{NAME}.{number}") if number else self._path
            try:
                file = path.open("rb")
            except FileNotFoundError:
                if number:
                    return
                continue
            if (inode := os.fstat(file.fileno()).st_ino) in seen:
                file.close()
                continue
            seen.add(inode)
            yield file

    def _replaced(self, growing: "list[_Growing]") -> bool:
        try:
            inode = self._path.stat().st_ino
        except FileNotFoundError:
            return False
        return not growing or growing[-1].inode != inode

    def _read(self, line: bytes) -> Request | None:
        """The request in a line, if it is this app's; None for an incomplete line (a full disk)."""
        if f'"app":"{self._app}"'.encode() not in line:
            return None
        try:
            request = msgspec.json.decode(line.decode(errors="replace"), type=Request)
            datetime.datetime.fromisoformat(request.time)
        except (msgspec.DecodeError, ValueError):
            return None
        return self._select(request) if request.app == self._app else None


class _Growing:
    """A growing file: its new lines, once they are complete."""

    def __init__(self, file: BinaryIO, at: int) -> None:
        self._file = file
        self._at = at
        self.inode = os.fstat(file.fileno()).st_ino

    def close(self) -> None:
        self._file.close()

    def lines(self) -> list[bytes]:
        """The lines since the last call, up to the last complete one."""
        if os.fstat(self._file.fileno()).st_size < self._at:  # the file was truncated
            self._at = 0
        self._file.seek(self._at)
        raw = self._file.read()
        complete = raw.rfind(b"\n") + 1
        self._at += complete
        return raw[:complete].split(b"\n")


def _whole(file: BinaryIO) -> int:
    """The end of the last complete line of a file."""
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - _BLOCK)
    file.seek(start)
    return start + file.read().rfind(b"\n") + 1


def _backwards(file: BinaryIO, end: int) -> Iterator[bytes]:
    """The lines of a file before `end`, the last one first."""
    rest = b""
    while end > 0:
        start = max(0, end - _BLOCK)
        file.seek(start)
        first, *lines = (file.read(end - start) + rest).split(b"\n")
        yield from reversed(lines)
        rest, end = first, start
    yield rest
