"""What a program needs that is run by another one: the file that it is in, and what only its language's own installer
brings.

The embedded engine installs what Python programs need, and nothing else; of an image it runs what the commit has. So
what only a build of the image would make is missed before anything starts, by its name.
"""

import json
import posixpath
import re
from collections.abc import Sequence
from pathlib import Path

from pushrod.core.errors import BuildError
from pushrod.engines.embedded.commands import called

_INTERPRETERS = re.compile(r"python[0-9.]*|node|bun|deno|ruby|perl|php|java")
_FILES = re.compile(r"[\w./@+-]+\.(?:py|js|mjs|cjs|ts|rb|pl|php|jar)")
_NODE = frozenset(
    ("node", "npm", "npx", "yarn", "pnpm", "bun", "next", "nuxt", "vite", "nest", "tsx", "ts-node")
)
_DOCKER = "an image that is built needs the Docker engine"


def placed(argv: Sequence[str], directory: Path, workdir: str) -> tuple[str, ...]:
    """The argv with the file that an interpreter is given by its path in the container as the commit has it."""
    at = _file(argv)
    if not at or not argv[at].startswith("/") or Path(argv[at]).is_file():
        return tuple(argv)
    inside = posixpath.relpath(argv[at], workdir)
    there = not inside.startswith("..") and (directory / inside).is_file()
    return (*argv[:at], inside, *argv[at + 1 :]) if there else tuple(argv)


def check(service: str, argv: Sequence[str], directory: Path) -> None:
    """Raise BuildError where an argv runs a file that is not there, or a program without its dependencies."""
    at = _file(argv)
    if at and not (directory / argv[at]).is_file():
        raise BuildError(
            f"{service}: it runs `{argv[at]}`, which the commit does not have",
            where=f"services.{service}.command",
            hint=f"commit the file, or name it by its path there; what a build makes is not here: {_DOCKER}",
        )
    programs = {posixpath.basename(program) for program in called(argv)}
    if programs & _NODE and _wants(directory / "package.json", "dependencies"):
        _installed(service, directory, "package.json", "node_modules", ".pnp.cjs")
    if "php" in programs and _wants(directory / "composer.json", "require", "/"):
        _installed(service, directory, "composer.json", "vendor")


def _file(argv: Sequence[str]) -> int:
    """Where in an argv the file stands that an interpreter is to run; 0 where there is none."""
    if not argv or not _INTERPRETERS.fullmatch(posixpath.basename(argv[0])):
        return 0
    first = next((n for n, word in enumerate(argv[1:], 1) if word not in ("-u", "-jar", "-B", "-O")), 0)
    return first if first and _FILES.fullmatch(argv[first]) else 0


def _wants(path: Path, key: str, part: str = "") -> bool:
    """Whether a file of a language's own form names dependencies."""
    try:
        named = json.loads(path.read_text(errors="replace")).get(key)
    except (OSError, ValueError, AttributeError):
        return False
    return isinstance(named, dict) and any(part in name for name in named)


def _installed(service: str, directory: Path, file: str, *places: str) -> None:
    if not any((above / place).exists() for above in (directory, *directory.parents) for place in places):
        raise BuildError(
            f"{service}: its dependencies are those of {file}, and the embedded engine installs Python's alone",
            where=f"services.{service}",
            hint=f"commit {places[0]}, or deploy to a host with Docker: {_DOCKER}",
        )
