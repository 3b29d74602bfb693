"""Docker commands: their environment, the meaning of their messages, and information about the engine."""

import errno
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import IO, Any

import msgspec

from pushrod.adapters import git
from pushrod.core.errors import HostError
from pushrod.core.lines import split
from pushrod.core.patterns import lazy
from pushrod.system import files, processes, signals

APP, RELEASE, SERVICE, INSTANCE = "pushrod.app", "pushrod.release", "pushrod.service", "pushrod.instance"
"""Labels on everything pushrod creates on an engine; things without them belong to somebody else."""

CLIENT = "pushrod.client"
"""The label of a store's client that a user has started; its value is the app. It is not part of the running app."""

ONE_OFF = "com.docker.compose.oneoff"
"""Compose's own label of what `docker compose run` makes, with the value `True`."""

REVISION = "org.opencontainers.image.revision"
"""The commit an image was built from (OCI image specification, annotations)."""

MADE_BY = "pushrod.made-by"
"""The label with the release for which a volume was created: it is removed with a release that was never live."""
FULL = lazy(r"no space left on device", re.IGNORECASE)
QUICK = 60.0  # seconds for a query, and for an immediate action
_TOGETHER = 8  # commands that run at the same time


def environment(at: Path | None = None) -> dict[str, str]:
    """The environment of Docker's programs: the engine's address, the usual variables, and a setting by which Git, if
    they start it, finds no repository.

    `at` is the socket of an engine other than the host's.
    """
    names = ("PATH", "HOME", "LANG", "TZ", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    variables = {n: v for n, v in os.environ.items() if n in names or n.startswith("DOCKER_")} | git.NOWHERE
    if at is not None:
        variables.pop("DOCKER_CONTEXT", None)  # it would take precedence over the socket
        variables["DOCKER_HOST"] = f"unix://{at}"
    return variables


def docker(
    *argv: str, timeout: float = QUICK, stdin: str | IO[bytes] | None = None, at: Path | None = None
) -> str:
    """Run one command and return its output. Raises HostError with Docker's message if it fails."""
    done = processes.run(["docker", *argv], env=environment(at), timeout=timeout, stdin=stdin)
    if done.status != 0:
        raise failed(done.stderr or done.stdout, f"docker {argv[0]}")
    return done.stdout


def failed(output: str, where: str) -> HostError:
    """The error for Docker's message: a known one, or the message itself."""
    last = last_words(output) or "failed without an error message"
    return known(output, where) or HostError(
        last,
        where=where,
        hint="`pushrod doctor` checks the engine and the programs that drive it",
        log=tuple(split(output)[-20:]),
    )


def known(output: str, where: str) -> HostError | None:
    """The error for a problem of the machine, not the app: no engine, no rights, a full disk, a used port. None for
    others.
    """
    if re.search(r"permission denied.*(docker\.sock|docker daemon)", output, re.DOTALL):
        return HostError(
            "this user may not talk to the Docker engine",
            where="/var/run/docker.sock",
            hint="as root: usermod -aG docker pushrod (or run `pushrod host init` again), then log in again",
        )
    if re.search(
        r"Cannot connect to the Docker daemon|error during connect|Is the docker daemon running", output
    ):
        return HostError(
            "the Docker engine does not answer",
            where=where,
            hint="start it: systemctl start docker; journalctl -u docker shows why it is not running",
        )
    if FULL.search(output):
        return files.os_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), where)
    if match := re.search(r"Bind for (\S+):(\d+) failed: port is already allocated", output):
        return HostError(f"port {match[2]} is in use", where=where, hint=f"ss -ltnp sport = :{match[2]}")
    if re.search(r"non-overlapping IPv4 address pool|address pools have been fully subnetted", output):
        return HostError(
            "the Docker engine has no addresses left for another network",
            where=where,
            hint="docker network prune removes those that nothing uses, docker network ls lists them; "
            "`default-address-pools` in /etc/docker/daemon.json gives it more",
        )
    if "Pool overlaps with other one on this address space" in output:
        return HostError(
            "another network of the Docker engine has the addresses of this release's",
            where=where,
            hint="docker network ls and docker network inspect show which; remove it, or choose another `pool` in "
            "host.json (docs/host.md), and push again",
        )
    if re.search(r"(?:^|: )Address already in use", output):
        return HostError(
            "another container has an address of this release's",
            where=where,
            hint="docker network inspect shows which; it does not belong to pushrod: remove it, and push again",
        )
    return None


def last_words(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(?i)error|.*error response", line)]
    return re.sub(r"^Error response from daemon: ", "", (errors or lines or [""])[-1])


def answers() -> str:
    """The engine's version. Raises HostError if there is no engine, none answers, or this user may not ask it."""
    if shutil.which("docker") is None:
        raise HostError("Docker is not installed", hint="as root: pushrod host init")
    output = docker("version", "--format", "{{.Server.Version}}", timeout=20).strip()
    if not output:
        raise failed("Cannot connect to the Docker daemon", "docker version")
    return output


_INFO = ("info", "--format", "{{json .}}")
_ahead: list[Future[str]] = []


def ask_ahead() -> None:
    """Fetch the answer to `info` in the background: Docker's program starts all its plugins for it, which takes four
    times as long as any other query.
    """
    if info.cache_info().currsize == 0 and not _ahead:
        pool = ThreadPoolExecutor(1)
        with signals.signals_held():
            _ahead.append(pool.submit(docker, *_INFO))
        pool.shutdown(wait=False)


@cache
def info() -> dict[str, Any]:
    """The engine's information (`docker info`); it does not change while a command runs."""
    engine: dict[str, Any] = msgspec.json.decode(_ahead.pop().result() if _ahead else docker(*_INFO))
    return engine


def filters(labels: Mapping[str, str]) -> list[str]:
    pairs = (f"label={name}={value}" if value else f"label={name}" for name, value in labels.items())
    return [word for pair in pairs for word in ("--filter", pair)]


def at_once(commands: Sequence[Sequence[str]]) -> list[processes.Completed]:
    """Run commands at the same time; returns how each ended. Most of their time is spent waiting for the kernel."""
    with ThreadPoolExecutor(_TOGETHER) as pool:
        with signals.signals_held():
            begun = [pool.submit(processes.run, argv, env=environment(), timeout=QUICK) for argv in commands]
        return [one.result() for one in begun]
