"""The path of a commit's compose file: at its top, as Compose finds it, or where the app's settings say.

A file in a directory follows Compose's own rules, like `docker compose -f deploy/compose.yaml`: only it is read (no
override file), and paths in it are relative to its directory.
"""

import itertools
import os
import re
from pathlib import Path

from pushrod.core.errors import ManifestError
from pushrod.core.patterns import lazy

FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")  # in Compose's own order
_OVERRIDES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)  # the override file, likewise
_ANY = lazy(
    r"(?:(?:docker|podman)-)?compose(?:[._-][\w.-]+)?\.ya?ml|(?:docker-)?stack(?:[._-][\w.-]+)?\.ya?ml",
    re.IGNORECASE,
)
# Words in names of files for a server, and of those for work on the app.
_PRODUCTION = frozenset(("deploy", "live", "prod", "production", "release", "server", "stack"))
_WORK = frozenset(
    ("ci", "debug", "dev", "devel", "development", "e2e", "local", "override", "test", "testing", "tests")
)
_PASSED_OVER = {".git", "node_modules", "vendor"}  # other projects' files
_DEEPEST, _MOST_FOLDERS, _MOST_NAMED = 4, 2000, 4


def compose_files(directory: Path, file: str = "", *, app: str = "APP") -> list[str]:
    """The compose file of a checkout, by `file` or by name, and its override file if Compose would read one.

    Raises ManifestError if it does not exist, listing those elsewhere; `app` is for the suggested command.
    """
    if file:
        return [_chosen(directory, file, app)]
    top = next((name for name in FILES if (directory / name).is_file()), "")
    if not top:
        raise _none(directory, app)
    return [top, *[name for name in _OVERRIDES if (directory / name).is_file()][:1]]


def passed_over(directory: Path, file: str = "") -> list[str]:
    """A note if a commit has several of the files that Compose looks for, because Compose reads only the first."""
    top, *others = [name for name in FILES if not file and (directory / name).is_file()] or [""]
    return [f"{', '.join(others)} is not read: {top} goes first, as in Compose"] if others else []


def elsewhere(directory: Path) -> list[str]:
    """Compose files in places where Compose does not look, the likeliest first. A large tree is not searched
    completely.
    """
    places = []
    for place, folders, names in itertools.islice(os.walk(directory), _MOST_FOLDERS):
        depth = 0 if Path(place) == directory else len(Path(place).relative_to(directory).parts)
        folders[:] = sorted(f for f in folders if f not in _PASSED_OVER) if depth < _DEEPEST else []
        places += [
            (depth, n, Path(place, n)) for n in names if _ANY.fullmatch(n) and "override" not in n.lower()
        ]
    regular = [
        (_unlikely(path.relative_to(directory)), depth, str(path.relative_to(directory)))
        for depth, _, path in places
        if not path.is_symlink()
    ]
    return [path for _, _, path in sorted(regular)]


def _unlikely(path: Path) -> int:
    """How unlikely a path is the one for a server, by the words in it: 0 to 3."""
    words = {*re.split(r"[\W_]+", str(path).lower())}
    if words & _WORK:
        return 3
    if path.name in FILES:
        return 0
    return 1 if words & _PRODUCTION else 2


def _chosen(directory: Path, file: str, app: str) -> str:
    """The file, which must be a regular one of the commit, with no link in its path."""
    top = directory.resolve()
    path = top / file
    if not path.is_relative_to(top) or not path.is_file() or path.resolve() != path:
        there = elsewhere(directory)
        hint = f"pushrod apps set {app} file={there[0]}; " if there else ""
        raise ManifestError(
            f"the commit has no file `{file}` (its compose file, by --file or by the app's settings)",
            where=f"there is {', '.join(there[:_MOST_NAMED])}" if there else "",
            hint=f"{hint}pushrod apps set {app} file= looks for it at the top again, --file reads another one once",
        )
    return file


def _none(directory: Path, app: str) -> ManifestError:
    looked = f"looked for {', '.join(FILES)} at the top of the commit"
    if not (there := elsewhere(directory)):
        return ManifestError(
            "no compose file",
            where=looked,
            hint="add a compose.yaml with the services, and commit it (`pushrod new` writes one to start from)",
        )
    return ManifestError(
        f"no compose file at the top of the commit; there is {', '.join(there[:_MOST_NAMED])}",
        where=looked,
        hint=f"pushrod apps set {app} file={there[0]}; or a compose.yaml at the top with `include: [{there[0]}]`",
    )
