"""Images of the embedded engine: for each service a Python environment with exactly its locked dependencies.

An environment is named by a digest of its inputs, is in `<environments>/<digest>`, and is built once; the code itself
stays in the release's checkout. It is built in its final place, because a Python environment cannot be moved, and is
complete once its marker file exists, which is written last.
"""

import hashlib
import os
import posixpath
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pushrod.adapters.binaries import Parts
from pushrod.adapters.dockerfile import Recipe
from pushrod.core import lines
from pushrod.core.errors import BuildError, BusyError, ManifestError
from pushrod.core.values import Build, Image, Service
from pushrod.engines.embedded import commands, languages
from pushrod.system import files, locks, processes

_TIMEOUT = 600.0  # seconds for one run of uv
_MARKER = ".pushrod-complete"
_LOG_LINES = 30
_UNUSED_FOR = 86400.0  # seconds; a younger environment may belong to a release that is being prepared
_INCLUDED = re.compile(r"^\s*(?:-r|--requirement|-c|--constraint)[ =]*(\S+)", re.MULTILINE)
_LOCAL = re.compile(r"^\s*(?:-e|--editable|\.{1,2}(?:/|\[|\s*$)|file:|\S+\s*@\s*file:)", re.MULTILINE)
_LOCAL_IN_LOCK = re.compile(r"source = \{ (?:editable|directory) = \"(?!\.\")")
# Git sets these for its hooks; a `git` that uv runs would mistake our repository for its own.
_OF_HOOKS = frozenset(
    {
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_PREFIX",
        "GIT_QUARANTINE_PATH",
        "GIT_OBJECT_DIRECTORY",
    }
    | {"GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_EXEC_PATH"}
)


class _Lock(NamedTuple):
    """What an environment is made from: the kind of lock, its files (absolute), and the directory for uv."""

    kind: str
    files: tuple[Path, ...]
    directory: Path
    local: bool = False  # packages of the checkout itself are dependencies too


class _Source(NamedTuple):
    """A service in the checkout: its directory, lock and command."""

    command: commands.Command
    recipe: Recipe
    directory: str
    lock: _Lock | None
    identity: str


def build(service: Service, checkout: Path, environments: Path, on_line: Callable[[str], None]) -> Image:
    """The image of a service: its environment, built unless it exists, and its command.

    `on_line` receives uv's output. Raises BuildError if dependencies cannot be installed or the program does not
    exist, ManifestError if the embedded engine cannot run the service or its Dockerfile.
    """
    source = _source(service, checkout)
    if not _runs(service):
        return Image(id=source.identity)
    place = None
    if source.lock is not None:
        place = _environment(service, source, checkout, environments, on_line)
    argv = _with_program(service, source, checkout, place)
    program = argv[0]
    path = f"{place}/bin{os.pathsep}{commands.PATH}" if place else commands.PATH
    if shutil.which(name := posixpath.basename(program), path=path) == program:
        program = name  # the name is unique, and easier to read
    return Image(
        id=source.identity,
        location=str(place or ""),
        command=(program, *argv[1:]),
        environment=source.command.environment,
        directory=source.directory,
    )


def identify(service: Service, checkout: Path) -> str:
    """The identity of the image that `build` would return, without building it. Raises like `build`."""
    return _source(service, checkout).identity


def check(service: Service, checkout: Path, environments: Path) -> None:
    """Refuse what `build` would refuse, as far as that is known before dependencies are installed. Raises like
    `build`.
    """
    source = _source(service, checkout)
    if not _runs(service):
        return
    lock, place = source.lock, environments / source.identity
    if lock is not None and _complete(place):
        _with_program(service, source, checkout, place)
    elif lock is not None and lock.files:
        _with_program(service, source, checkout, None, lambda _: True)
    else:
        python = re.compile(r"python[0-9.]*" if lock else "")
        _with_program(service, source, checkout, None, lambda name: python.fullmatch(name) is not None)


