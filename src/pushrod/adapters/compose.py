"""Compose as pushrod drives it: only the reference loader reads an app's compose file.

Interpolation, merging, `extends`, profiles and every error are Compose's own, because its own `config` command does
the work; it needs no Docker engine. It prints YAML, because its JSON omits the `x-` keys of services.
"""

import contextlib
import itertools
import os
import re
import shlex
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pushrod.adapters import (
    command_variables,
    compose_loader,
    dockerfile,
    home_paths,
    landlock,
    manifests,
    reading_limits,
    sandbox,
)
from pushrod.adapters.reading_limits import Reading
from pushrod.core.errors import HostError, ManifestError
from pushrod.core.patterns import lazy
from pushrod.core.variables import NAME
from pushrod.system import files, processes

_TIMEOUT = 60.0  # seconds; the loader takes about 0.1
_ENV_FILES = 16  # env files that one manifest may name although they are not in Git
_READING = Reading()
_PATHS = frozenset({"context", "source", "file"})  # keys whose values Compose makes absolute

Document = dict[str, Any]


def load(
    directory: Path,
    *,
    project: str,
    variables: Mapping[str, str],
    file: str = "",
    planned: bool = False,
    home: str = "",
    most: Reading = _READING,
    on_warning: Callable[[str], None] | None = None,
) -> Document:
    """The compose file of a directory, resolved by Compose; paths inside the directory are returned relative to it.

    Nothing outside the directory is read, whatever the file names (`sandbox`): its author must not gain access to
    files that pushrod can read.

    `variables` supply `${NAME}` and replace a missing `.env`: they are the loader's environment, which inherits only
    PATH; names that would control the loader itself are removed. `file` is read instead of the file (and
    its override file) that Compose would find. With `planned` nothing is deployed, and a missing `.env` needs no
    variables. `home` is the value of `${HOME}`; by default it is this account's home, and in paths a mark
    (`home_paths`). `most` limits the input before anything is expanded (`reading_limits`); the loader's memory, time
    and output are limited too (`landlock`). `on_warning` receives the names of unset variables. Raises
    ManifestError with Compose's own message, HostError if there is no loader.
    """
    directory = directory.resolve()
    files, argv = _config(directory, file, project, most)
    replaced: list[str] = []
    with contextlib.ExitStack() as stack:
        deadline = time.monotonic() + _TIMEOUT
        for _ in range(_ENV_FILES):
            left = max(1.0, deadline - time.monotonic())
            result = processes.run_bounded(
                argv,
                cwd=directory,
                env=compose_loader.environment(variables, home or home_paths.MARK),
                timeout=left,
                most=landlock.OUTPUT,
            )
            if _ran_out(result):
                raise ManifestError(
                    "reading it takes more memory, time or room than allowed for a compose file",
                    where=", ".join(files),
                    hint="make it shorter; `docker compose config` in the repository shows the expanded file",
                )
            missing = _missing_env_file(result.stderr, directory) if result.status else None
            if missing is None or not (variables or planned):
                break
            replaced.append(os.path.relpath(missing, directory))
            stack.enter_context(_names_in(missing, variables))
    messages = _clean(result.stderr, directory, variables)
    if result.status == landlock.FAILED:
        raise HostError(" ".join(messages), hint="`pushrod doctor` shows which loader is used")
    if result.status:
        sandbox.check_message("".join(_clean(result.stderr, directory, {})[-1:]), directory, files)
        raise _error(messages, files[0])
    for message in messages:
        if on_warning and "variable is not set" in message:
            on_warning(message)
    for name in replaced:
        if on_warning and not re.fullmatch(r"\.env(?:\..+)?", name.rpartition("/")[2]):
            on_warning(f"`{name}` is not in the commit: the app's secrets take the place of its variables")
    reading_limits.check_yaml(
        result.stdout.encode(),
        Reading(landlock.OUTPUT, 10 * most.values),
        f"{', '.join(files)}, expanded",
    )
    document: Document = _relative(_parse(result.stdout.replace("$$", "$")), directory)
    sandbox.check_resolved(document, directory)
    return document if home else home_paths.shown(document, str(Path.home()))


def _ran_out(result: processes.Completed) -> bool:
    """Whether the loader reached one of its limits: by a signal, or by its runtime's message."""
    output = result.stderr[:100_000]
    too_large = result.status and "file too large" in output
    return (
        result.status < 0
        or bool(too_large)
        or re.search("out of memory|cannot allocate memory", output) is not None
    )


def in_argvs(
    directory: Path,
    *,
    project: str,
    variables: Mapping[str, str],
    file: str = "",
    most: Reading = _READING,
) -> dict[str, set[str]]:
    """The variables in the commands of each service, including those in included files.

    Empty if Compose cannot determine them, because a variable names a file to read. Arguments are those of `load`.
    """
    directory = directory.resolve()
    files, argv = _config(directory, file, project, most)
    argv += ["--no-interpolate", "--no-consistency"]
    result = processes.run_bounded(
        argv, cwd=directory, env=compose_loader.environment(variables), timeout=_TIMEOUT, most=landlock.OUTPUT
    )
    if result.status:
        return {}
    reading_limits.check_yaml(
        result.stdout.encode(), Reading(landlock.OUTPUT, 10 * most.values), ", ".join(files)
    )
    return command_variables.in_argvs(_parse(result.stdout))


