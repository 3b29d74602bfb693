"""Bytes that pass through, a block at a time, so that what is larger than memory can: read, written, measured."""

import hashlib
from typing import Protocol

BLOCK = 1 << 16
"""Bytes that are in memory at a time."""


class Source(Protocol):
    """What bytes come from: an open file, a pipe."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""


class Sink(Protocol):
    """What bytes go to."""

    def write(self, block: bytes, /) -> object:
        """Take all of a block."""


class Measured:
    """A sink that knows what has passed through it."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._digest = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        """The SHA-256 of all bytes so far."""
        return self._digest.hexdigest()

    def write(self, block: bytes) -> None:
        """Pass a block on."""
        self._sink.write(block)
        self._digest.update(block)
        self.size += len(block)


class Nothing:
    """A sink that keeps nothing."""

    def write(self, block: bytes) -> None:
        """Forget a block."""


def copy(source: Source, sink: Sink) -> None:
    """Everything that comes from a source, into a sink."""
    while block := source.read(BLOCK):
        sink.write(block)


def digest(source: Source) -> str:
    """The SHA-256 of all that comes from a source."""
    measured = Measured(Nothing())
    copy(source, measured)
    return measured.sha256