def _with_program(
    service: Service,
    source: _Source,
    checkout: Path,
    environment: Path | None,
    may_have: Callable[[str], bool] = lambda _: False,
) -> tuple[str, ...]:
    """The argv of a service with its program found; also checks the program of its release command."""
    directory, workdir = checkout / source.directory, source.recipe.workdir
    path = f"{environment}/bin{os.pathsep}{commands.PATH}" if environment else commands.PATH
    find = partial(
        commands.find, service.name, path=path, directory=directory, workdir=workdir, may_have=may_have
    )
    if service.release:
        find(service.release, key="x-pushrod.release")  # checked now, not after the stores have started
    for program in commands.called(source.command.argv)[1:]:
        # a script is not changed, so its paths must be valid on this machine
        find((program,), directory=None)
    argv = languages.placed(find(source.command.argv), directory, workdir)
    languages.check(service.name, argv, directory)
    return argv


def remove_unused(environments: Path, used: Collection[str]) -> list[str]:
    """Remove the environments whose identity is not in `used`; returns the removed ones."""
    removed = []
    for place in sorted(environments.iterdir()) if environments.is_dir() else ():
        marker = place / _MARKER
        if place.name in used or not marker.exists() or time.time() - marker.stat().st_mtime < _UNUSED_FOR:
            continue
        if _remove(place):
            removed.append(place.name)
    return removed


# ---- the checkout ---------------------------------------------------------------------------------------------


def _runs(service: Service) -> bool:
    """Whether a service runs at all; one without replicas often only names an image for others."""
    return bool(service.replicas or service.release)


def _source(service: Service, checkout: Path) -> _Source:
    if not _runs(service):
        return _Source(commands.Command((), {}), Recipe(), ".", None, _identity(None, checkout))
    context = service.build.context if service.build else "."
    text = _text(checkout / context / service.build.dockerfile) if service.build else None
    recipe = commands.recipe_of(service, text)
    directory = _directory(service.build, recipe, checkout)
    procfile = next((t for d in (directory, context, ".") if (t := _text(checkout / d / "Procfile"))), None)
    if service.build is None and not (service.command or service.entrypoint):
        raise ManifestError(
            f"{service.name} runs the image {service.image}, which the embedded engine cannot pull",
            where=f"services.{service.name}.image",
            hint="deploy this app to a host with Docker, or give the service a `build:`, or a `command:` whose "
            "program is installed here",
        )
    command = commands.resolve(service, text, procfile)
    places = _places(service.build, directory, checkout) if service.build else []
    lock = _lock(places, recipe.requirements, checkout)
    if lock is None and _is_python(command.argv, checkout / directory):
        lock = _Lock("nothing", (), checkout / directory)
    return _Source(command, recipe, directory, lock, _identity(lock, checkout))


def _text(path: Path) -> str | None:
    return path.read_text(errors="replace") if path.is_file() else None


def _directory(build: Build | None, recipe: Recipe, checkout: Path) -> str:
    """The directory of the checkout that corresponds to the image's working directory.

    This is the one that the Dockerfile copies there; else the context, or the Dockerfile's own directory if only that
    one looks like a project (a context of `.` with `dockerfile: backend/Dockerfile`).
    """
    if build is None:
        return "."
    copied = [s for c in recipe.copies if c.destination.rstrip("/") == recipe.workdir for s in c.sources]
    inside = [posixpath.normpath(posixpath.join(build.context, source.lstrip("/"))) for source in copied]
    directories = [d for d in inside if not d.startswith("..") and (checkout / d).is_dir()]
    if directories:
        return build.context if build.context in directories else directories[0]
    own = posixpath.normpath(posixpath.join(build.context, posixpath.dirname(build.dockerfile)))
    if (
        not _has_project(checkout / build.context)
        and not own.startswith("..")
        and _has_project(checkout / own)
    ):
        return own
    return build.context


def _has_project(directory: Path) -> bool:
    return any(
        (directory / name).is_file() for name in ("uv.lock", "requirements.txt", "pyproject.toml", "Procfile")
    )


def _places(build: Build, directory: str, checkout: Path) -> list[Path]:
    """Directories where dependencies may be declared, the likeliest first."""
    own = posixpath.normpath(posixpath.join(build.context, posixpath.dirname(build.dockerfile)))
    inside = [d for d in (directory, build.context, own) if not d.startswith("..")]
    return [checkout / d for d in dict.fromkeys(inside)]


