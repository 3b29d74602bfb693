"""The log files of an app's processes, as lines: the last ones, and those still to come."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pushrod.values import Line

_POLL = 0.2  # seconds between looks at the logs that are followed
_TAIL = 65536  # bytes of a log in which its last lines are looked for


def read(
    find: Callable[[], Sequence[Path]], files: Sequence[Path], lines: int, *, follow: bool
) -> Iterator[Line]:
    """The last lines of `files`; with `follow` then the new ones of whatever `find` names, for ever.

    A log that was not there yet, or that was rotated, is read from its beginning.
    """
    offsets: dict[Path, int] = {}
    for path in files:
        raw, offsets[path] = _read(path, max(0, _size(path) - _TAIL))
        yield from _lines(path, raw)[-lines:] if lines > 0 else ()
    while follow:
        for path in find():
            start = offsets.get(path, 0)
            raw, offsets[path] = _read(path, start if _size(path) >= start else 0)
            yield from _lines(path, raw)
        time.sleep(_POLL)


def _read(path: Path, start: int) -> tuple[bytes, int]:
    """What a log has from an offset on, up to its last whole line, and where that ends."""
    try:
        with path.open("rb") as f:
            f.seek(start)
            raw = f.read()
    except FileNotFoundError:
        return b"", 0
    complete = raw.rfind(b"\n") + 1
    return raw[:complete], start + complete


def _lines(path: Path, raw: bytes) -> list[Line]:
    return [Line(path.stem, text) for text in raw.decode(errors="replace").splitlines()]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
