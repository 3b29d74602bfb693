"""What a service's own files use of a container: names of other services, and paths of its image.

Where the kernel refuses namespaces, programs have neither. A variable (`DB_HOST=db`) is replaced there, and so is the
path of a command's file; code is not. So code is read before anything runs. Only a line that certainly uses one is
enough: a name as the host of a URL, in `db:5432`, in a call or an assignment of a host; a file by its path in the
image.
"""

import os
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pushrod.core.patterns import lazy
from pushrod.engines.embedded.volumes import Layout

_CODE = frozenset((".py", ".js", ".mjs", ".cjs", ".ts", ".rb", ".sh", ".bash"))
_SHELLS = (".sh", ".bash")
_OTHERS = frozenset(
    ("node_modules", "site-packages", "test", "tests", "doc", "docs", "examples", "venv", "dist", "build")
)
_OF_TESTS = lazy(r"(?:test_.*|.*_test|conftest|.*\.(?:test|spec)|.*\.d)\.\w+")
_MOST = 2000  # files of a service
_LARGEST = 1 << 20  # bytes of a file
_COMMENT = lazy(r"\s*(?:#|//|\*|/\*)")
# The variable whose absence a literal is for: `get("DB_HOST", "`, `DB_HOST || "`, `${DB_HOST:-`, `db_host: str = "`.
_DEFAULT = lazy(
    r"(?:[\"'](\w+)[\"']\s*,\s*(?:\w+\s*=\s*\w+\s*,\s*)?(?:default\s*=\s*)?[\"'][^\"']*"
    r"|(\w+)\s*(?:\|\||\?\?|\bor\b)\s*[\"'][^\"']*"
    r"|\$\{(\w+):?-[^}]*"
    r"|^\s*(\w+)\s*(?::[^=]+)?=\s*[\"'][^\"']*)$"
)
# What takes a host as its first argument, or in front of its value.
_HOST = (
    r"(?:(?:\w*(?:host|server|addr|address|hostname))[\"']?\s*(?::\s*\w+\s*)?(?:=|:|,)\s*"
    r"|\w*(?:connect\w*|redis|client)\(\s*\(?\s*)"
)
_FILE = lazy(
    r"(?:open|Path|File|chdir|listdir|scandir|walk|exists|isfile|isdir|mkdirs?|makedirs|glob|join|read\w*|write\w*"
    r"|create(?:Read|Write)Stream|sqlite\w*\.connect|path\.(?:append|insert))\s*\([^()]*$|sqlite:///$"
)
_CALLS = r"(?:nc|ping|pg_isready|psql|redis-cli|wait-for[\w.-]*|[\w./-]*/wait-for[\w.-]*)"


class Use(NamedTuple):
    """One use: the name or path, and the file and line, relative to the commit."""

    word: str
    where: str


def names(
    names: Collection[str], known: Collection[str], directory: Path, others: Sequence[Path], checkout: Path
) -> Iterator[Use]:
    """Uses of services' names, except as the default of a variable that is `known` to be set."""
    if not names:
        return
    any_ = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    pattern = re.compile(
        rf"://(?:[^\s/@\"']*@)?(?P<url>{any_})(?=[:/?#\"'\s]|$)"
        rf"|(?<![\w.@/:-])(?P<plain>{any_}):[0-9]{{2,5}}(?![\w.])"
        rf"|(?i:{_HOST})[\"'](?P<host>{any_})[\"']"
        rf"|(?:\|\||\?\?|,)\s*[\"'](?P<default>{any_})[\"']"
        rf"|\b{_CALLS}\s(?:[^\n;&|]*\s)?(?P<argument>{any_})(?=[\s:;]|$)"
    )
    for path, line, text in _lines(directory, others, checkout):
        for match in pattern.finditer(text):
            kind = match.lastgroup or ""
            default = _DEFAULT.search(text[: match.start(kind)])
            variable = next((v for v in (default.groups() if default else ()) if v), "")
            if variable in known or variable.upper() in known:
                continue
            if kind == "argument" and path.suffix not in _SHELLS and path.suffix:
                continue
            if kind == "default" and not re.search(r"(?i)(?:host|server|addr)\w*$", variable):
                continue
            yield Use(match[kind], f"{path}:{line}")


def paths(images: Collection[str], layout: Layout, others: Sequence[Path], checkout: Path) -> Iterator[Use]:
    """Uses of paths of the image, which this machine does not have, below any of `images`."""
    any_ = "|".join(re.escape(path) for path in sorted(images, key=len, reverse=True))
    if not any_:
        return
    pattern = re.compile(rf"(?:(?<![\w.~$}}/-])|(?<=sqlite:///))(?P<path>(?:{any_})(?:/[\w.@+-]+)*)(?![\w-])")
    for path, line, text in _lines(layout.directory, others, checkout):
        shell = path.suffix in _SHELLS or not path.suffix
        for match in pattern.finditer(text):
            word, before = match["path"], text[: match.start()]
            if os.path.lexists(word):
                continue
            inside = layout.inside(word)
            of_the_commit = inside not in ("", ".") and (layout.directory / inside).exists()
            if (
                (shell and "://" not in before[-80:])
                or of_the_commit
                or _FILE.search(before.rstrip("\"'rbf"))
            ):
                yield Use(word, f"{path}:{line}")


def in_words(images: Collection[str], words: Mapping[str, str]) -> Iterator[Use]:
    """Uses of such paths in variables or commands, given with what they are called."""
    for where, word in words.items():
        for image in images:
            for match in re.finditer(rf"(?<![\w.~$}}-]){re.escape(image)}(?:/[^\s:;,\"']*)?(?![\w-])", word):
                if not os.path.lexists(match[0]):
                    yield Use(match[0], where)


def _lines(directory: Path, others: Sequence[Path], checkout: Path) -> Iterator[tuple[Path, int, str]]:
    for path in [*_files(directory), *others]:
        try:
            if path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST:
                continue
            text = path.read_text(errors="replace")
        except OSError:
            continue
        if not path.suffix and not re.match(r"#!.*\b(?:ba|da|a|k|z)?sh\b", text):
            continue
        shown = Path(posixpath.normpath(path.relative_to(checkout)))
        for number, line in enumerate(text.splitlines(), 1):
            if not _COMMENT.match(line):
                yield shown, number, line


def _files(directory: Path) -> list[Path]:
    scripts = list[Path]()
    for place, directories, files in os.walk(directory):
        directories[:] = sorted(d for d in directories if d not in _OTHERS and not d.startswith("."))
        scripts += [Path(place, name) for name in sorted(files) if _is_code(name)]
        if len(scripts) >= _MOST:
            break
    return scripts[:_MOST]


def _is_code(name: str) -> bool:
    suffix = posixpath.splitext(name)[1]
    return (suffix in _CODE or not suffix) and not _OF_TESTS.fullmatch(name)
