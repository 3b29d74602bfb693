"""One command of Docker: what it is given of our environment, what its words mean, what the engine says of itself."""

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
from pushrod.system import files, processes, signals

APP, RELEASE, SERVICE, INSTANCE = "pushrod.app", "pushrod.release", "pushrod.service", "pushrod.instance"
"""Labels on everything pushrod makes on an engine; what has none of them is somebody else's."""

REVISION = "org.opencontainers.image.revision"
"""The commit an image was built from (OCI image specification, annotations)."""

MADE_BY = "pushrod.made-by"
"""The label that says for which release a volume was made: one that was never live takes it along."""
FULL = re.compile(r"no space left on device", re.IGNORECASE)
QUICK = 60.0  # seconds for a question, and for an order that is carried out at once
_TOGETHER = 8  # commands that are run beside each other


def environment(at: Path | None = None) -> dict[str, str]:
    """What Docker's programs are given of our environment: where the engine is, and the usual; and that there is no
    repository where they start Git.

    `at` is the socket of another engine than the host's.
    """
    names = ("PATH", "HOME", "LANG", "TZ", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    found = {n: v for n, v in os.environ.items() if n in names or n.startswith("DOCKER_")} | git.NOWHERE
    if at is not None:
        found.pop("DOCKER_CONTEXT", None)  # it would go before the socket
        found["DOCKER_HOST"] = f"unix://{at}"
    return found


def docker(
    *argv: str, timeout: float = QUICK, stdin: str | IO[bytes] | None = None, at: Path | None = None
) -> str:
    """Run one command and return what it printed; HostError with Docker's own words if it fails."""
    done = processes.run(["docker", *argv], env=environment(at), timeout=timeout, stdin=stdin)
    if done.status != 0:
        raise failed(done.stderr or done.stdout, f"docker {argv[0]}")
    return done.stdout


def failed(said: str, where: str) -> HostError:
    """The error that Docker's words mean: one that is known, or just the words."""
    last = last_words(said) or "failed and said nothing"
    return known(said, where) or HostError(
        last,
        where=where,
        hint="`pushrod doctor` looks at the engine and what drives it",
        log=tuple(split(said)[-20:]),
    )


def known(said: str, where: str) -> HostError | None:
    """What is the machine's fault, not the app's: no engine, no rights, a full disk, a used port."""
    if re.search(r"permission denied.*(docker\.sock|docker daemon)", said, re.DOTALL):
        return HostError(
            "this user may not talk to the Docker engine",
            where="/var/run/docker.sock",
            hint="as root: usermod -aG docker pushrod (or run `pushrod host init` again), then log in anew",
        )
    if re.search(
        r"Cannot connect to the Docker daemon|error during connect|Is the docker daemon running", said
    ):
        return HostError(
            "the Docker engine does not answer",
            where=where,
            hint="start it: systemctl start docker; journalctl -u docker says why it is not running",
        )
    if FULL.search(said):
        return files.os_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), where)
    if found := re.search(r"Bind for (\S+):(\d+) failed: port is already allocated", said):
        return HostError(f"port {found[2]} is in use", where=where, hint=f"ss -ltnp sport = :{found[2]}")
    if re.search(r"non-overlapping IPv4 address pool|address pools have been fully subnetted", said):
        return HostError(
            "the Docker engine has no addresses left for another network",
            where=where,
            hint="docker network prune removes those that nothing uses, docker network ls lists them; "
            "`default-address-pools` in /etc/docker/daemon.json gives it more",
        )
    if "Pool overlaps with other one on this address space" in said:
        return HostError(
            "another network of the Docker engine has the addresses of this release's",
            where=where,
            hint="docker network ls and docker network inspect show which; remove it, or choose another `pool` in "
            "host.json (docs/host.md), and push again",
        )
    if re.search(r"(?:^|: )Address already in use", said):
        return HostError(
            "another container has an address of this release's",
            where=where,
            hint="docker network inspect shows which: it is none of pushrod's; remove it, and push again",
        )
    return None


def last_words(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(?i)error|.*error response", line)]
    return re.sub(r"^Error response from daemon: ", "", (errors or lines or [""])[-1])


def answers() -> str:
    """The engine's version; HostError where there is none, none answers, or this user may not ask it."""
    if shutil.which("docker") is None:
        raise HostError("Docker is not installed", hint="as root: pushrod host init")
    said = docker("version", "--format", "{{.Server.Version}}", timeout=20).strip()
    if not said:
        raise failed("Cannot connect to the Docker daemon", "docker version")
    return said


_INFO = ("info", "--format", "{{json .}}")
_ahead: list[Future[str]] = []


def ask_ahead() -> None:
    """Have the answer to `info` fetched while other things are done: Docker's program starts all its plugins for it,
    which takes four times as long as any other question."""
    if info.cache_info().currsize == 0 and not _ahead:
        pool = ThreadPoolExecutor(1)
        with signals.signals_held():
            _ahead.append(pool.submit(docker, *_INFO))
        pool.shutdown(wait=False)


@cache
def info() -> dict[str, Any]:
    """What the engine says of itself (`docker info`); it does not change while a command runs."""
    found: dict[str, Any] = msgspec.json.decode(_ahead.pop().result() if _ahead else docker(*_INFO))
    return found


def filters(labels: Mapping[str, str]) -> list[str]:
    pairs = (f"label={name}={value}" if value else f"label={name}" for name, value in labels.items())
    return [word for pair in pairs for word in ("--filter", pair)]


def at_once(commands: Sequence[Sequence[str]]) -> list[processes.Completed]:
    """Run commands beside each other, each of which waits for the kernel most of the time; how each of them ended."""
    with ThreadPoolExecutor(_TOGETHER) as pool:
        with signals.signals_held():
            begun = [pool.submit(processes.run, argv, env=environment(), timeout=QUICK) for argv in commands]
        return [one.result() for one in begun]
