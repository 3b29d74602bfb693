"""Images of the embedded engine: for each service a Python environment with exactly its locked dependencies, or what
is built from its sources for Java and Node.js.

An environment is named by a digest of its inputs, is in `<environments>/<digest>`, and is built once; the code itself
stays in the release's checkout.
"""

import os
import posixpath
import re
import shlex
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from pushrod.adapters.dockerfile import Recipe
from pushrod.core.errors import ManifestError
from pushrod.core.values import Build, Image, Service
from pushrod.engines import jvm
from pushrod.engines.embedded import commands, image_uses
from pushrod.engines.embedded.builds import (
    build_steps,
    image_paths,
    java,
    languages,
    projects,
    python_builds,
    python_locks,
)
from pushrod.engines.embedded.builds.environments import complete, make
from pushrod.engines.embedded.builds.projects import Project
from pushrod.engines.embedded.builds.python_locks import Lock
from pushrod.engines.embedded.volumes import Layout
from pushrod.manifest import mounts
from pushrod.system.accounts import Account


class _Source(NamedTuple):
    """A service in the checkout: its directory and command, and its lock, or the project that is built for it."""

    command: commands.Command
    recipe: Recipe
    directory: str
    lock: Lock | None
    identity: str
    project: Project | None = None


def build(
    service: Service,
    checkout: Path,
    environments: Path,
    on_line: Callable[[str], None],
    account: Account | None = None,
) -> Image:
    """The image of a service: its environment, built unless it exists, and its command.

    `on_line` receives uv's output; programs of the project run as `account`. Raises BuildError if dependencies cannot
    be installed or the program does not exist, ManifestError if the embedded engine cannot run the service or its
    Dockerfile.
    """
    source = _source(service, checkout)
    if not _runs(service):
        return Image(id=source.identity)
    place = None
    if source.lock is not None or source.project is not None:
        place = _environment(service, source, checkout, environments, on_line)
    directory = place / "run" if source.project and place else checkout / source.directory
    if source.project is None and (programs := build_steps.own_programs(source.recipe)):
        variables = {
            "PATH": commands.PATH,
            "LANG": "C.UTF-8",
            "PYTHONPATH": f"{directory}:{directory / 'src'}",
        }
        if place:
            variables |= {"PATH": f"{place}/bin{os.pathsep}{commands.PATH}", "VIRTUAL_ENV": str(place)}
        variables |= source.command.environment
        programs = [p.replace(f"{source.recipe.workdir}/", "./") for p in programs]
        build_steps.run(service.name, programs, source.directory, checkout, variables, account, on_line)
    argv = _with_program(service, source, checkout, directory, place)
    program = argv[0]
    path = f"{place}/bin{os.pathsep}{commands.PATH}" if place else commands.PATH
    if shutil.which(name := posixpath.basename(program), path=path) == program:
        program = name  # the name is unique, and easier to read
    return Image(
        id=source.identity,
        location=str(place or ""),
        command=(program, *argv[1:]),
        environment={**jvm.bounded(service.memory, argv), **source.command.environment},
        directory=str(directory) if source.project else source.directory,
        workdir=source.recipe.workdir,
        copies=()
        if source.project
        else (
            *image_paths.copied(service, source.recipe, source.directory, checkout),
            *image_paths.made(source.recipe, source.directory, checkout, account),
        ),
        port=source.recipe.port or commands.port_named(argv),
    )


def identify(service: Service, checkout: Path) -> str:
    """The identity of the image that `build` would return, without building it. Raises like `build`."""
    return _source(service, checkout).identity


def layout(service: Service, checkout: Path) -> Layout:
    """What the programs of a service will see of its image, before that is built. Raises like `build`."""
    source = _source(service, checkout)
    return Layout(source.recipe.workdir, checkout / source.directory, built=source.project is not None)


def port(service: Service, checkout: Path) -> int:
    """The port that the programs of a service are known to listen on; 0 if nothing names it. Raises like `build`."""
    source = _source(service, checkout)
    return service.port or source.recipe.port or commands.port_named(source.command.argv)


