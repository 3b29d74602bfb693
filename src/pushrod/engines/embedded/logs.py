"""The log files of an app's processes, as lines: the last ones, and future ones."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pushrod.core import lines as text
from pushrod.core.values import Line
from pushrod.system import tails

_POLL = 0.2  # seconds between two reads while following
_PATIENCE = 5  # reads after which an incomplete line is returned
_MOST = 1 << 20  # bytes of a log that one read returns


def read(
    find: Callable[[], Sequence[Path]], files: Sequence[Path], lines: int, *, follow: bool
) -> Iterator[Line]:
    """The last lines of `files`; with `follow` then new lines of all files that `find` returns, forever.

    A new or rotated log is read from its beginning. A line without a newline is either the last one of a process that
    has ended, or incomplete: with `follow` it is returned a second later.
    """
    logs: dict[Path, _Log] = {}
    for path in files:
        log = logs[path] = _Log(path)
        for line in log.last(max(0, lines), whole=follow):
            yield Line(path.stem, line)
    while follow:
        for path in find():
            log = logs.setdefault(path, _Log(path))
            for line in log.new():
                yield Line(path.stem, line)
        time.sleep(_POLL)


class _Log:
    """A log, and how far it has been read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._waiting = (0, 0)  # bytes of an incomplete line, and the number of reads that found the same

    def last(self, count: int, *, whole: bool) -> list[str]:
        """Its last lines; with `whole`, an incomplete one is left to `new`."""
        try:
            with self._path.open("rb") as f:
                if not whole:
                    return tails.of_open(f, count)[0]
                lines, self._offset = tails.of_open(f, count + 1)
                f.seek(max(0, self._offset - text.LONGEST))
                rest = f.read(min(text.LONGEST, self._offset)).rpartition(b"\n")[2]
                self._offset -= len(rest)
                lines = lines[:-1] if rest else lines
                return lines[max(0, len(lines) - count) :]
        except FileNotFoundError:
            return []

    def new(self) -> list[str]:
        """What has been written since the last call."""
        try:
            with self._path.open("rb") as f:
                if f.seek(0, 2) < self._offset:  # rotated: another file
                    self._offset = 0
                f.seek(self._offset)
                raw = f.read(_MOST)
        except FileNotFoundError:
            self._offset = 0
            return []
        complete = raw[: raw.rfind(b"\n") + 1]
        if not complete and len(raw) > text.LONGEST:
            self._offset += text.LONGEST
            return [f"{text.decode(raw[: text.LONGEST])} {text.CUT}"]
        if not complete and raw:
            length, looks = self._waiting
            self._waiting = (len(raw), looks + 1 if length == len(raw) else 1)
            if self._waiting[1] < _PATIENCE:
                return []
            complete = raw
        self._waiting = (0, 0)
        self._offset += len(complete)
        return text.split(text.decode(complete))
