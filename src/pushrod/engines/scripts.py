"""Find scripts of the commit with which a service cannot start: by their mode or line ends.

The kernel's messages do not show this: a file that is not executable in Git is `permission denied`, or not found, and
one whose first line ends in CRLF is `no such file or directory`, because no program is called `/bin/sh\r`.
"""

import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pushrod.adapters import dockerfile
from pushrod.core.errors import BuildError, PushrodError, ReadyError, ReleaseCommandError
from pushrod.core.patterns import lazy
from pushrod.core.values import Service

_MOST = 4096  # bytes that are read of a script
_INTERPRETERS = lazy(r"(?:ba|da|a|k|z)?sh|python[0-9.]*|node|perl|ruby|php|source|\.")
_MENDING = lazy(r"dos2unix|\\r|\\015")
_CLOSED = lazy(r"permission denied|not found|cannot execute|neither in its|status 12[67]", re.IGNORECASE)


def explain(error: PushrodError, services: Sequence[Service], checkout: Path) -> None:
    """Add to the hint of a failed program's error what is wrong with its script.

    CRLF is always reported; a missing executable bit only if the program could not be started.
    """
    if not isinstance(error, BuildError | ReadyError | ReleaseCommandError):
        return
    closed = _CLOSED.search("\n".join([error.what, error.hint, *error.log])) is not None
    fixes = dict.fromkeys(f.message for f in faults(services, checkout) if closed or not f.of_mode)
    if fixes:
        error.hint = "; ".join([*fixes, *([error.hint] if error.hint else [])])


def notes(services: Sequence[Service], checkout: Path) -> list[str]:
    """The notes on scripts that cannot start as they are in the commit, unless a Dockerfile mends line ends."""
    return [
        f"{service.name}: {fault.message}"
        for service in services
        if not _mends(service, checkout)
        for fault in dict.fromkeys(faults([service], checkout))
        if not fault.of_mode
    ]


def _mends(service: Service, checkout: Path) -> bool:
    """Whether a service's Dockerfile changes line ends."""
    if service.build is None:
        return False
    path = checkout / service.build.context / service.build.dockerfile
    try:
        text = path.read_text(errors="replace") if _is_of(path, checkout) else ""
    except OSError:
        return False
    return _MENDING.search(text) is not None


class Fault(NamedTuple):
    """A script's fault with its fix; `of_mode` means that it is not executable."""

    message: str
    of_mode: bool


def faults(services: Sequence[Service], checkout: Path) -> Iterator[Fault]:
    """The faults of the scripts that services start with, and their fixes."""
    for service in services:
        for argv in argvs(service, checkout):
            words = [word for text in argv for word in re.split(r"[\s;&|()'\"]+", text) if word]
            for n, word in enumerate(words):
                path = tracked(word, service, checkout)
                if path is not None:
                    called_by = posixpath.basename(words[n - 1]) if n else ""
                    yield from _wrong(path, checkout, direct=not _INTERPRETERS.fullmatch(called_by))


def argvs(service: Service, checkout: Path) -> list[Sequence[str]]:
    """The argvs a service may start with: from the manifest, and from its Dockerfile."""
    possible: list[Sequence[str]] = [service.entrypoint, service.command, service.release]
    if service.build is not None:
        path = checkout / service.build.context / service.build.dockerfile
        try:
            recipe = dockerfile.read(path.read_text(errors="replace"), target=service.build.target)
        except (OSError, PushrodError):
            return possible
        possible += [recipe.entrypoint, recipe.command]
    return possible


def tracked(word: str, service: Service, checkout: Path) -> Path | None:
    """The file of the commit for a path in a container: the one that the Dockerfile copies there (a word without a
    slash is a program in any directory), or by the longest end of the path that exists."""
    for path in _copied(word, service, checkout):
        if _is_of(path, checkout):
            return path
    parts = [part for part in posixpath.normpath(word).split("/") if part not in ("", ".", "..")]
    tops = [checkout / service.build.context] if service.build else []
    for start in range(len(parts)):
        for top in (*tops, checkout):
            path = top.joinpath(*parts[start:])
            if _is_of(path, checkout):
                return path
    return None


def _is_of(path: Path, checkout: Path) -> bool:
    try:
        plain = path.is_file() and not path.is_symlink()
        return plain and path.resolve().is_relative_to(checkout.resolve())
    except (OSError, ValueError):  # a name that is too long, or has a NUL
        return False


def _copied(word: str, service: Service, checkout: Path) -> Iterator[Path]:
    """The sources that a service's Dockerfile may have for a path in its containers."""
    if service.build is None or not re.fullmatch(r"[\w./+-]+", word):
        return
    context = checkout / service.build.context
    try:
        pairs = dockerfile.copies((context / service.build.dockerfile).read_text(errors="replace"))
    except OSError:
        return
    for source, target in reversed(pairs):
        if word == target or ("/" not in word and word == posixpath.basename(target)):
            yield context / source
        elif word.startswith(f"{target.rstrip('/')}/"):
            yield context / source / word.removeprefix(target).lstrip("/")


def _wrong(path: Path, checkout: Path, *, direct: bool) -> Iterator[Fault]:
    name = path.relative_to(checkout)
    with path.open("rb") as f:
        head = f.read(_MOST)
    first = head.split(b"\n", 1)[0]
    if not first.startswith(b"#!"):
        return
    if first.endswith(b"\r"):
        cause = (
            "which its interpreter does not know: write `*.sh text eol=lf` into .gitattributes, then git add"
        )
        yield Fault(f"{name} has CRLF line ends, {cause} --renormalize {name}", of_mode=False)
    if direct and not os.access(path, os.X_OK):
        yield Fault(f"{name} is not executable in Git: git update-index --chmod=+x {name}", of_mode=True)
