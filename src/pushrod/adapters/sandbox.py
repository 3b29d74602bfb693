"""A commit's compose file reads only the commit: not another app's files, however it names them.

Three steps ensure this. The loader runs confined by the kernel (`landlock`) to the checkout and to programs, so its
output cannot contain anything else. Before it runs, the paths that the file names plainly are checked, for an error
that names the key; if the kernel has no Landlock this check is strict, and refuses what it cannot interpret.
Afterwards, paths in the resolved document, which the loader does not open but others will, must not leave through a
link.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pushrod.adapters import landlock, reading_limits
from pushrod.adapters.reading_limits import Reading
from pushrod.core.errors import HostError, ManifestError
from pushrod.core.patterns import lazy

# directories that a dynamically linked loader needs
_SOFTWARE = ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache")
_FILES = 100  # files that one manifest may make the loader read
_READING = Reading()
HINT = "commit the file and give its path inside the repository; for secrets: pushrod secret import .env"
NOT_YOUR_HOME = "which on a server is the home of pushrod's account, not yours"
_NO_LANDLOCK = (
    "this machine's kernel has no Landlock, so pushrod must know the name of every file: write the path out, in the "
    "compose file itself; or enable Landlock (Linux 5.13, boot parameter lsm=landlock,...)"
)


def inside(checkout: Path, relative: str, *, where: str = "", place: Path | None = None) -> Path:
    """A path of a commit, with every symbolic link followed; it need not exist. It is relative to `place` in the
    checkout, if that is given.

    Raises ManifestError, at `where`, if it is absolute or leaves the checkout, by `..` or by a link.
    """
    path = _resolved((place or checkout) / relative, where or relative)
    if relative.startswith("~"):
        raise ManifestError(
            f"`{relative}` begins with `~`, {NOT_YOUR_HOME}",
            where=where,
            hint=HINT,
        )
    if relative.startswith("/") or not path.is_relative_to(checkout.resolve()):
        raise ManifestError(f"`{relative}` is not a path inside the repository", where=where, hint=HINT)
    return path


def _resolved(path: Path, where: str) -> Path:
    try:
        return path.resolve()
    # a cycle of links, a name that is too long, or a NUL in it
    except (OSError, RuntimeError, ValueError) as e:
        raise ManifestError(f"{path.name}: this path cannot be followed", where=where, hint=HINT) from e


# ---- while the loader runs ------------------------------------------------------------------------------------


def confined(argv: Sequence[str], directory: Path, *more: Path) -> list[str]:
    """The argv that runs a loader with limited memory and time, and with access only to `directory`, to `more` and
    its own program.

    If the kernel has no Landlock, the loader can read what we can; `check_named` is strict then. Raises HostError if
    the program does not exist.
    """
    program = shutil.which(argv[0])
    if program is None:
        raise HostError(f"{argv[0]}: no such program", hint=f"install {argv[0]}, or check PATH")
    plugins = Path.home() / ".docker" / "cli-plugins"
    places = [directory, *more, Path(program).resolve(), plugins, *map(Path, _SOFTWARE)]
    known = [str(place) for place in places if place.exists()] if landlock.version() else []
    return [sys.executable, "-I", "-S", landlock.__file__, *known, "--", program, *argv[1:]]


# ---- before: paths that the file names ----------------------------------------------------------------------


class _Named(NamedTuple):
    """A scalar of the file that names another file."""

    key: tuple[str, ...]
    text: str


def check_named(directory: Path, file: str, most: Reading = _READING) -> None:
    """Refuse a compose file that makes the loader read files outside the directory, or that is too large: itself, or
    one of the files it names (`reading_limits`).

    With Landlock this only improves the message. Without it, it is the only protection: then a path that is only
    known after interpolation, or is in a further compose file, is refused too. Raises ManifestError.
    """
    strict = not landlock.version()
    top = inside(directory, file, where=file)
    waiting, seen = [top], {top}
    while waiting:
        path = waiting.pop()
        shown = os.path.relpath(path, directory)
        reading_limits.check_size(path.stat().st_size, most, shown)
        data = path.read_bytes()
        reading_limits.check_yaml(data, most, shown)
        for named in _named(data, shown, strict=strict):
            where = f"{shown}: {_path(named.key)}"
            if strict and ("$" in named.text or not {"include", "extends"}.isdisjoint(named.key)):
                raise ManifestError(f"it reads `{named.text}`", where=where, hint=_NO_LANDLOCK)
            if "$" in named.text:
                continue
            if path == top:
                other = inside(directory, named.text, where=where, place=top.parent)
            else:  # most often beside it; if it is elsewhere, the kernel limits what may be read
                other = Path(os.path.normpath(path.parent / named.text)).resolve()
            if other in seen or not other.is_relative_to(directory.resolve()) or not other.is_file():
                continue  # if it is missing, Compose reports where it looked
            seen.add(other)
            if len(seen) > _FILES:
                raise ManifestError(f"it reads more than {_FILES} files", where=where, hint="read fewer")
            if {"include", "extends"}.isdisjoint(named.key):
                reading_limits.check_size(other.stat().st_size, most, os.path.relpath(other, directory))
            else:
                waiting.append(other)


# Messages of Go's programs, and of Compose, about a file that they could not open, with its path; and any absolute
# path in a message about a file.
_MENTIONED = lazy(
    r"(?:open|l?stat|read|file) (.+?)(?: not found$| not found:|: (?:permission denied|no such file|not a directory"
    r"|is a directory|file name too long|too many levels))|^(.+?) is a directory"
)
_ABSOLUTE = lazy(r"(?<![\w./-])(/[^\s:'\"]+)")
_OF_A_FILE = lazy(r"director|file|found|open|permission|stat")


def check_message(message: str, directory: Path, files: Sequence[str]) -> None:
    """Refuse a loader's message about a file outside the directory with the same words whether the file exists or
    not.

    Raises ManifestError, at the keys that do not name their file plainly; nothing for another message.
    """
    mentioned = [match[1] or match[2] for match in _MENTIONED.finditer(message)]
    mentioned += _ABSOLUTE.findall(message) if _OF_A_FILE.search(message) else []
    paths = [Path(directory, path).absolute() for path in mentioned]
    inside_ = all(os.path.realpath(p).startswith(f"{directory.resolve()}/") for p in paths)
    if (paths and not inside_) or "permission denied" in message:
        raise ManifestError(
            "it reads a file that is not in the commit",
            where=_suspects(directory, files),
            hint="only files of the commit can be read: give a path inside the repository, not a link out of it",
        )


def _suspects(directory: Path, files: Sequence[str]) -> str:
    """The keys that may have named such a file, because they do not name one plainly."""
    keys = [
        f"{file}: {_path(named.key)}"
        for file in files
        for named in _named((directory / file).read_bytes(), file, strict=False)
        if "$" in named.text or not {"include", "extends"}.isdisjoint(named.key)
    ]
    return ", ".join(keys) or files[0]


def _named(data: bytes, file: str, *, strict: bool) -> Iterator[_Named]:
    """The files that a compose file makes the loader read; `strict` finds such keys anywhere, including fragments.

    Inspects the nodes, not the values they would give, so that merges and anchors hide nothing.
    """
    import yaml

    try:
        documents = list(yaml.compose_all(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError) as e:
        if strict:
            raise ManifestError(f"it cannot be read: {e}", where=file, hint=_NO_LANDLOCK) from e
        return  # Compose's own message is better
    seen: set[tuple[int, bool]] = set()
    waiting: list[tuple[tuple[str, ...], Any, bool]] = [((), d, False) for d in documents]
    while waiting:
        key, node, named = waiting.pop()
        named = named or _names_files(key, strict=strict)
        if (id(node), named) in seen:
            continue
        seen.add((id(node), named))
        if (
            strict and node.tag == "tag:yaml.org,2002:binary"
        ):  # Compose would decode it, so its value is not visible here
            raise ManifestError("it has binary text", where=f"{file}: {_path(key)}", hint=_NO_LANDLOCK)
        if isinstance(node, yaml.SequenceNode):
            waiting += [((*key, str(n)), item, named) for n, item in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            waiting += [((*key, str(k.value)), v, named) for k, v in node.value]
            waiting += [((*key, "?"), k, False) for k, _ in node.value if strict]
        elif named and key[-1] != "extends":  # there a plain name is a service of the same file
            yield _Named(key, node.value)


def _names_files(key: tuple[str, ...], *, strict: bool) -> bool:
    match key:
        case ("include",) | ("services", _, "env_file" | "label_file") | ("services", _, "extends", "file"):
            return True
        case (*_, "include" | "extends" | "env_file" | "label_file"):
            return strict
    return False


def _path(key: tuple[str, ...]) -> str:
    return re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", ".".join(key))


# ---- after: paths in the document -----------------------------------------------------------------------------


def check_resolved(document: Mapping[str, Any], directory: Path) -> None:
    """Refuse a resolved document in which a path of the repository leaves it through a symbolic link.

    Paths that leave by their own name are checked elsewhere: a build's context must not (`manifest`), a mount of the
    host may be allowed (`manifest.policy`). Raises ManifestError at the key.
    """
    for where, path in _paths(document):
        normal = os.path.normpath(path)
        if normal != ".." and not normal.startswith(("/", "~", "../")):
            inside(directory, path, where=where)


def _paths(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, service in (document.get("services") or {}).items():
        where = f"services.{name}"
        if build := service.get("build"):
            yield f"{where}.build.context", str(build.get("context") or ".")
            dockerfile = str(build.get("dockerfile") or "Dockerfile")
            yield f"{where}.build.dockerfile", os.path.join(build.get("context") or ".", dockerfile)  # noqa: PTH118
            for other, context in (build.get("additional_contexts") or {}).items():
                yield f"{where}.build.additional_contexts.{other}", str(context)
        for number, volume in enumerate(service.get("volumes") or ()):
            if volume.get("type") == "bind":
                yield f"{where}.volumes[{number}].source", str(volume.get("source") or ".")
    for kind in ("configs", "secrets"):
        for name, item in (document.get(kind) or {}).items():
            if file := (item or {}).get("file"):
                yield f"{kind}.{name}.file", str(file)