def _lock(places: Sequence[Path], named: Sequence[str], checkout: Path) -> _Lock | None:
    """uv.lock, else the requirement files that the Dockerfile installs or requirements.txt, else pyproject.toml."""
    for place in places:
        if (place / "uv.lock").is_file() and (place / "pyproject.toml").is_file():
            members = _LOCAL_IN_LOCK.search((place / "uv.lock").read_text(errors="replace"))
            return _Lock("uv.lock", (place / "uv.lock", place / "pyproject.toml"), place, bool(members))
    chosen = [path for name in dict.fromkeys(named) if (path := _named(places, name))]
    for place in places:
        files = tuple(chosen) or tuple(f for f in (place / "requirements.txt",) if f.is_file())
        if files:
            local = any(_LOCAL.search(f.read_text(errors="replace")) for f in _with_included(files))
            return _Lock("requirements", files, files[0].parent if chosen else place, local)
        if (place / "pyproject.toml").is_file() and _declares(place / "pyproject.toml", checkout):
            return _Lock("pyproject", (place / "pyproject.toml",), place)
    return None


def _named(places: Sequence[Path], name: str) -> Path | None:
    """The file of the checkout that a Dockerfile installs from, which may have copied it to another directory."""
    parts = posixpath.normpath(name).strip("/").split("/")
    endings = ["/".join(parts[i:]) for i in range(len(parts)) if parts[i] != ".."]
    return next((place / e for e in endings for place in places if (place / e).is_file()), None)


def _declares(file: Path, checkout: Path) -> bool:
    """Whether a pyproject.toml has dependencies that uv can read. Raises ManifestError if only Poetry can."""
    import tomllib

    where = str(file.relative_to(checkout))
    try:
        project = tomllib.loads(file.read_text(errors="replace"))
    except tomllib.TOMLDecodeError as e:
        raise ManifestError(f"not valid TOML: {e}", where=where, hint="fix that line") from e
    if "project" not in project and "poetry" in project.get("tool", {}):
        raise ManifestError(
            "its dependencies are in Poetry's own format, which only Poetry can install",
            where=where,
            hint="poetry export -f requirements.txt -o requirements.txt, and commit it; or move them to [project]",
        )
    return "project" in project


def _is_python(argv: Sequence[str], directory: Path) -> bool:
    words = shlex.join(argv)
    return bool(re.search(r"(?:^|[\s/'\"])python[0-9.]*(?:$|[\s'\"])", words)) or any(directory.glob("*.py"))


def _identity(lock: _Lock | None, checkout: Path) -> str:
    """A digest of the interpreter, the machine, and every file that determines what is installed."""
    digest = hashlib.sha256()

    def add(*words: str | bytes) -> None:
        for word in words:
            raw = word.encode() if isinstance(word, str) else word
            digest.update(len(raw).to_bytes(8, "big") + raw)

    machine = os.uname()
    add(
        "1",
        sys.implementation.name,
        sys.version,
        _interpreter(),
        machine.sysname,
        machine.machine,
    )
    if lock is not None:
        add(lock.kind)
        for file in _with_included(lock.files):
            add(os.path.relpath(file, lock.directory), file.read_bytes())
        for file in _tree(checkout) if lock.local else ():
            add(os.path.relpath(file, checkout), file.read_bytes())
    return digest.hexdigest()[:24]


def _with_included(files: Iterable[Path]) -> list[Path]:
    """Requirement files and those that they include, once each."""
    seen: dict[Path, None] = {}
    waiting = list(files)
    while waiting:
        file = waiting.pop(0)
        if file in seen or not file.is_file():
            continue
        seen[file] = None
        if file.suffix in (".txt", ".in", ".pip"):
            names = _INCLUDED.findall(file.read_text(errors="replace"))
            waiting += [Path(os.path.normpath(file.parent / name)) for name in names if "://" not in name]
    return list(seen)


def _tree(directory: Path) -> list[Path]:
    return sorted(
        p for p in directory.rglob("*") if p.is_file() and not p.is_symlink() and ".git" not in p.parts
    )


# ---- the environment ------------------------------------------------------------------------------------------


