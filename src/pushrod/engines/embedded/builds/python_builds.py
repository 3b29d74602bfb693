"""Python environments of the embedded engine: their identity, and how uv makes them."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from pushrod.adapters.binaries import Parts
from pushrod.core import lines
from pushrod.core.errors import BuildError
from pushrod.engines.embedded.builds.environments import OF_HOOKS, Digest
from pushrod.engines.embedded.builds.python_locks import Lock, with_included
from pushrod.system import files, processes

_TIMEOUT = 600.0  # seconds for one run of uv
_LOG_LINES = 30
_REQUIREMENTS, _CONSTRAINTS = "pushrod-requirements.txt", "pushrod-constraints.txt"
_OF_FILES = ("requirements",)


def identity(lock: Lock | None, checkout: Path) -> str:
    """A digest of the interpreter, the machine, and every file that determines what is installed."""
    machine = os.uname()
    digest = Digest(
        "1",
        sys.implementation.name,
        sys.version,
        interpreter(),
        machine.sysname,
        machine.machine,
    )
    if lock is not None:
        digest.add(lock.kind)
        for file in with_included(lock.files):
            digest.add(os.path.relpath(file, lock.directory), file.read_bytes())
        digest.add(
            *lock.requirements, *lock.constraints, *lock.extras, *(f"{n}={v}" for n, v in lock.scripts)
        )
        for file in _tree(checkout) if lock.local else ():
            digest.add(os.path.relpath(file, checkout), file.read_bytes())
    return digest.text()


def _tree(directory: Path) -> list[Path]:
    return sorted(
        p for p in directory.rglob("*") if p.is_file() and not p.is_symlink() and ".git" not in p.parts
    )


def install(service: str, lock: Lock, checkout: Path, place: Path, on_line: Callable[[str], None]) -> None:
    """Install a lock into an environment at `place`. Raises BuildError with uv's last lines."""
    names = [os.path.relpath(f, checkout) for f in lock.files]
    if names or lock.requirements:
        on_line(
            f"{service}: installing from {names[0] if names else 'the packages that its Dockerfile names'}"
        )

    def print_line(line: str) -> None:
        if not line.startswith(" + "):  # uv lists every package it has installed
            on_line(line)

    for argv in argvs(lock, place):
        if place.is_dir():
            _write_lines(lock, place)
        env = uv_environment(os.environ, place)
        # It dies with us, so that it does not write into the next build.
        guarded = processes.as_account(argv, None, death_signal="KILL")
        result = processes.run(
            guarded, cwd=lock.directory, env=env, timeout=_TIMEOUT, on_line=print_line, umask=0o022
        )
        if result.status:
            raise BuildError(
                f"{service}: its dependencies cannot be installed",
                where=names[0] if names else f"services.{service}",
                hint="the last lines above are uv's output; fix the requirements, commit and push again",
                log=tuple(lines.split(result.stdout)[-_LOG_LINES:]),
            )
    _write_scripts(lock, place)


def _write_lines(lock: Lock, place: Path) -> None:
    """Write what is installed besides the files of the checkout, for uv."""
    for file, given in ((_REQUIREMENTS, lock.requirements), (_CONSTRAINTS, lock.constraints)):
        if given:
            files.write(place / file, "".join(f"{line}\n" for line in given))


def _write_scripts(lock: Lock, place: Path) -> None:
    """Make the project's own programs, which run its modules wherever they are on Python's path."""
    python = place / "bin" / "python"
    for name, function in lock.scripts:
        path = place / "bin" / name
        module, _, attribute = function.partition(":")
        if path.exists():
            continue
        head = attribute.partition(".")[0]
        text = f"#!{python}\nimport sys\nfrom {module} import {head}\nsys.exit({attribute}())\n"
        files.write(path, text, mode=0o755)


def argvs(lock: Lock, place: Path) -> list[list[str]]:
    """The argvs of uv that create an environment at `place`."""
    uv, python = str(Parts().uv), interpreter()
    install = [uv, "pip", "install", "--python", str(place / "bin" / "python")]
    named = ["-r", str(place / _REQUIREMENTS)] if lock.requirements else []
    if lock.kind == "uv.lock":
        flags = ["--frozen", "--no-dev", "--no-install-project", "--no-editable"]
        synced = [uv, "sync", *flags, "--python", python]
        return [synced, [*install, *named]] if named else [synced]
    made = [uv, "venv", "--quiet", "--no-project", "--python", python, str(place)]
    from_files = [w for f in lock.files for w in ("-r", str(f))] if lock.kind in _OF_FILES else []
    if lock.kind == "pyproject":
        from_files = ["-r", str(lock.files[0]), *(w for e in lock.extras for w in ("--extra", e))]
    if not from_files and not named:
        return [made]
    if lock.kind in _OF_FILES and any("--hash=" in f.read_text(errors="replace") for f in lock.files):
        if named:
            hashed = [*install, "--require-hashes", *from_files]
            return [made, hashed, [*install, *named]]
        install.append("--require-hashes")
    if lock.local:
        install.append("--no-editable")
    if lock.constraints:
        install += ["-c", str(place / _CONSTRAINTS)]
    return [made, [*install, *from_files, *named]]


def interpreter() -> str:
    """The Python interpreter below pushrod's own environment, which outlives an upgrade of pushrod."""
    return str(getattr(sys, "_base_executable", "") or sys.executable)


def uv_environment(given: Mapping[str, str], place: Path) -> dict[str, str]:
    """The user's environment (proxies, certificates, indexes, uv's settings) without variables that would mislead
    uv.
    """
    kept = {
        name: value
        for name, value in given.items()
        if name not in OF_HOOKS
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
