"""The transcript of an app's current or last command: what its terminal shows, for watchers elsewhere.

One JSON object per line in apps/<app>/told: a step that begins, ends or fails, a line of output, a note. It is a copy
for watching and no record: nothing is fsynced, and a disk that is full stops nothing. Secrets are redacted before.
"""

import contextlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from pushrod.core.times import now
from pushrod.core.values import Value
from pushrod.state.apps import App

MOST = 2 << 20
"""Bytes of one command; output beyond is left out, steps are not."""

Kind = Literal["begin", "end", "fail", "line", "note"]


class Shown(Value, frozen=True, omit_defaults=True):
    """One thing that the terminal showed."""

    at: str
    kind: Kind
    text: str
    step: str = ""
    took: float = 0.0


class Transcript:
    """The file of one app. A command begins it anew with its first step, which it reaches when it holds the app's
    lock; notes before that wait, because the file may be another command's."""

    def __init__(self, app: App) -> None:
        self.path = path(app)
        self._waiting: list[Shown] = []
        self._begun = False
        self._size = 0

    def add(self, kind: Kind, text: str, step: str = "", took: float = 0.0) -> None:
        """Add one thing; never raises because of the file."""
        one = Shown(now(), kind, text, step, round(took, 3))
        if not self._begun and kind != "begin":
            self._waiting.append(one)
            return
        with contextlib.suppress(OSError):
            if not self._begun:
                self.path.unlink(missing_ok=True)
            for each in (*self._waiting, one):
                self._append(each)
        self._waiting, self._begun = [], True

    def _append(self, one: Shown) -> None:
        raw = msgspec.json.encode(one) + b"\n"
        if one.kind in ("line", "note") and self._size + len(raw) > MOST:
            return
        self._size += len(raw)
        with self.path.open("ab") as file:
            file.write(raw)


def path(app: App) -> Path:
    """The file of an app; the name is that of earlier versions."""
    return app.directory / "told"


def position(app: App) -> tuple[int, int]:
    """When an app's command began, in milliseconds since 1970, and the size of its file; zeros if there is none.

    The time distinguishes the files of two commands: a new file often has the inode of the removed one.
    """
    try:
        with path(app).open("rb") as file:
            first = next(_decoded(file.readline(1 << 20)), None)
            size = file.seek(0, 2)
    except OSError:
        return 0, 0
    return (int(datetime.fromisoformat(first.at).timestamp() * 1000), size) if first else (0, 0)


def read(app: App, offset: int = 0) -> tuple[list[Shown], int]:
    """What was shown from a position on, and the position after it. A position beyond the end belongs to another
    command's file: the file is read from its beginning."""
    try:
        with path(app).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(offset if offset <= size else 0)
            start = file.tell()
            raw = file.read(MOST + (1 << 20))
    except OSError:
        return [], 0
    whole = raw[: raw.rfind(b"\n") + 1]
    return list(_decoded(whole)), start + len(whole)


def _decoded(raw: bytes) -> Iterator[Shown]:
    for line in raw.split(b"\n")[:-1]:
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            yield msgspec.json.decode(line, type=Shown)
