"""Names of environment variables. Pure."""

from pushrod.core.patterns import lazy

NAME = lazy(r"[\w.\[\]-]+")
"""A name that Compose accepts in a `.env` file: letters and digits of any script, `_`, `.`, `-`, `[` and `]`."""

_BASE64 = lazy("(?=.*[A-Z])(?=.*[a-z])[A-Za-z0-9-]{8,}")
_WORD = lazy("[A-Z][a-z]+|[a-z]{3,}|[A-Z]{3,}")
_MOST_BETWEEN = 0.25  # part of a name that is outside words; of random base64 about two thirds


def is_data(name: str, value: str) -> bool:
    """Whether `name=value` is probably no variable but the last line of a key: base64 ends with `=`."""
    if value not in ("", "=") or not _BASE64.fullmatch(name):
        return False
    return len(_WORD.sub("", name)) > _MOST_BETWEEN * len(name)
