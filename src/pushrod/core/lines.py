"""What programs print, as lines: split at newlines alone, with a mark where something was left out. Pure.

A program's output may hold any bytes. Only a newline ends a line here: `str.splitlines` also splits at a form feed,
at U+2028 and at six more, so one line of an app could pass for two.
"""

CUT = "[…]"
"""Where something of a log was left out: before its first line, or after a line that is too long."""

_CONTINUED = bytes(range(0x80, 0xC0))  # within a character of UTF-8

LONGEST = 65536
"""Bytes of a line that are handed over as one; Docker itself cuts at 16 KiB."""


def split(text: str) -> list[str]:
    """The lines of a text, the last one too where no newline ends it; none of an empty text."""
    found = text.split("\n")
    return found if found[-1] else found[:-1]


def decode(raw: bytes) -> str:
    """Bytes as text; what is no UTF-8 becomes U+FFFD."""
    return raw.decode(errors="replace")


def after_cut(raw: bytes) -> str:
    """The text of bytes that begin in the middle of a line, marked as such."""
    return f"{CUT} {decode(raw.lstrip(_CONTINUED))}"
