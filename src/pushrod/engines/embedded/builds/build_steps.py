"""RUN lines of a Dockerfile that concern more than Python's packages: programs of the project that are run once, and
packages of the system.

The project's own programs (`python manage.py collectstatic`) run in the release's copy of the commit. As root they
run as the children's account in a copy of it, and what they write there is taken over: the commit's files do not
belong to that account. Packages of the system are not installed: those without which an app cannot work must be on
the machine.
"""

import contextlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pushrod.adapters.dockerfile import Recipe
from pushrod.core import lines
from pushrod.core.errors import BuildError
from pushrod.core.patterns import lazy
from pushrod.core.values import Service
from pushrod.engines.embedded import commands
from pushrod.system import files, processes, trees
from pushrod.system.accounts import Account

_TIMEOUT = 600.0
_LOG_LINES = 30
_LARGEST = 256 << 20  # bytes of a file that a program of the project writes
_OWN = lazy(
    r"(?:[A-Za-z_]\w*=(?:'[^']*'|\"[^\"]*\"|[^\s'\"]*)\s+)*"
    r"(?:(?:uv|poetry|pipenv|pdm)\s+run\s+)?"
    r"(?:(?:/\S+/)?python[0-9.]*\s+(?:-[uBO]\s+)*(?P<file>[\w./-]+\.py)|(?P<direct>\./[\w./-]+\.py)|(?:flask|django-admin))\b.*"
)
_RUNNER = lazy(r"^(?P<variables>(?:\w+=\S*\s+)*)(?:uv|poetry|pipenv|pdm)\s+run\s+")
_INSTALLS = lazy(r"\b(?:apt-get|apt|apk|yum|dnf|microdnf)\s+(?:-\S+\s+)*(?:install|add)\s+([^;&|]+)")
# Programs that an app calls while it runs, by the packages that have them in Debian and Alpine.
_PROGRAMS = {
    "chromium": "chromium", "chromium-driver": "chromedriver", "ffmpeg": "ffmpeg", "firefox-esr": "firefox",
    "ghostscript": "gs", "graphviz": "dot", "imagemagick": "convert", "libreoffice": "soffice", "pandoc": "pandoc",
    "poppler-utils": "pdftotext", "tesseract-ocr": "tesseract", "wkhtmltopdf": "wkhtmltopdf",
}  # fmt: skip
# Packages that are only needed to build, or whose purpose the engine has itself.
_BUILDING = lazy(
    r".*-dev|.*-devel|build-essential|build-base|gcc|g\+\+|make|cmake|pkg-config|pkgconf|musl-dev|linux-headers|rustc|"
    r"cargo|python3?(-.*)?|ca-certificates|netcat.*|postgresql-client.*|libpq5?|tini|dumb-init|"
    r"apt-transport-https|gnupg2?|software-properties-common|apt-utils|locales|tzdata|bash|git|curl|wget"
)


def own_programs(recipe: Recipe) -> list[str]:
    """The parts of RUN lines that run the project's own Python, in order, as a shell runs them."""
    programs = []
    for run in recipe.runs[: len(recipe.runs) - recipe.borrowed]:
        for part in re.split(r"&&|\n|;", run.replace("\\\n", " ")):
            if _OWN.fullmatch(part.strip()):
                programs.append(_RUNNER.sub(r"\g<variables>", part.strip()))
    return programs


def packages(recipe: Recipe) -> list[str]:
    """The packages of the system that the image has, except those that are only needed to build."""
    names: dict[str, None] = {}
    for run in recipe.runs[: len(recipe.runs) - recipe.borrowed]:
        for match in _INSTALLS.finditer(run.replace("\\\n", " ")):
            words = [w.partition("=")[0] for w in match[1].split() if not w.startswith("-")]
            names |= dict.fromkeys(w for w in words if re.fullmatch(r"[a-z0-9][\w.+-]*", w))
    return [name for name in names if not _BUILDING.fullmatch(name)]


def check(service: str, recipe: Recipe, finds: Callable[[str], str | None]) -> None:
    """Raise BuildError if a program of a package that the app needs while it runs is not on this machine."""
    lacking = {n: p for n in packages(recipe) if (p := _PROGRAMS.get(n)) and not finds(p)}
    if lacking:
        names = ", ".join(lacking)
        raise BuildError(
            f"{service}: its image installs {names}, and this machine has no {', '.join(lacking.values())}",
            where=f"services.{service}.build",
            hint=f"install it here (apt-get install {names.replace(',', '')}), or deploy to a host with Docker",
        )


def notes(service: Service, checkout: Path) -> Iterator[str]:
    """The note on packages of the system that are in the image of a service and not installed here."""
    place = checkout / service.build.context / service.build.dockerfile if service.build else None
    if place is None or not place.is_file():
        return
    recipe = commands.recipe_of(service, place.read_text(errors="replace"))
    if names := [n for n in packages(recipe) if n not in _PROGRAMS]:
        yield (
            f"{service.name}: packages that its image installs are not installed here, in case it needs them: "
            f"{', '.join(names)}"
        )


def run(
    service: str,
    programs: Sequence[str],
    directory: str,
    checkout: Path,
    environment: Mapping[str, str],
    account: Account | None,
    on_line: Callable[[str], None],
) -> None:
    """Run programs of the project in its directory of the checkout. Raises BuildError if one fails."""
    if account is None:
        _run(service, programs, checkout / directory, environment, None, on_line)
        return
    with tempfile.TemporaryDirectory(prefix="pushrod-build-") as place:
        copy = Path(place) / "code"
        shutil.copytree(checkout, copy, symlinks=True)
        Path(place).chmod(0o711)
        for path in (copy, *copy.rglob("*")):
            if not path.is_symlink():
                files.own(path, account)
        paths = {str(checkout / directory): str(copy / directory)}
        moved = {n: _replaced(v, paths) for n, v in environment.items()}
        _run(service, programs, copy / directory, moved, account, on_line)
        _take_over(copy, checkout)


def _replaced(value: str, paths: Mapping[str, str]) -> str:
    for old, new in paths.items():
        value = value.replace(old, new)
    return value


def _run(
    service: str,
    programs: Sequence[str],
    directory: Path,
    environment: Mapping[str, str],
    account: Account | None,
    on_line: Callable[[str], None],
) -> None:
    for program in programs:
        on_line(f"{service}: RUN {program}")
        argv = processes.as_account(["/bin/sh", "-c", program], account, death_signal="KILL")
        done = processes.run(argv, cwd=directory, env=environment, timeout=_TIMEOUT, on_line=on_line)
        if done.status:
            raise BuildError(
                f"{service}: `{program}`, a RUN line of its Dockerfile, ended with status {done.status}",
                where=f"services.{service}.build",
                hint="its last lines are above; an image build runs it without stores too",
                log=tuple(lines.split(done.stdout)[-_LOG_LINES:]),
            )


def _take_over(copy: Path, checkout: Path) -> None:
    """Write new and changed files of a copy into the checkout. Programs of the account may still change the copy, so
    it is read without leaving it.
    """
    for relative in trees.files(copy):
        target = checkout / relative
        if (copy / relative).is_symlink() or not target.resolve().is_relative_to(checkout.resolve()):
            continue
        with contextlib.suppress(OSError):  # it has gone meanwhile, or is not a regular file
            content = trees.read(copy, relative, _LARGEST)
            if target.is_symlink() or (target.is_file() and target.read_bytes() == content):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
            files.write(target, content, mode=mode)
