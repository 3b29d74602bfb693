"""Environments as files that Compose reads (`env_file`), readable by nobody else. Pure except for `write`."""

import re
from collections.abc import Mapping
from pathlib import Path

from pushrod.core.errors import ManifestError
from pushrod.core.variables import NAME
from pushrod.system import files

# In double quotes Compose's reader knows these escapes and expands `$` (compose-go's dotenv; a round trip was
# compared value by value with Compose 2.40).
_ESCAPES = {"\\": "\\\\", '"': '\\"', "$": "\\$", "\n": "\\n", "\r": "\\r"}

_UNESCAPES = {"n": "\n", "r": "\r"}


def render(variables: Mapping[str, str]) -> str:
    """The text of an env file with exactly these values. Raises ManifestError for a value that no such file can
    hold.
    """
    lines = []
    for name, value in sorted(variables.items()):
        if not NAME.fullmatch(name):
            raise ManifestError(
                f"`{name}` cannot be a variable's name", where="environment", hint="rename it"
            )
        if "\0" in value:
            raise ManifestError(
                f"the value of {name} has a NUL character",
                where=f"environment.{name}",
                hint="no program can receive it: encode the value, for example as base64",
            )
        lines.append(f'{name}="{"".join(_ESCAPES.get(c, c) for c in value)}"\n')
    return "".join(lines)


def write(path: Path, variables: Mapping[str, str]) -> bool:
    """Replace an env file (0600); returns whether that changed it."""
    text = render(variables)
    if files.holds(path, text):
        return False
    files.make_private(path.parent)
    files.write(path, text, mode=0o600)
    return True


def parse(text: str) -> dict[str, str]:
    """The variables of a text made by `render`."""
    variables = {}
    for line in text.split("\n")[:-1]:
        name, _, quoted = line.partition("=")
        variables[name] = re.sub(r"\\(.)", lambda m: _UNESCAPES.get(m[1], m[1]), quoted[1:-1])
    return variables
