"""Paths of an image and the files of the commit that are there: what COPY put where, and what was made executable."""

import contextlib
import os
import posixpath
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from pushrod.adapters.dockerfile import Recipe
from pushrod.core.patterns import lazy
from pushrod.core.values import Service
from pushrod.system import files
from pushrod.system.accounts import Account

Copies = tuple[tuple[str, str], ...]
"""Files of a checkout by their paths there, each with its path in the image."""

_BIN = ("/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin", "/bin")
_DIRECTORIES = (*_BIN, "/opt", "/srv")
_MADE = ".pushrod-made"
_PLACE = lazy(r"/(?!(?:bin|boot|dev|lib\w*|proc|run|sbin|sys|tmp|usr)(?:/|$))[\w.-]+(?:/[\w.-]+)*")
_MKDIR = lazy(r"\bmkdir\s+(?:-\S+\s+)*([^;&|]+)")
_CHMOD = lazy(r"\bchmod\s+(?:-\S+\s+)*([0-7]{3,4}|[ugoa]*\+[rwxX]*x[rwxX]*)\s+([^;&|]+)")


def copied(service: Service, recipe: Recipe, directory: str, checkout: Path) -> Copies:
    """The files that the Dockerfile copies to places where the working directory does not show them already."""
    sources: dict[str, str] = {}
    if service.build is None:
        return ()
    for copy in recipe.copies:
        for given in copy.sources:
            path = posixpath.normpath(posixpath.join(service.build.context, given.lstrip("/")))
            place = checkout / path
            if path.startswith("..") or not place.exists():
                continue
            into = (
                copy.destination.endswith("/") or len(copy.sources) > 1 or _is_known(copy.destination, recipe)
            )
            named = not place.is_dir() and into
            target = posixpath.join(copy.destination, place.name) if named else copy.destination.rstrip("/")
            if target and not _shows(recipe, checkout / directory, place, target):
                sources[target] = path
    return tuple((path, target) for target, path in sources.items())


def _is_known(destination: str, recipe: Recipe) -> bool:
    """Whether a path is certainly a directory of the image."""
    return destination == recipe.workdir or destination in _DIRECTORIES


def _shows(recipe: Recipe, directory: Path, place: Path, target: str) -> bool:
    inside = posixpath.relpath(target, recipe.workdir)
    shown = directory / inside
    return not inside.startswith("..") and shown.exists() and shown.samefile(place)


def placed(
    argv: Sequence[str], service: Service, recipe: Recipe, directory: str, checkout: Path
) -> tuple[str, ...]:
    """The argv with each word that is the path of a copied file as the path of that file from the service's
    directory; paths below the working directory stay. The program may also be named without its directory.
    """
    copies = copied(service, recipe, directory, checkout)

    def place(word: str) -> str:
        for path, target in copies:
            if word == target or word.startswith(f"{target}/"):
                inside = posixpath.relpath(path + word[len(target) :], directory)
                if (checkout / directory / inside).is_file():
                    return inside if inside.startswith("../") else f"./{inside}"
        return word

    program = next((t for _, t in copies if argv and t in [f"{d}/{argv[0]}" for d in _BIN]), "")
    words = (program, *argv[1:]) if program else argv
    return tuple(place(word) if word.startswith("/") else word for word in words)


def set_modes(service: Service, recipe: Recipe, directory: str, checkout: Path) -> None:
    """Make the files of the checkout executable that a RUN line of the Dockerfile makes so."""
    copies = {target: path for path, target in copied(service, recipe, directory, checkout)}
    for run in recipe.runs:
        for match in _CHMOD.finditer(run):
            if match[1].isdigit() and not int(match[1], 8) & 0o111:
                continue
            for word in match[2].split():
                target = posixpath.normpath(posixpath.join(recipe.workdir, _expanded(word, recipe)))
                inside = posixpath.relpath(target, recipe.workdir)
                path = copies.get(target) or ("" if inside.startswith("..") else f"{directory}/{inside}")
                _make_executable(checkout, path)


def make_directories(recipe: Recipe, directory: str, checkout: Path) -> None:
    """Make the directories below the working directory that a RUN line makes: a checkout has no empty ones."""
    for run in recipe.runs:
        for match in _MKDIR.finditer(run.replace("\\\n", " ")):
            for word in match[1].split():
                target = posixpath.normpath(posixpath.join(recipe.workdir, _expanded(word, recipe)))
                inside = posixpath.relpath(target, recipe.workdir)
                place = checkout / directory / inside
                plain = re.fullmatch(r"[\w./-]+", inside) and not inside.startswith("..")
                if plain and place.resolve().is_relative_to(checkout.resolve()):
                    with contextlib.suppress(FileExistsError, NotADirectoryError):
                        place.mkdir(parents=True, exist_ok=True)


def made(recipe: Recipe, directory: str, checkout: Path, account: Account | None) -> Copies:
    """The directories that a RUN line makes, for programs of the account to write to. Those elsewhere than below the
    working directory, which the machine lacks, are the checkout's own, and are returned.
    """
    own, inside = dict[str, str](), list[str]()
    for run in recipe.runs[: len(recipe.runs) - recipe.borrowed]:
        for match in _MKDIR.finditer(run.replace("\\\n", " ")):
            for word in match[1].split():
                target = posixpath.normpath(posixpath.join(recipe.workdir, _expanded(word, recipe)))
                below = posixpath.relpath(target, recipe.workdir)
                if not below.startswith(".."):
                    inside.append(posixpath.normpath(posixpath.join(directory, below)))
                elif _PLACE.fullmatch(target) and not os.path.lexists(target):
                    own[target] = f"{_MADE}/{quote(target, safe='')}"
    for path in own.values():
        (checkout / path).mkdir(parents=True, exist_ok=True)
    for place in (checkout / path for path in (*own.values(), *inside)):
        within = place.resolve().is_relative_to(checkout.resolve()) and not place.is_symlink()
        if within and place.is_dir() and not any(place.iterdir()):
            files.own(place, account)
    return tuple((path, target) for target, path in sorted(own.items()))


def _expanded(word: str, recipe: Recipe) -> str:
    """A word of a shell with the image's own variables."""
    return re.sub(
        r"\$(?:\{(\w+)\}|(\w+))", lambda m: recipe.environment.get(m[1] or m[2], m[0]), word.strip("\"'")
    )


def _make_executable(checkout: Path, path: str) -> None:
    """Only a file of the checkout itself: not what a link in it leads to."""
    place = checkout / path
    if not path or not place.is_file() or place.resolve() != checkout.resolve() / os.path.normpath(path):
        return
    place.chmod(place.stat().st_mode | 0o111)