def uses(
    service: Service, names: Collection[str], known: Collection[str], checkout: Path
) -> Iterator[image_uses.Use]:
    """What a service certainly uses of a container: names of services, except as the default of a variable that is
    set (`known`, and its own), and paths of its image. Raises like `check`.
    """
    source = _source(service, checkout)
    directory = checkout / source.directory
    place = Layout(source.recipe.workdir, directory, built=source.project is not None)
    variables = {**source.recipe.environment, **service.environment}
    copies = image_paths.copied(service, source.recipe, source.directory, checkout)
    others = [checkout / path for path, _ in copies if (checkout / path).is_file()]
    yield from image_uses.names(names, {*known, *variables}, directory, others, checkout)
    if place.built or not _runs(service):
        return
    made = image_paths.made(source.recipe, source.directory, checkout, None)
    targets = (*(target for _, target in (*copies, *made)), *(v.target for v in service.volumes))
    images = {place.workdir, *targets} - {"", "/"}
    argv = _with_program(service, source, checkout, directory, None, lambda _: True)
    words = {f"services.{service.name}.command": " ".join(argv[1:])}
    given = commands.kept({name: value or "" for name, value in variables.items()})
    words |= {f"services.{service.name}.environment.{name}": value for name, value in given.items()}
    yield from image_uses.in_words(images, words)
    yield from image_uses.paths(images, place, others, checkout)


def check(service: Service, checkout: Path, environments: Path) -> None:
    """Refuse what `build` would refuse, as far as that is known before dependencies are installed. Raises like
    `build`.
    """
    source = _source(service, checkout)
    if not _runs(service):
        return
    lock, place = source.lock, environments / source.identity
    build_steps.check(service.name, source.recipe, partial(shutil.which, path=commands.PATH))
    directory = checkout / source.directory
    if source.project is not None:
        source.project.check(service.name, checkout)
    elif lock is not None and complete(place):
        _with_program(service, source, checkout, directory, place)
    elif lock is not None and (lock.files or lock.requirements):
        _with_program(service, source, checkout, directory, None, lambda _: True)
    else:
        python = re.compile(r"python[0-9.]*" if lock else "")
        _with_program(
            service, source, checkout, directory, None, lambda name: python.fullmatch(name) is not None
        )


def _with_program(
    service: Service,
    source: _Source,
    checkout: Path,
    directory: Path,
    environment: Path | None,
    may_have: Callable[[str], bool] = lambda _: False,
) -> tuple[str, ...]:
    """The argv of a service with its program found; also checks the program of its release command."""
    workdir = source.recipe.workdir
    path = f"{environment}/bin{os.pathsep}{commands.PATH}" if environment else commands.PATH
    find = partial(
        commands.find, service.name, path=path, directory=directory, workdir=workdir, may_have=may_have
    )
    if service.release:
        find(service.release, key="x-pushrod.release")  # checked now, not after the stores have started
    image_paths.make_directories(source.recipe, source.directory, checkout)
    image_paths.set_modes(service, source.recipe, source.directory, checkout)
    given = image_paths.placed(source.command.argv, service, source.recipe, source.directory, checkout)
    for program in commands.called(given)[1:]:
        # a script is not changed, so its paths must be valid on this machine
        placed = image_paths.placed((program,), service, source.recipe, source.directory, checkout)
        find(placed, directory=None if placed == (program,) else directory)
    argv = languages.placed(java.placed(find(given), directory), directory, workdir)
    copies = image_paths.copied(service, source.recipe, source.directory, checkout)
    there = [*(target for _, target in copies), *(v.target for v in service.volumes)]

    def shown(path: str) -> bool:
        whole = posixpath.normpath(posixpath.join(workdir, path))
        return any(f"{whole}/".startswith(f"{target}/") for target in there)

    languages.check(service.name, argv, directory, shown)
    return argv


# ---- the checkout ---------------------------------------------------------------------------------------------


