"""A store with a log: one that can be recovered to a point in time, from a base backup and the log after it.

A log is a sequence of bytes; its files, the segments, have one size and follow each other. The server keeps what has
not been copied yet, up to a bound. Drivers implement `Log`; backups know nothing else of them.
"""

from pathlib import Path
from typing import NamedTuple, Protocol

from pushrod.core.errors import StoreError
from pushrod.system.streams import Sink


class UnfitError(StoreError):
    """A server that cannot be recovered to a point in time, as it is set up."""


class TooShort(Exception):
    """The log ends before the requested time."""


class Position(NamedTuple):
    """Where a server's log ends: everything acknowledged before `at` is in it, below `end`.

    `system` identifies the server's data, `timeline` its history, `segment_size` is in bytes, `major` the server's
    version. `held` is whether the server keeps what follows `kept` until it is copied. `directory` is where its
    driver finds segments.
    """

    system: str
    at: str
    end: int
    timeline: int
    segment_size: int
    major: str
    directory: str
    held: bool
    kept: int


class Log(Protocol):
    """The log of one server. `product` is its name for people."""

    product: str

    def position(self) -> Position:
        """Where the log ends now. Raises UnfitError if this server cannot be recovered to a point in time."""

    def hold(self, most: int) -> None:
        """Make the server keep its log from now on, until it is copied, at most `most` bytes.

        Raises UnfitError if that would change what another program has set up.
        """

    def advance(self, position: int) -> None:
        """Let the server remove the log below a position, which has been copied."""

    def release(self) -> None:
        """Let the server remove all of its log: nothing is copied any more."""

    def copy(self, position: Position, name: str, sink: Sink) -> None:
        """Write a segment as far as the log goes."""

    def segment(self, timeline: int, number: int, size: int) -> str:
        """The name of a segment: `number` is its position divided by the size of segments."""

    def number(self, name: str, size: int) -> int:
        """The number of a segment, by its name."""

    def size(self) -> int:
        """The bytes that a base backup may take."""

    def free(self, position: Position) -> int | None:
        """The free bytes of the disk where a recovery takes place; None if not known."""

    def base(self, sink: Sink) -> None:
        """Write a base backup as a tar archive."""

    def begin(self, base: Path) -> int:
        """The position from which a base backup needs the log. Raises StoreError for a file that is none."""


def segments(log: Log, timeline: int, size: int, begin: int, end: int) -> list[str]:
    """The names of the segments from the one with the position `begin` to the last one that begins before `end`."""
    numbers = range(begin // size, max(end - 1, begin) // size + 1)
    return [log.segment(timeline, number, size) for number in numbers]
