"""How pushrod's own state files are read."""

import contextlib
from pathlib import Path
from typing import TypeVar

import msgspec

from pushrod.core.errors import StateError
from pushrod.system import files

T = TypeVar("T")


def read_json(path: Path, kind: type[T], *, restore: str) -> T:
    """Decode one of pushrod's own state files strictly.

    Raises StateError if it is missing, unreadable or invalid; a copy of invalid content is kept beside it, if
    there is room. `restore` says what the user can do about it.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError as e:
        raise StateError("the file is missing", where=str(path), hint=restore) from e
    except OSError as e:
        why = (e.strerror or str(e)).lower()
        raise StateError(f"cannot be read: {why}", where=str(path), hint=restore) from e
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        copy = path.with_name(f"{path.name}.corrupt")
        hint = restore
        with contextlib.suppress(OSError):
            files.write(copy, raw, mode=0o600)
            hint = f"a copy is kept as {copy.name}; {restore}"
        raise StateError(f"cannot be read: {e}", where=str(path), hint=hint) from e
