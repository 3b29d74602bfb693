"""Text for nginx's configuration: paths and values as one word. Pure."""

import re
from pathlib import Path

from pushrod.core.errors import EdgeError

_UNQUOTABLE = re.compile(r"[$*?\[\x00-\x1f\x7f]")


def quoted(path: Path, prefix: str = "") -> str:
    """A path as one word of nginx's configuration; EdgeError for what nginx would expand in it."""
    if _UNQUOTABLE.search(str(path)):
        raise EdgeError(
            "nginx cannot use a path with $, *, ?, [ or a control character",
            where=str(path),
            hint="choose another place with --root",
        )
    return word(f"{prefix}{path}")


def word(text: str) -> str:
    """Text as one word. A `$` in it is a variable."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def name(text: str) -> str:
    """Text as it can be part of a variable's name."""
    return re.sub(r"[^a-z0-9]", "_", text.lower())


def indented(text: str, spaces: int) -> str:
    """Lines, each that is not empty moved to the right."""
    return re.sub(r"^(?=.)", " " * spaces, text, flags=re.MULTILINE)
