"""Streams that are read, written and measured block by block, so that they may be larger than memory."""

import hashlib
from typing import Protocol

BLOCK = 1 << 16
"""Bytes in memory at a time."""


class Source(Protocol):
    """A source of bytes: an open file, a pipe."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; empty at the end."""


class Sink(Protocol):
    """A destination of bytes."""

    def write(self, block: bytes, /) -> object:
        """Write the whole block."""


class Measured:
    """A sink that measures what passes through it to another."""

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
    """A sink that discards everything."""

    def write(self, block: bytes) -> None:
        """Discard a block."""


def copy(source: Source, sink: Sink) -> None:
    """Copy everything from a source to a sink."""
    while block := source.read(BLOCK):
        sink.write(block)


def digest(source: Source) -> str:
    """The SHA-256 of everything from a source."""
    measured = Measured(Nothing())
    copy(source, measured)
    return measured.sha256
