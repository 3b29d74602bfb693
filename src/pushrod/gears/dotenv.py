"""A `.env` file, read by Compose itself: quotes over several lines, escapes, `${NAME:-default}`, `export`, CRLF, BOM.

It is given to the loader as the `env_file` of a service, in a directory of its own that only we may enter. It is not
called `.env` there: what is in it must not steer the loader.
"""

import re
import tempfile
from pathlib import Path

from pushrod import host
from pushrod.errors import HostError, ManifestError
from pushrod.gears import compose

_NAME = "variables"
_FORM = f"services:\n  it:\n    image: scratch\n    env_file:\n      - {_NAME}\n"


def read(text: str) -> dict[str, str]:
    """The variables of a `.env` file, but for those it only names.

    Raises HostError, which says the line and nothing of what is in it, where Compose cannot read the file.
    """
    with tempfile.TemporaryDirectory(prefix="pushrod-") as place:
        directory = Path(place)
        host.write(directory / "compose.yaml", _FORM)
        host.write(directory / _NAME, text, mode=0o600)
        try:
            document = compose.load(directory, project="it", variables={}, files=("compose.yaml",))
        except ManifestError as e:
            line = re.search(r"\bline (\d+)", f"{e.what} {e.where}")
            where = f"line {line[1]} of the file" if line else "the file"
            raise HostError(
                "Compose cannot read it as a .env file",
                where=where,
                hint="NAME=value lines; quote what has spaces, quotes or several lines",
            ) from None
    found = document["services"]["it"].get("environment") or {}
    return {str(name): _text(value) for name, value in found.items() if value is not None}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
