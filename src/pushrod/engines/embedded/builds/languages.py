"""Requirements of programs that another program interprets: the file to run, and dependencies that only the
language's own installer provides.

The embedded engine installs only what a lock of Python or Node.js names, and has only the commit's files of an image.
Files that only a build of the image would create are reported by name before anything starts.
"""

import json
import posixpath
from collections.abc import Callable, Sequence
from pathlib import Path

from pushrod.core.errors import BuildError
from pushrod.core.patterns import lazy
from pushrod.engines.embedded.commands import called

_INTERPRETERS = lazy(r"python[0-9.]*|node|bun|deno|ruby|perl|php|java|(?:ba|da|a|k|z)?sh")
_FILES = lazy(r"[\w./@+-]+\.(?:py|js|mjs|cjs|ts|rb|pl|php|jar|sh)")
_NODE = frozenset(
    ("node", "npm", "npx", "yarn", "pnpm", "bun", "next", "nuxt", "vite", "nest", "tsx", "ts-node")
)
_DOCKER = "an image that is built needs the Docker engine"


def placed(argv: Sequence[str], directory: Path, workdir: str) -> tuple[str, ...]:
    """The argv with an interpreter's file, given by its path in the container, translated to the commit's file."""
    at = _file(argv)
    if not at or not argv[at].startswith("/") or Path(argv[at]).is_file():
        return tuple(argv)
    inside = posixpath.relpath(argv[at], workdir)
    there = not inside.startswith("..") and (directory / inside).is_file()
    return (*argv[:at], inside, *argv[at + 1 :]) if there else tuple(argv)


def check(
    service: str, argv: Sequence[str], directory: Path, shown: Callable[[str], bool] = lambda _: False
) -> None:
    """Raise BuildError if an argv runs a file that does not exist, or a program without its dependencies. `shown`
    returns whether the program will see a path all the same.
    """
    at = _file(argv)
    if at and not (directory / argv[at]).is_file() and not shown(argv[at]):
        raise BuildError(
            f"{service}: it runs `{argv[at]}`, which is not in the commit",
            where=f"services.{service}.command",
            hint="commit the file, or use its path in the commit; files created by an image build do not exist here: "
            f"{_DOCKER}",
        )
    programs = {posixpath.basename(program) for program in called(argv)}
    if programs & _NODE and _has_dependencies(directory / "package.json", "dependencies"):
        _installed(service, directory, "package.json", "node_modules", ".pnp.cjs")
    if "php" in programs and _has_dependencies(directory / "composer.json", "require", "/"):
        _installed(service, directory, "composer.json", "vendor")


def _file(argv: Sequence[str]) -> int:
    """The index in an argv of the file that an interpreter runs; 0 if there is none."""
    if not argv or not _INTERPRETERS.fullmatch(posixpath.basename(argv[0])):
        return 0
    first = next((n for n, word in enumerate(argv[1:], 1) if word not in ("-u", "-jar", "-B", "-O")), 0)
    return first if first and _FILES.fullmatch(argv[first]) else 0


def _has_dependencies(path: Path, key: str, part: str = "") -> bool:
    """Whether a language's own dependency file names dependencies."""
    try:
        named = json.loads(path.read_text(errors="replace")).get(key)
    except (OSError, ValueError, AttributeError):
        return False
    return isinstance(named, dict) and any(part in name for name in named)


def _installed(service: str, directory: Path, file: str, *places: str) -> None:
    if not any((above / place).exists() for above in (directory, *directory.parents) for place in places):
        node = file == "package.json"
        raise BuildError(
            f"{service}: its dependencies are in {file}, "
            + ("without a lock" if node else "and the embedded engine installs only Python's and Node.js's"),
            where=f"services.{service}",
            hint=("commit package-lock.json, which `npm install` makes, or " if node else "commit ")
            + f"{places[0]}, or deploy to a host with Docker: {_DOCKER}",
        )
