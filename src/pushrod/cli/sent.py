"""What a verb reads from standard input, which over SSH is whatever a client sends."""

import sys

from pushrod.core.errors import HostError

MOST = 1 << 20
"""Characters: secrets, `.env` files and certificates are far smaller."""


def text() -> str:
    """All of standard input; HostError where it is longer than MOST."""
    found = sys.stdin.read(MOST + 1)
    if len(found) > MOST:
        raise _too_long()
    return found


def exactly() -> bytes:
    """All of standard input, with its line ends as they are; HostError likewise."""
    found = sys.stdin.buffer.read(MOST + 1)
    if len(found) > MOST:
        raise _too_long()
    return found


def _too_long() -> HostError:
    return HostError(
        f"standard input is longer than {MOST >> 20} MiB", hint="send the one file that is meant"
    )