def argvs_with(
    directory: Path,
    name: str,
    *,
    project: str,
    variables: Mapping[str, str],
    file: str = "",
    most: Reading = _READING,
) -> set[str] | None:
    """The services in whose commands Compose inserts a variable: found by another value for it.

    None if the file is not valid with another value. Arguments are those of `load`.
    """
    marker = f"pushrod-{uuid.uuid4().hex}"
    try:
        document = load(
            directory,
            project=project,
            variables={**variables, name: marker},
            file=file,
            planned=True,
            most=most,
        )
    except ManifestError:
        return None
    return command_variables.argvs_with(document, marker)


def _config(directory: Path, file: str, project: str, most: Reading) -> tuple[list[str], list[str]]:
    """A directory's compose files, and the argv of the loader that reads only them."""
    files = manifests.compose_files(directory, file, app=project)
    place = (directory / files[0]).parent
    beside = os.path.relpath(place / ".env", directory)
    sandbox.inside(directory, beside, where=beside)  # Compose reads it without being asked
    for name in files:
        sandbox.check_named(directory, name, most)
    argv = [*compose_loader.argv_of(), *(word for f in files for word in ("--file", f))]
    argv += ["--project-directory", str(place), "--project-name", project, "config"]
    return files, sandbox.confined(argv, directory)


def projects(directory: Path, app: str, file: str = "") -> tuple[str, ...]:
    """Compose's project names: the one in the compose file, and the app's name."""
    text = (directory / manifests.compose_files(directory, file)[0]).read_text(errors="replace")
    match = re.search(
        r"""^name:[ \t]+["']?([a-z0-9][a-z0-9_-]{0,62})["']?[ \t]*(?:#|$)""", text, re.MULTILINE
    )
    return (match[1], app) if match and match[1] != app else (app,)


def wants_env_file(directory: Path, file: str = "") -> bool:
    """Whether a service of the compose file reads env files, and `.env`, which stands for them, is not in Git."""
    path = directory / manifests.compose_files(directory, file)[0]
    asked = re.search(r"^[^#\n]*\benv_file\s*:", path.read_text(errors="replace"), re.MULTILINE)
    return bool(asked) and not (path.parent / ".env").exists()


def bases(document: Mapping[str, Any], directory: Path, most: Reading = _READING) -> dict[str, str]:
    """The base image of each built service, read from its Dockerfile; services without one are left out.

    Raises ManifestError for a Dockerfile that is larger than `most` allows.
    """
    return {name: recipe.base for name, recipe in _recipes(document, directory, most)}


def exposed(document: Mapping[str, Any], directory: Path, most: Reading = _READING) -> dict[str, int]:
    """The port that the Dockerfile of each built service exposes; services without one are left out. Raises as
    `bases`."""
    return {name: recipe.port for name, recipe in _recipes(document, directory, most) if recipe.port}


def _recipes(
    document: Mapping[str, Any], directory: Path, most: Reading
) -> Iterator[tuple[str, dockerfile.Recipe]]:
    for name, service in (document.get("services") or {}).items():
        build = service.get("build")
        if not isinstance(build, dict):
            continue
        path = directory / str(build.get("context") or ".") / str(build.get("dockerfile") or "Dockerfile")
        if path.is_file() and path.resolve().is_relative_to(directory.resolve()):
            arguments = {k: v for k, v in (build.get("args") or {}).items() if v is not None}
            reading_limits.check_size(path.stat().st_size, most, os.path.relpath(path, directory))
            recipe = dockerfile.read(
                path.read_text(errors="replace"),
                target=build.get("target") or "",
                arguments=arguments,
                where=os.path.relpath(path, directory),
            )
            yield name, recipe


# ---- env files that are not in Git ----------------------------------------------------------------------------


def _missing_env_file(message: str, directory: Path) -> Path | None:
    """The env file that the loader did not find, if its path is in the commit's directory: Git lacks it."""
    match = re.search(r"env file (.+?) not found", message)
    if not match:
        return None
    path = Path(match[1])
    inside = path.parent.resolve() == path.parent and path.is_relative_to(
        directory
    )  # no link leads elsewhere
    return path if inside and not path.is_symlink() else None


@contextlib.contextmanager
def _names_in(path: Path, variables: Mapping[str, str]) -> Iterator[None]:
    """An env file that exists during a load. It contains names only: Compose takes a bare name's value from its own
    environment, so no secret is written to the checkout. Directories that it needs go with it.
    """
    missing = list(itertools.takewhile(lambda place: not place.exists(), path.parents))
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [name for name in variables if NAME.fullmatch(name)]
    files.write(path, "".join(f"{name}\n" for name in names), mode=0o600)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        for place in missing:
            place.rmdir()