def _environment(
    service: Service, source: _Source, checkout: Path, environments: Path, on_line: Callable[[str], None]
) -> Path:
    """The directory of a complete environment; waits if another command is building it."""
    place = environments / source.identity
    marker = place / _MARKER
    if _complete(place):
        os.utime(marker)
        return place
    files.make_open(environments)
    purpose = f"installing the dependencies of {service.name}"
    with locks.lock(_lock_file(place), purpose=purpose, timeout=2 * _TIMEOUT, on_wait=on_line):
        if not _complete(place):
            _remove_interrupted(environments)
            files.remove_tree(place)
            try:
                _install(service, source, checkout, place, on_line)
                files.sync_all()
                files.write(marker, _interpreter())
            finally:
                if not _complete(place):
                    files.remove_tree(place)
    return place


def _complete(place: Path) -> bool:
    return (place / _MARKER).exists()


def _lock_file(place: Path) -> Path:
    return place.with_name(f"{place.name}.lock")


def _remove_interrupted(environments: Path) -> None:
    """Remove what an interrupted build left; a running build holds its lock."""
    for place in list(environments.iterdir()):
        if place.is_dir() and not _complete(place):
            _remove(place)


def _remove(place: Path) -> bool:
    """Remove an environment unless somebody is building it. The marker goes first, so that no partial one is ever
    used.
    """
    try:
        with locks.lock(_lock_file(place), purpose="removing it", timeout=0):
            (place / _MARKER).unlink(missing_ok=True)
            files.remove_tree(place)
    except BusyError:
        return False
    return True


def _install(
    service: Service, source: _Source, checkout: Path, place: Path, on_line: Callable[[str], None]
) -> None:
    lock = source.lock
    if lock is None:
        return
    names = [os.path.relpath(f, checkout) for f in lock.files]
    if names:
        on_line(f"{service.name}: installing from {names[0]}")

    def print_line(line: str) -> None:
        if not line.startswith(" + "):  # uv lists every package it has installed
            on_line(line)

    for argv in _argvs(lock, place):
        env = _uv_environment(os.environ, place)
        # It dies with us, so that it does not write into the next build.
        guarded = processes.as_account(argv, None, death_signal="KILL")
        result = processes.run(
            guarded, cwd=lock.directory, env=env, timeout=_TIMEOUT, on_line=print_line, umask=0o022
        )
        if result.status:
            raise BuildError(
                f"{service.name}: its dependencies cannot be installed",
                where=names[0] if names else f"services.{service.name}",
                hint="the last lines above are uv's output; fix the requirements, commit and push again",
                log=tuple(lines.split(result.stdout)[-_LOG_LINES:]),
            )


def _argvs(lock: _Lock, place: Path) -> list[list[str]]:
    """The argvs of uv that create an environment at `place`."""
    uv, python = str(Parts().uv), _interpreter()
    if lock.kind == "uv.lock":
        flags = ["--frozen", "--no-dev", "--no-install-project", "--no-editable"]
        return [[uv, "sync", *flags, "--python", python]]
    made = [uv, "venv", "--quiet", "--no-project", "--python", python, str(place)]
    if not lock.files:
        return [made]
    install = [uv, "pip", "install", "--python", str(place / "bin" / "python")]
    if any("--hash=" in f.read_text(errors="replace") for f in lock.files):
        install.append("--require-hashes")
    if lock.local:
        install.append("--no-editable")
    return [made, [*install, *(word for f in lock.files for word in ("-r", str(f)))]]


def _interpreter() -> str:
    """The Python interpreter below pushrod's own environment, which outlives an upgrade of pushrod."""
    return str(getattr(sys, "_base_executable", "") or sys.executable)


def _uv_environment(given: Mapping[str, str], place: Path) -> dict[str, str]:
    """The user's environment (proxies, certificates, indexes, uv's settings) without variables that would mislead
    uv.
    """
    kept = {
        name: value
        for name, value in given.items()
        if name not in _OF_HOOKS
        and name not in ("VIRTUAL_ENV", "CONDA_PREFIX")
        and not name.startswith("PYTHON")
    }
    return kept | {
        "UV_PROJECT_ENVIRONMENT": str(place),
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "1",
        "UV_COMPILE_BYTECODE": "1",
        "NO_COLOR": "1",
    }