def _runs(service: Service) -> bool:
    """Whether a service runs at all; one without replicas often only names an image for others."""
    return bool(service.replicas or service.release)


def _source(service: Service, checkout: Path) -> _Source:
    if not _runs(service):
        return _Source(commands.Command((), {}), Recipe(), ".", None, python_builds.identity(None, checkout))
    context = service.build.context if service.build else "."
    text = _text(checkout / context / service.build.dockerfile) if service.build else None
    named = posixpath.join(context, service.build.dockerfile) if service.build else ""
    if service.build and text is None and service.build.dockerfile != Build().dockerfile:
        raise ManifestError(
            f"{service.name}: the commit has no file `{posixpath.normpath(named)}`",
            where=f"services.{service.name}.build.dockerfile",
            hint="commit it, or correct its path, which begins in the context",
        )
    recipe = commands.recipe_of(service, text)
    directory = _directory(service.build, recipe, checkout)
    source = service.build
    if code := mounts.code(service, partial(_holds, checkout)):
        recipe = replace(recipe, workdir=code.target, base=service.image)
        directory, source = code.source, Build(context=code.source)
    procfile = next((t for d in (directory, context, ".") if (t := _text(checkout / d / "Procfile"))), None)
    if service.build is None and not (service.command or service.entrypoint):
        raise ManifestError(
            f"{service.name} runs the image {service.image}, which the embedded engine cannot pull",
            where=f"services.{service.name}.image",
            hint="deploy this app to a host with Docker, or give the service a `build:`, or a `command:` whose "
            "program is installed here",
        )
    command = commands.resolve(service, text, procfile)
    if source and (
        project := projects.find(source, text or "", recipe, (command.argv, service.release), checkout)
    ):
        identity = project.identity(service.name, checkout)
        done = command._replace(argv=project.without_install(command.argv))
        return _Source(done, recipe, directory, None, identity, project)
    places = _places(service.build, directory, checkout) if service.build else []
    lock = python_locks.find(places, recipe.requirements, recipe.runs, checkout) if places else None
    if lock is None and _is_python(command.argv, checkout / directory):
        lock = Lock("nothing", (), checkout / directory)
    return _Source(command, recipe, directory, lock, python_builds.identity(lock, checkout))


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


def _holds(checkout: Path, directory: str) -> bool:
    place = checkout / directory
    return place.is_dir() and place.resolve().is_relative_to(checkout.resolve())


def _has_project(directory: Path) -> bool:
    return any(
        (directory / name).is_file() for name in ("uv.lock", "requirements.txt", "pyproject.toml", "Procfile")
    )


def _places(build: Build, directory: str, checkout: Path) -> list[Path]:
    """Directories where dependencies may be declared, the likeliest first."""
    own = posixpath.normpath(posixpath.join(build.context, posixpath.dirname(build.dockerfile)))
    inside = [d for d in (directory, build.context, own) if not d.startswith("..")]
    return [checkout / d for d in dict.fromkeys(inside)]


def _is_python(argv: Sequence[str], directory: Path) -> bool:
    words = shlex.join(argv)
    return bool(re.search(r"(?:^|[\s/'\"])python[0-9.]*(?:$|[\s'\"])", words)) or any(directory.glob("*.py"))


# ---- the environment ------------------------------------------------------------------------------------------


def _environment(
    service: Service, source: _Source, checkout: Path, environments: Path, on_line: Callable[[str], None]
) -> Path:
    """The directory of a complete environment; waits if another command is building it."""
    place = environments / source.identity
    return make(
        place,
        f"{'building' if source.project else 'installing the dependencies of'} {service.name}",
        lambda: _build(service, source, checkout, place, on_line),
        on_line,
        python_builds.interpreter(),
    )


def _build(
    service: Service, source: _Source, checkout: Path, place: Path, on_line: Callable[[str], None]
) -> None:
    if source.project is not None:
        source.project.make(service.name, checkout, place, on_line)
    if source.lock is not None:
        python_builds.install(service.name, source.lock, checkout, place, on_line)
