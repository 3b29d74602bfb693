"""Text for nginx's configuration: paths and values as one word. Pure."""

import re
from pathlib import Path

from pushrod.core.errors import EdgeError
from pushrod.core.patterns import lazy

_UNQUOTABLE = lazy(r"[$*?\[\x00-\x1f\x7f]")


def quoted(path: Path, prefix: str = "") -> str:
    """A path as one word of nginx's configuration. Raises EdgeError for characters that nginx would expand."""
    if _UNQUOTABLE.search(str(path)):
        raise EdgeError(
            "nginx cannot use a path with $, *, ?, [ or a control character",
            where=str(path),
            hint="choose another place with --root",
        )
    return word(f"{prefix}{path}")


def word(text: str) -> str:
    """Text as one word. A `$` in it begins a variable."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def name(text: str) -> str:
    """Text converted for use in a variable's name."""
    return re.sub(r"[^a-z0-9]", "_", text.lower())


def indented(text: str, spaces: int) -> str:
    """Lines, each non-empty one indented."""
    return re.sub(r"^(?=.)", " " * spaces, text, flags=re.MULTILINE)
