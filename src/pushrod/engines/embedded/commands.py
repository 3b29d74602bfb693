"""How a service runs without a container: its argv, environment and port.

Everything is pure except `find`, which looks for programs on disk.

Compose's semantics apply: `entrypoint` replaces the image's ENTRYPOINT and drops its CMD, `command` replaces its CMD.
What only a container needs is removed: an init such as tini, and `uv run`, because the environment exists already.
"""

import os
import posixpath
import re
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pushrod.adapters import dockerfile
from pushrod.adapters.dockerfile import Recipe
from pushrod.core.errors import BuildError, ManifestError
from pushrod.core.patterns import lazy
from pushrod.core.values import Service

# Where the machine's programs are searched, after those of the image: without a login shell's additions, so that a
# push over SSH and a command in a terminal find the same.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# These variables of an image refer to the container's file system.
_CONTAINER_ONLY = frozenset({"PATH", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "HOME"})
_INITS = frozenset({"tini", "dumb-init", "catatonit"})
_SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "zsh"})
# `uv run` and the like in front of a program, with options that take no value.
_FLAGS = r"(?:(?:--(?:frozen|locked|no-sync|no-dev|no-project|offline|quiet|no-progress|active)|-q|--)\s+)*"
_RUNNER = lazy(rf"\b(?:uv\s+run|poetry\s+run|pipenv\s+run|pdm\s+run)\s+{_FLAGS}(?=[\w./])")
_PROCESS = lazy(r"^([A-Za-z0-9_-]+):\s*(\S.*)$", re.MULTILINE)
_PLAIN = lazy(r"[\w@%+=:,./ \t-]*(?:\$\{?PORT\}?[\w@%+=:,./ \t-]*)*")  # readable without a shell


class Command(NamedTuple):
    """What runs a service: its argv, and the environment from its Dockerfile."""

    argv: tuple[str, ...]
    environment: dict[str, str]


class Bound(NamedTuple):
    """What one instance runs. `replaced` is the container port that its argv named and no longer does (0: none)."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    replaced: int = 0


def resolve(service: Service, dockerfile_text: str | None, procfile_text: str | None) -> Command:
    """The argv and environment of a service: from the manifest, else the Dockerfile, else the Procfile's line for it
    or `web`.

    Raises ManifestError if none of them has a command, or the Dockerfile cannot be parsed.
    """
    recipe = recipe_of(service, dockerfile_text)
    argv = _composed(service, recipe) or _procfile(procfile_text or "", service.name)
    if not argv:
        raise ManifestError(
            "no command: neither the manifest, nor a Dockerfile, nor a Procfile names one",
            where=f"services.{service.name}",
            hint="write `command:` in the service",
        )
    return Command(unwrapped(argv), kept(recipe.environment))


def recipe_of(service: Service, dockerfile_text: str | None) -> Recipe:
    """The parsed Dockerfile of a service; an empty recipe if there is none."""
    if dockerfile_text is None or service.build is None:
        return Recipe()
    where = posixpath.normpath(posixpath.join(service.build.context, service.build.dockerfile))
    return dockerfile.read(dockerfile_text, target=service.build.target, where=where)


def unwrapped(argv: Sequence[str]) -> tuple[str, ...]:
    """The argv without an init or `uv run` in front of it, also inside a shell's script."""
    words = list(argv)
    while words and posixpath.basename(words[0]) in _INITS:
        words = words[1:]
        while words and words[0].startswith("-"):
            words = words[1:]
    at = _script(words)
    if at:
        words[at] = _RUNNER.sub("", words[at])
        return tuple(words)
    line = " ".join(words[:8])
    runner = _RUNNER.match(line)
    return tuple(words[len(runner[0].split()) :] if runner else words)


def _composed(service: Service, recipe: Recipe) -> tuple[str, ...]:
    if service.entrypoint:
        return (*service.entrypoint, *service.command)
    if recipe.entrypoint[:2] == recipe.shell and len(recipe.entrypoint) == 3:
        return recipe.entrypoint  # the shell form takes no arguments
    command = service.command or recipe.command
    return (*recipe.entrypoint, *command)


