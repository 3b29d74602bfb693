"""The fsynced record of what a promotion has done, so that the next command can continue after any crash.

One line of JSON per event. A promotion is open from `prepare` to `done` or `failed`. Its one commit point is
`live`: an open promotion without it is undone, one with it is finished. The journal alone decides which release is
live; the pointer in the state repository and the branch of the app's repository follow it.
"""

import contextlib
from pathlib import Path
from typing import Literal

import msgspec

from pushrod.core.errors import StateError
from pushrod.core.times import now
from pushrod.core.values import Value
from pushrod.system import files

_REPAIR = "`pushrod doctor --repair` starts a new journal at the release that serves now"

Event = Literal["prepare", "promote", "step", "live", "done", "failed"]


class Entry(Value, frozen=True, omit_defaults=True):
    """One event. `previous` is the release that was live before; `fresh` is false if an older sealed release is
    promoted. `took` is in seconds. `migrated` means the release command changed the schema. `left` lists the steps
    after `live`, or of the undoing, that failed. `by` is who began it."""

    at: str
    event: Event
    release: int
    step: str = ""
    took: float = 0.0
    commit: str = ""
    previous: int = 0
    fresh: bool = True
    migrated: bool = False
    why: str = ""
    left: str = ""
    by: str = ""


class Story(Value, frozen=True):
    """The summary of a journal: the live release (0: none), the last number used, and the open promotion.

    `left` lists the final steps at which the last promotion failed; they have been reported, and commands go on.
    """

    live: int = 0
    last: int = 0
    open: Entry | None = None
    reached_live: bool = False
    left: str = ""
    migrated: tuple[int, ...] = ()


class Journal:
    """An app's journal file. Appending needs the app's lock; reading does not.

    The content is read once, and again only if the file is no longer the one that was read or appended to, so a
    command that holds the lock reads it once.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = _Read()

    def append(self, event: Event, release: int, **fields: object) -> None:
        """Append one event durably; first cuts off a line torn by a crash, which was never acknowledged."""
        line = _line(event, release, **fields)
        known = self._is_current() and not self._read.torn
        if not known:
            self._cut_torn_tail()
        files.append(self.path, line)
        if known:
            self._read.add(line.encode())
            self._read.identity = _identity(self.path)

    def entries(self) -> list[Entry]:
        """Every acknowledged event, oldest first. Raises StateError if one is unreadable."""
        return list(self._current().entries)

    def story(self) -> Story:
        """The summary of all events."""
        return self._current().story

    def read(self) -> tuple[list[Entry], Story]:
        """Every acknowledged event, oldest first, and their summary. Raises StateError if one is unreadable."""
        current = self._current()
        return list(current.entries), current.story

    def _current(self) -> "_Read":
        """The current content. The file may have grown since the last call; only its new lines are decoded."""
        if self._is_current():
            return self._read
        identity = _identity(self.path)
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            raw = b""
        except OSError as e:
            why = (e.strerror or str(e)).lower()
            raise StateError(f"cannot be read: {why}", where=str(self.path), hint=_REPAIR) from e
        if not raw.startswith(self._read.raw):
            self._read = _Read()
        end = raw.rfind(b"\n") + 1  # what follows the last newline was never acknowledged
        for line in raw[len(self._read.raw) : end].split(b"\n")[:-1]:
            try:
                self._read.add(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as e:
                number = len(self._read.entries) + 1
                self._read = _Read()
                raise self._corrupt(raw, number, e) from e
        self._read.identity, self._read.torn = identity, end != len(raw)
        return self._read

    def _is_current(self) -> bool:
        """Whether the file is still as it was when it was last read or appended to."""
        return self._read.identity is not None and self._read.identity == _identity(self.path)

    def shorten(self, first: int) -> None:
        """Remove the events of releases before `first`; none of these may be live, kept or in progress."""
        kept = [e for e in self.entries() if e.release >= first]
        if len(kept) < len(self._read.entries):
            files.write(self.path, b"".join(msgspec.json.encode(e) + b"\n" for e in kept))

    def restart(self, live: int, commit: str, last: int) -> None:
        """Start a new journal that ends with the live release and the last number used, so that no number is
        reused.

        It begins with the readable events of the old one, which hold the history of releases and migrations. The
        old file is kept beside it; the new one replaces it atomically.
        """
        lines: list[str] = []
        if self.path.exists():
            with contextlib.suppress(OSError):
                old = self.path.read_bytes().split(b"\n")[:-1]
                lines = [line.decode() for line in old if _is_entry(line)]
                self.path.with_name(f"{self.path.name}.{now()}").hardlink_to(self.path)
        if live:
            lines.append(_line("live", live, commit=commit, why="journal begun again"))
        lines.append(_line("done", max(live, last)))
        files.write(self.path, "".join(f"{line}\n" for line in lines))

    def _cut_torn_tail(self) -> None:
        if not self.path.exists():
            return
        raw = self.path.read_bytes()
        end = raw.rfind(b"\n") + 1
        if end != len(raw):
            with self.path.open("r+b") as f:
                f.truncate(end)

    def _corrupt(self, raw: bytes, number: int, e: Exception) -> StateError:
        copy = self.path.with_name(f"{self.path.name}.corrupt")
        kept = ""
        with contextlib.suppress(OSError):
            files.write(copy, raw, mode=0o600)
            kept = f" and a copy is kept as {copy.name}"
        hint = f"nothing was changed{kept}; {_REPAIR}, or repair the line by hand"
        return StateError(f"line {number} cannot be read: {e}", where=str(self.path), hint=hint)


class _Read:
    """What has been read of a journal so far: raw bytes, events and their summary; `identity` is that of the file at
    that moment, and `torn` whether it had an unfinished line."""

    def __init__(self) -> None:
        self.raw = bytearray()
        self.entries: list[Entry] = []
        self.story = Story()
        self.identity: tuple[int, ...] | None = None
        self.torn = False

    def add(self, line: bytes) -> None:
        """One more event. Raises DecodeError or UnicodeDecodeError if it is unreadable."""
        entry = msgspec.json.decode(line, type=Entry)
        self.raw += line + b"\n"
        self.entries.append(entry)
        self.story = _after(self.story, entry)


def _identity(path: Path) -> tuple[int, ...] | None:
    """What changes if a file is replaced or written to; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _line(event: Event, release: int, **fields: object) -> str:
    entry = msgspec.convert({"at": now(), "event": event, "release": release, **fields}, Entry)
    return msgspec.json.encode(entry).decode()


def _is_entry(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=Entry)
    except msgspec.DecodeError:
        return False
    return True


def _after(story: Story, entry: Entry) -> Story:
    last = max(story.last, entry.release)
    if entry.event == "step" and not entry.migrated and last == story.last:
        return story
    migrated = story.migrated
    if entry.migrated and entry.release not in migrated:
        migrated = (*migrated, entry.release)
    changes: dict[str, object] = {"last": last, "migrated": migrated}
    if entry.event in ("prepare", "promote"):
        changes |= {"open": entry, "reached_live": False}
    elif entry.event == "live":
        changes |= {"live": entry.release, "reached_live": True}
    elif entry.event in ("done", "failed"):
        changes |= {"open": None, "reached_live": False, "left": entry.left}
    return msgspec.structs.replace(story, **changes)
