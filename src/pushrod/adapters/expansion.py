"""Variables in the lines of a Dockerfile, as its builder expands them, within a limit: each line may use what earlier
ones have set many times over. Pure."""

import re
from collections.abc import Mapping

from pushrod.core.errors import ManifestError
from pushrod.core.patterns import lazy

LONGEST = 256 << 10
"""Characters of a line with its variables, and of all lines but RUN: as an image's description may have."""

# ${NAME}, ${NAME:-value}, ${NAME:+value}, $NAME: the forms that Dockerfiles allow.
_VARIABLE = lazy(r"\\\$|\$(?:\{(\w+)(?::?([-+])([^{}]*))?\}|([A-Za-z_]\w*))")


LARGEST = 1 << 20
"""Characters of a Dockerfile."""

MOST = 1000
"""Its instructions; an image has at most 127 layers."""

_KIB = f"{LONGEST >> 10} KiB"


class Budget:
    """What the lines of a Dockerfile may have in all, with their variables."""

    def __init__(self) -> None:
        self._left = LONGEST

    def expand(self, text: str, variables: Mapping[str, str]) -> str:
        """The words of a line. Raises ManifestError as `expand`, and if all together are too long."""
        expanded = expand(text, variables)
        self._left -= len(expanded)
        if self._left < 0:
            raise _too_long(f"its lines have more than {_KIB} with their variables")
        return expanded


def check(text: str, instructions: int) -> None:
    """Raise ManifestError for a Dockerfile that is longer than any that a builder makes an image of."""
    if len(text) > LARGEST:
        raise _too_long(f"it has more than {LARGEST >> 20} MiB")
    if instructions > MOST:
        raise _too_long(f"it has more than {MOST} instructions")


def _too_long(what: str) -> ManifestError:
    return ManifestError(
        what,
        where="Dockerfile",
        hint="put the text into a file of the repository, and COPY it",
    )


def expand(text: str, variables: Mapping[str, str]) -> str:
    """A text with the values of its variables. Raises ManifestError if that is too long, before it is made."""
    size = len(text) + sum(len(variables.get(m[1] or m[4] or "", "")) for m in _VARIABLE.finditer(text))
    if size > LONGEST:
        raise _too_long(f"the words of a line have more than {_KIB} with their variables")

    def value(match: re.Match[str]) -> str:
        if match[0] == "\\$":
            return "$"
        name, sign, other = match[1] or match[4], match[2], match[3]
        known = variables.get(name, "")
        if sign == "-":
            return known or str(other)
        if sign == "+":
            return str(other) if known else ""
        return known

    return _VARIABLE.sub(value, text)


def defaulted(text: str, variables: Mapping[str, str]) -> str:
    """A text with `${NAME:-value}` and `${NAME:+value}` expanded, which the library does not support."""
    return re.sub(r"\$\{\w+:?[-+][^{}]*\}", lambda match: expand(match[0], variables), text)