# ---- the loader's output --------------------------------------------------------------------------------------


def _parse(text: str) -> Document:
    """The loader's YAML as plain values. In a resolved document every `$` is doubled, which the caller undoes."""
    import yaml

    def read(base: Any) -> Any:
        return yaml.load(text, Loader=_yaml_loader(base))  # noqa: S506 (a SafeLoader, below)

    try:
        document = reading_limits.read_yaml(read, len(text))
    except yaml.YAMLError:
        raise ManifestError(
            "Compose's output for it cannot be read",
            hint="quote the text that has tabs or control characters, or put it into a file of the repository",
        ) from None
    return document if isinstance(document, dict) else {}


@cache
def _yaml_loader(base: Any) -> Any:
    """A safe YAML loader that interprets the scalars Compose writes unquoted, and reads every other as text.

    PyYAML reads YAML 1.1, in which `=`, dates and `0o7` are not text; the loader writes them unquoted.
    """
    reader: Any = type("ComposeLoader", (base,), {"yaml_implicit_resolvers": {}})
    for tag, pattern, first in (
        ("null", r"null|~|", [*"n~", ""]),
        ("bool", r"true|false", [*"tf"]),
        ("int", r"-?[0-9]{1,18}", [*"-0123456789"]),
        ("float", r"-?[0-9]{1,18}\.[0-9]{0,18}", [*"-0123456789"]),
    ):
        reader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"(?:{pattern})$"), first)
    return reader


def _relative(value: Any, directory: Path, key: str = "") -> Any:
    """The document with every path below the directory, or beside it, made relative to it."""
    if isinstance(value, dict):
        # Authors choose the names of a build's additional contexts, so the key above them identifies them.
        return {
            k: _relative(v, directory, "context" if key == "additional_contexts" else k)
            for k, v in value.items()
        }
    if isinstance(value, list):
        return [_relative(item, directory, key) for item in value]
    if key in _PATHS and isinstance(value, str) and value.startswith("/"):
        path = Path(value)
        if path.is_relative_to(directory):
            return str(path.relative_to(directory))
        beside = path.is_relative_to(directory.parent) and directory.parent != Path("/")
        return os.path.relpath(path, directory) if beside else value
    return value


_WARNING = lazy(r'^time="[^"]*" level=\w+ msg="(.*)"$')
_UNSET = lazy(r"^The \"?(\w+)\"? variable is not set")
_PLACE = lazy(r"(services\.[\w.-]*\w)|service \"([\w.-]+)\"")
_LINE = lazy(r"(?:yaml: )?line (\d+): ")


def _clean(text: str, directory: Path, variables: Mapping[str, str]) -> list[str]:
    """The loader's messages, one each, with paths relative to the commit and without values of secrets."""
    for name, value in sorted(variables.items(), key=lambda item: -len(item[1])):
        if len(value) >= 6:  # a shorter value says too little, and would hide ordinary words
            text = text.replace(value, f"${name}")
    text = text.replace(f"{directory}/", "").replace(str(directory), ".")
    messages = []
    for line in text.splitlines():
        warning = _WARNING.match(line)
        message = warning[1].replace('\\"', '"') if warning else line.strip()
        if message and message not in messages:
            messages.append(message)
    return messages


def unset(message: str) -> str:
    """The variable that a message of the loader calls not set; empty if it is about something else."""
    match = _UNSET.search(message)
    return match[1] if match else ""


def _error(messages: list[str], name: str) -> ManifestError:
    """The loader's last message (warnings come before it), with the file, line or key that it is about."""
    errors = [m for m in messages if "variable is not set" not in m and "is obsolete" not in m]
    message = " ".join(errors) or "Compose cannot read it, and gives no reason"
    if match := re.match(r"(?:failed to parse|validating) (\S+): ", message):
        name, message = match[1], message[match.end() :]
    where = name
    if line := _LINE.search(message):
        where, message = f"{name}:{line[1]}", message.replace(line[0], "", 1)
    if place := _PLACE.search(message):
        where += f": {place[1] or f'services.{place[2]}'}"
    missing = [name for m in messages if (name := unset(m))]
    return ManifestError(
        message.removesuffix(": invalid compose project"), where=where, hint=_hint(message, missing)
    )


def _hint(message: str, missing: Sequence[str] = ()) -> str:
    if match := re.search(r"required variable (\w+) is missing", message):
        return f"set it: pushrod secret set {match[1]}"
    if match := re.search(r"env file (\S+) not found", message):
        return f"give pushrod a file that is not in Git separately: pushrod secret import {shlex.quote(match[1])}"
    if missing and not message.startswith("did not find"):
        return f"is it one of the variables that are not set? {', '.join(missing)}: pushrod secret set NAME"
    return "`docker compose config` in the repository shows the same"
