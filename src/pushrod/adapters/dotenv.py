"""A `.env` file, read by Compose itself: multi-line quotes, escapes, `${NAME:-default}`, `export`, CRLF, BOM.

The loader gets it as the `env_file` of a service, in a private directory. It is not called `.env` there, because its
contents must not control the loader.
"""

import re
import tempfile
from pathlib import Path

from pushrod.adapters import compose
from pushrod.core.errors import HostError, ManifestError
from pushrod.system import files

_NAME = "variables"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_FORM = f"services:\n  it:\n    image: scratch\n    env_file:\n      - {_NAME}\n"


def read(text: str) -> dict[str, str]:
    """The variables of a `.env` file, except those without a value.

    Raises HostError, with the line number but none of the contents, if Compose cannot read the file.
    """
    with tempfile.TemporaryDirectory(prefix="pushrod-") as place:
        directory = Path(place)
        files.write(directory / "compose.yaml", _FORM)
        files.write(directory / _NAME, text, mode=0o600)
        try:
            document = compose.load(directory, project="it", variables={}, file="compose.yaml")
        except ManifestError as e:
            line = re.search(r":(\d+)", e.where)
            where = f"line {line[1]} of the file" if line else "the file"
            raise HostError(
                "Compose cannot read it as a .env file",
                where=where,
                hint="write NAME=value lines; quote values with spaces, quotes or several lines",
            ) from None
    environment = document["services"]["it"].get("environment") or {}
    variables = {str(name): _text(value) for name, value in environment.items() if name and value is not None}
    if wrong := next((name for name in variables if not _VARIABLE.fullmatch(name)), ""):
        raise HostError(  # which may be a line of a key that nobody put into quotes
            "the text before a `=` in it cannot be a variable's name",
            where=f"line {text[: text.find(wrong)].count(chr(10)) + 1} of the file",
            hint="letters, digits, _ and `.`, not beginning with a digit; put a value of several lines into quotes",
        )
    return variables


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
