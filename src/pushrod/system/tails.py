"""The last lines of logs, read from their end."""

import os
from pathlib import Path
from typing import IO

from pushrod.core import lines

_BLOCK, _FARTHEST = 1 << 16, 1 << 23  # bytes: the first block read from the end of a log, and the limit


def of_file(path: Path, count: int = 50) -> tuple[str, ...]:
    """The last lines of a log, oldest first; none if the file does not exist.

    Reads at most the last _FARTHEST bytes; a first line that was cut there is marked.
    """
    try:
        with path.open("rb") as f:
            return tuple(of_open(f, count)[0])
    except FileNotFoundError:
        return ()


def of_open(f: IO[bytes], count: int) -> tuple[list[str], int]:
    """The last lines of an open log, as for `of_file`, and the file's end at that moment; the last may lack its
    newline."""
    end = f.seek(0, os.SEEK_END)
    start, raw = end, b""
    while start > 0 and raw.count(b"\n") <= count and end - start < _FARTHEST:
        step = min(max(_BLOCK, len(raw)), start)
        start -= step
        f.seek(start)
        raw = f.read(step) + raw
    texts = lines.split(lines.after_cut(raw) if start > 0 else lines.decode(raw))
    return texts[max(0, len(texts) - count) :], end
