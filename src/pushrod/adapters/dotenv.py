"""A `.env` file, read by Compose itself: multi-line quotes, escapes, `${NAME:-default}`, `export`, CRLF, BOM.

The loader gets it as the `env_file` of a service, in a private directory. It is not called `.env` there, because its
contents must not control the loader.
"""

import re
import tempfile
from pathlib import Path

from pushrod.adapters import compose
from pushrod.core import variables as names
from pushrod.core.errors import HostError, ManifestError
from pushrod.system import files

_NAME = "variables"
_OPEN_KEY = re.compile(
    r"^[ \t]*(?:export\s+)?[\w.\[\]-]+[ \t]*[=:][ \t]*-----BEGIN (?!.*-----END)", re.MULTILINE
)
_FORM = f"services:\n  it:\n    image: scratch\n    env_file:\n      - {_NAME}\n"


def read(text: str) -> dict[str, str]:
    """The variables of a `.env` file, except those without a value.

    `${HOME}` is this account's home. Raises HostError, with the line number but none of the contents, if Compose
    cannot read the file, would take the lines of a key for names of variables, or needs the work directory.
    """
    if key := _OPEN_KEY.search(text):
        raise _without_quotes(text, key.start())
    with tempfile.TemporaryDirectory(prefix="pushrod-") as place:
        directory = Path(place)
        files.write(directory / "compose.yaml", _FORM)
        files.write(directory / _NAME, text, mode=0o600)
        try:
            document = compose.load(
                directory, project="it", variables={}, file="compose.yaml", home=str(Path.home())
            )
        except ManifestError as e:
            line = re.search(r":(\d+)", e.where)
            where = f"line {line[1]} of the file" if line else "the file"
            what, where, hint = _reason(e.what, text, where)
            raise HostError(what, where=where, hint=hint) from None
    environment = document["services"]["it"].get("environment") or {}
    variables = {str(name): _text(value) for name, value in environment.items() if name and value is not None}
    for name, value in variables.items():
        if str(directory) in value:  # Compose's own value for it
            raise HostError(
                f"{name} refers to `${{PWD}}`, which has no value on a server",
                where=f"line {_line_of(name, text)} of the file",
                hint="write the directory itself",
            )
        if not names.NAME.fullmatch(name) or names.is_data(name, value):
            raise _without_quotes(text, text.find(name))
    return variables


def _reason(message: str, text: str, where: str) -> tuple[str, str, str]:
    """What is wrong, where, and what to do; the loader's message may contain a value, and is not shown."""
    what, hint = (
        "Compose cannot read it as a .env file",
        "write NAME=value lines; quote values with spaces, quotes or several lines",
    )
    reference = ""
    if match := re.search(r"required variable ([A-Za-z_]\w*) is missing", message):
        what, reference = f"it needs the variable {match[1]}, which has no value", rf"\$\{{{match[1]}:?\?"
        hint = f"set {match[1]} in the file, before that line, or write the value itself"
    elif match := re.search(r'Invalid template: "(.+)"', message, re.DOTALL):
        what, reference = "a `$` in it begins no valid reference to a variable", re.escape(match[1])
        hint = "write ${NAME}; a value with a `$` of its own in single quotes"
    place = re.search(reference, text) if reference else None
    return what, f"line {text.count(chr(10), 0, place.start()) + 1} of the file" if place else where, hint


def _without_quotes(text: str, place: int) -> HostError:
    """The error for a line that belongs to a value of several lines; it must not show that line."""
    return HostError(
        "a line of it belongs to a key or another value of several lines that is not in quotes",
        where=f"line {text[:place].count(chr(10)) + 1} of the file",
        hint="put the value into quotes, from its first line to its last",
    )


def _line_of(name: str, text: str) -> int:
    match = re.search(rf"^\ufeff?[ \t]*(?:export\s+)?{re.escape(name)}[ \t]*[=:]", text, re.MULTILINE)
    return text[: match.start() if match else 0].count("\n") + 1


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