def kept(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of an image that mean something outside its container."""
    return {n: v for n, v in environment.items() if n not in _CONTAINER_ONLY and not n.startswith("UV_")}


def _procfile(text: str, name: str) -> tuple[str, ...]:
    lines = {match[1]: match[2].strip() for match in _PROCESS.finditer(text)}
    line = lines.get(name) or lines.get("web")
    if not line:
        return ()
    if _PLAIN.fullmatch(line) and "=" not in line.split()[0]:
        return tuple(shlex.split(line))
    return ("/bin/sh", "-c", line)


def script(argv: Sequence[str]) -> str:
    """The script of a shell that an argv runs; empty if it runs none."""
    at = _script(argv)
    return argv[at] if at else ""


def _script(argv: Sequence[str]) -> int:
    """The index of a shell's script in an argv; 0 if it runs no shell."""
    if not argv or posixpath.basename(argv[0]) not in _SHELLS:
        return 0
    for at, word in enumerate(argv[1:-1], 1):
        if re.fullmatch(r"-[a-z]*c", word):
            return at + 1
        if not word.startswith("-"):
            break
    return 0


# ---- the program ----------------------------------------------------------------------------------------------


def find(
    service: str,
    argv: Sequence[str],
    path: str,
    *,
    directory: Path | None = None,
    workdir: str = "/",
    key: str = "command",
    may_have: Callable[[str], bool] = lambda _: False,
) -> tuple[str, ...]:
    """The argv with its program found on `path`, which begins with the image's own directory.

    A program given by a container path is translated: in a `bin` directory to the program of that name, below
    `workdir` to the file in `directory`, where the service runs. `directory` None leaves a relative path unchanged.
    `key` is the program's key in the manifest. `may_have` returns, if the image is not built yet, whether it may have
    a program of that name. Raises BuildError, naming service and program.
    """
    argv = unwrapped(argv)
    program = argv[0]
    name = posixpath.basename(program)
    located = _program(program, path, directory, workdir)
    if located is None and not (_is_in_bin(program) and may_have(name)):
        raise BuildError(
            f"{service}: its program `{program}` is neither in its Python environment nor on this machine",
            where=f"services.{service}.{key}",
            hint=f"add the package with `{name}` to the service's dependencies, or install it here; a program "
            "that only its image has needs the Docker engine",
        )
    return (located or program, *argv[1:])


def _program(program: str, path: str, directory: Path | None, workdir: str) -> str | None:
    """The path of an argv's program; None if it does not exist."""
    if "/" not in program:
        return shutil.which(program, path=path)
    if not program.startswith("/"):
        return program if directory is None else _inside(directory, program)
    place = shutil.which(posixpath.basename(program), path=path) if _is_in_bin(program) else None
    place = place or shutil.which(program)
    copied = posixpath.relpath(program, workdir)
    if place is None and directory is not None and not copied.startswith(".."):
        return _inside(directory, copied)
    return place


def _is_in_bin(program: str) -> bool:
    """Whether a program, by its name or its path, may be one of the image's own."""
    return "/" not in program or posixpath.basename(posixpath.dirname(program)) in ("bin", "sbin")


def _inside(directory: Path, program: str) -> str | None:
    """A program of the checkout by its path relative to the service's working directory."""
    path = directory / program
    return f"./{posixpath.normpath(program)}" if path.is_file() and os.access(path, os.X_OK) else None


# Builtins of a shell in a script that runs one program after the other.
_SHELLS_OWN = frozenset(
    (".", "cd", "echo", "exec", "export", "printf", "set", "source", "true", "ulimit", "umask")
)
_CONDITIONS = frozenset(("command", "false", "if", "test", "type", "which", "hash"))
_SIMPLE = lazy(r"(?:exec\s+)?((?:/[\w.-]+)+|[A-Za-z][\w.-]*)(?:\s+[^|&;<>()`\n\\]*)?")


def called(argv: Sequence[str]) -> list[str]:
    """The programs that an argv runs: its own and, if that is a shell, those that its script runs one after the
    other, by name or absolute path. Nothing for scripts that do more, or for login shells.
    """
    at = _script(argv)
    at = 0 if at and re.search("[il]", argv[at - 1]) else at
    parts = [_SIMPLE.fullmatch(part.strip()) for part in argv[at].split("&&")] if at else []
    names = [m[1] for m in parts if m]
    plain = len(names) == len(parts) and not _CONDITIONS & {*names}
    return [argv[0], *(name for name in names if name not in _SHELLS_OWN and plain)]


# ---- the port ---------------------------------------------------------------------------------------------------

_ANY = r"(?:0\.0\.0\.0|127\.0\.0\.1|localhost|\[::1?\]|\*|0)"  # hosts that mean the instance itself
_OPTION = lazy(r"(--?[A-Za-z][\w-]*)(?:\s+|=)[\"']?$")
_LISTENS = lazy(r"port|bind|listen|addr|host|http|serve|^-[pbl]$", re.IGNORECASE)
_PORT_VARIABLE = lazy(r"\$(?:PORT\b|\{PORT(?::?[-=][^}]*)?\})")
_PORT_NAMED = lazy(
    r"(?:^|\s)(?:--(?:[a-z]+-)*(?:port|bind|listen)[ =]|-[pbl] ?|runserver |http\.server )"
    rf"[\"']?(?:{_ANY}?:)?(\d{{2,5}})\b"
    rf"|(?:^|[\s=/\"']){_ANY}?:(\d{{2,5}})\b"
)
# Servers that read their port from a variable of their own instead of an option; gunicorn reads PORT.
_PORT_VARIABLES = ("PORT", "UVICORN_PORT", "FLASK_RUN_PORT")


def bind(argv: Sequence[str], environment: Mapping[str, str], port: int, container_port: int) -> Bound:
    """The argv and environment of an instance that is given `port`; with port 0 nothing changes.

    The port replaces `$PORT`, `${PORT}` and `${PORT:-8000}`, except in a shell's script, where the shell does that;
    also the container port where the argv names it as the port to listen on (`--port 8000`, `0.0.0.0:8000`), in a
    script too. If the container port is unknown or not in the argv, the port on which the argv plainly listens is
    used instead. In the environment PORT is set, and every other `…PORT` that equals the container port follows.
    """
    if not port:
        return Bound(tuple(argv), dict(environment))
    at = _script(argv)
    words = [w if at and i == at else _PORT_VARIABLE.sub(str(port), w) for i, w in enumerate(argv)]
    variables = _port_variables(environment, port, container_port)
    for old in dict.fromkeys((container_port, port_named(argv))):
        bound = _replaced(words, at, old, port) if old else words
        if bound != words:
            return Bound(tuple(bound), variables, old)
    return Bound(tuple(words), variables)


def _port_variables(environment: Mapping[str, str], port: int, container_port: int) -> dict[str, str]:
    same = [n for n, v in environment.items() if n.endswith("PORT") and v == str(container_port)]
    return {**environment, **dict.fromkeys((*same, *_PORT_VARIABLES), str(port))}


def port_named(argv: Sequence[str]) -> int:
    """The port on which an argv plainly listens; 0 if there is none."""
    at = _script(argv)
    text = argv[at] if at else " ".join(argv)
    match = _PORT_NAMED.search(text)
    return int(match[1] or match[2]) if match else 0


def loopback(argv: Sequence[str]) -> tuple[str, ...]:
    """The argv listening on 127.0.0.1 instead of on every address: no container isolates it, and only the edge must
    reach it.
    """
    pattern = re.compile(r"(?<![\w.])0\.0\.0\.0(?![\w.])")
    return tuple(pattern.sub("127.0.0.1", word) for word in argv)


def _replaced(words: Sequence[str], at: int, old: int, new: int) -> list[str]:
    """The words with `old` replaced wherever it is the port or address to listen on."""
    if at:
        return [_in_text(w, "", old, new) if i == at else w for i, w in enumerate(words)]
    return [
        _in_text(word, f"{before} " if before.startswith("-") else "", old, new)
        for before, word in zip(("", *words), words, strict=False)
    ]


def _in_text(text: str, before: str, old: int, new: int) -> str:
    """Replace in one word; `before` is the option in front of it, which shows whether a bare number is a port."""
    host = rf"{_ANY}?:|/dev/tcp/{_ANY}/"  # the second is bash's
    pattern = re.compile(rf"(?:(?<=[\s=\"'/,<>])|^)({host})?{old}(?=$|[\s\"'/,;)&|])")

    def value(match: re.Match[str]) -> str:
        host = match[1] or ""
        option = _OPTION.search(before + text[: match.start()])
        if not host and (text[: match.start()].endswith("/") or (option and not _LISTENS.search(option[1]))):
            return match[0]
        return f"{host}{new}"

    return pattern.sub(value, text)
