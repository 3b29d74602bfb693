"""Files of an export in a directory of the user's: only what an export has written is replaced or removed."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from pushrod.core.errors import UnknownNameError
from pushrod.system import files

RECORD = ".pushrod-export.json"
"""The file that says which files an export has written, with their digests."""

_PRIVATE = 0o600


def write(directory: Path, contents: Mapping[str, str], private: str) -> None:
    """Write an export's files; those of the last one that are no longer part of it are removed. The directory
    `private` is its owner's alone. What is in a directory in it has the modes of any file, because accounts of
    containers read it where it is mounted.

    Raises UnknownNameError, and writes nothing, if that would replace or remove what no export has written.
    """
    record = directory / RECORD
    known = _known(record)
    for path in sorted({*contents, *known}):
        _check(directory, path, known.get(path, ""), contents.get(path))
    for path, text in contents.items():
        if path.startswith(f"{private}/"):
            files.make_private(directory / private)
        files.write(directory / path, text, mode=_PRIVATE if Path(path).parent == Path(private) else 0o644)
    for path in known.keys() - contents.keys():
        (directory / path).unlink(missing_ok=True)
    written = {path: _digest(text.encode()) for path, text in sorted(contents.items())}
    files.write(record, msgspec.json.format(msgspec.json.encode(written)) + b"\n")


def _known(record: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode(record.read_bytes(), type=dict[str, str])
    except FileNotFoundError:
        return {}
    except msgspec.DecodeError as e:
        raise UnknownNameError(
            "this is not the record of an export", where=str(record), hint="choose another directory"
        ) from e


def _check(directory: Path, path: str, known: str, text: str | None) -> None:
    """Refuse to touch a file that is not as an export has written it, that a link leads to, or that is not below the
    directory: the paths are another machine's, or those of a record that somebody has committed.
    """
    parts = Path(path).parts
    if not parts or ".." in parts or Path(path).is_absolute() or path != str(Path(path)):
        raise UnknownNameError(
            "no file of an export has this path",
            where=path[:200],
            hint="nothing was written: check the server, and the record in the directory",
        )
    place = directory / path
    above = [directory.joinpath(*parts[:n]) for n in range(1, len(parts))]
    wrong = next((p for p in above if p.is_symlink() or (p.exists() and not p.is_dir())), None)
    if wrong is None and not place.is_symlink() and not place.exists():
        return
    if wrong is None and place.is_file() and not place.is_symlink():
        digest = _digest(place.read_bytes())
        if digest == known or (text is not None and digest == _digest(text.encode())):
            return
    raise UnknownNameError(
        "no export has written this file as it is",
        where=str(wrong or place),
        hint="move it away, or choose another directory; an overlay of your own belongs beside the export",
    )


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
