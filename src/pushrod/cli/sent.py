"""Standard input of a verb, which over SSH is whatever a client sends."""

import sys

from pushrod.core.errors import HostError

MOST = 1 << 20
"""Characters: secrets, `.env` files and certificates are far smaller."""


def text() -> str:
    """All of standard input; HostError if it is longer than MOST."""
    characters = sys.stdin.read(MOST + 1)
    if len(characters) > MOST:
        raise _too_long()
    return characters


def exactly() -> bytes:
    """All of standard input with its line ends unchanged; HostError if it is longer than MOST."""
    raw = sys.stdin.buffer.read(MOST + 1)
    if len(raw) > MOST:
        raise _too_long()
    return raw


def _too_long() -> HostError:
    return HostError(f"standard input is longer than {MOST >> 20} MiB", hint="send only the intended file")
