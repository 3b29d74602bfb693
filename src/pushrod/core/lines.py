"""Splitting program output into lines, with a mark where something was left out. Pure.

Output may contain any bytes. Only a newline ends a line here: `str.splitlines` also splits at a form feed, U+2028
and six other characters, so one line of an app could pass for two.
"""

CUT = "[…]"
"""Marks where a log was cut: before its first line, or after an overlong line."""

_CONTINUED = bytes(range(0x80, 0xC0))  # continuation bytes of a UTF-8 character

LONGEST = 65536
"""Longest line in bytes that is passed on in one piece; Docker itself cuts at 16 KiB."""


def split(text: str) -> list[str]:
    """The lines of a text, including a last line without a newline; empty for an empty text."""
    parts = text.split("\n")
    return parts if parts[-1] else parts[:-1]


def decode(raw: bytes) -> str:
    """Decode UTF-8; invalid bytes become U+FFFD."""
    return raw.decode(errors="replace")


def after_cut(raw: bytes) -> str:
    """Decode bytes that start in the middle of a line, and mark that the start is missing."""
    return f"{CUT} {decode(raw.lstrip(_CONTINUED))}"
