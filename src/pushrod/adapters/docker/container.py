"""Containers: find them by label, read, stop and remove them, and use them for what only root may do."""

import io
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pushrod.adapters.docker.commands import QUICK, docker, environment, failed, filters
from pushrod.core.values import Value
from pushrod.system import files, processes

_PUT = "/pushrod"  # where a file is unpacked in the temporary container
_GRACE = 10.0  # seconds that Docker gives a container to stop if it sets no time itself
_TAIL = 50  # lines of a log


class Container(Value, frozen=True):
    """A container as `docker inspect` describes it, reduced to what is used here.

    `health` is empty if the container has no health check of its own; `check` is that check as an argv. `patience` is
    how long Docker lets it fail after its start before it is unhealthy, and `grace` how long it has to stop, both in
    seconds. `policy` is its restart policy. `networks` maps each network it is connected to, to its address there
    (empty while it does not run).
    """

    name: str
    labels: dict[str, str]
    image: str
    state: str
    health: str = ""
    exit_code: int = 0
    pid: int = 0
    restarts: int = 0
    started: str = ""
    finished: str = ""
    error: str = ""
    policy: str = ""
    out_of_memory: bool = False
    check: tuple[str, ...] = ()
    patience: float = 0.0
    grace: float = 10.0
    networks: dict[str, str] = {}

    @property
    def running(self) -> bool:
        """Whether its first process runs."""
        return self.state == "running"


def containers(labels: Mapping[str, str]) -> list[Container]:
    """The containers, running or not, that have all of these labels (an empty value matches any value)."""
    ids = docker("ps", "--all", "--quiet", "--no-trunc", *filters(labels)).split()
    return inspect(ids)


def labelled(labels: Mapping[str, str], name: str) -> set[str]:
    """The values of one more label of those containers, in one short query."""
    form = f'{{{{.Label "{name}"}}}}'
    return {*docker("ps", "--all", "--format", form, *filters(labels)).split()}


def inspect(names: Sequence[str]) -> list[Container]:
    """The existing containers of these names."""
    if not names:
        return []
    done = processes.run(["docker", "container", "inspect", *names], env=environment(), timeout=QUICK)
    if done.status != 0 and "No such container" not in done.stderr:
        raise failed(done.stderr, "docker inspect")
    return [_container(description) for description in msgspec.json.decode(done.stdout or "[]")]


def _container(described: dict[str, Any]) -> Container:
    state = described["State"]
    networks = described["NetworkSettings"].get("Networks") or {}
    return Container(
        name=described["Name"].lstrip("/"),
        labels=described["Config"].get("Labels") or {},
        image=described["Image"],
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status", "").replace("none", ""),
        exit_code=state["ExitCode"],
        pid=state["Pid"],
        restarts=described.get("RestartCount", 0),
        started=state["StartedAt"],
        finished=state["FinishedAt"],
        error=state.get("Error", ""),
        policy=described["HostConfig"]["RestartPolicy"]["Name"],
        out_of_memory=state.get("OOMKilled", False),
        check=_check(described["Config"]),
        patience=_patience(described["Config"].get("Healthcheck") or {}),
        grace=float(described["Config"].get("StopTimeout") or _GRACE),
        networks={name: (n or {}).get("IPAddress", "") for name, n in networks.items()},
    )


def _check(config: dict[str, Any]) -> tuple[str, ...]:
    match (config.get("Healthcheck") or {}).get("Test") or []:
        case ["CMD", *argv]:
            return tuple(argv)
        case ["CMD-SHELL", script]:
            return (*(config.get("Shell") or ["/bin/sh", "-c"]), script)
    return ()


def _patience(check: dict[str, Any]) -> float:
    # Durations in nanoseconds; 0 is the default: 30 s, three times (Docker's reference of HEALTHCHECK).
    interval, retries = check.get("Interval") or 30e9, check.get("Retries") or 3
    return float(((check.get("StartPeriod") or 0) + interval * retries) / 1e9) if check.get("Test") else 0.0


def logs(name: str, lines: int = _TAIL, *, since: str = "", times: bool = False) -> list[str]:
    """The last lines of a container's output, both streams in order; none if there is no such container.

    With `since`, a time as Docker writes it, only later output; with `times` each line begins with its time.
    """
    argv = ["docker", "logs", "--tail", str(lines), *(["--since", since] if since else [])]
    collected: list[str] = []
    argv += ["--timestamps"] if times else []
    done = processes.run([*argv, name], env=environment(), timeout=QUICK, on_line=collected.append)
    return collected if done.status == 0 else []


def execute(name: str, argv: Sequence[str], *, timeout: float = QUICK, user: str = "") -> processes.Completed:
    """Run a program in a running container; returns its result."""
    who = ["--user", user] if user else []
    return processes.run(["docker", "exec", *who, name, *argv], env=environment(), timeout=timeout)


def stop(containers: Sequence[Container]) -> None:
    """Stop containers at the same time, each within its own grace period."""
    if containers:
        longest = max(c.grace for c in containers)
        docker("stop", *(c.name for c in containers), timeout=longest + QUICK)


def empty(directory: Path, images: Sequence[str]) -> None:
    """Remove the contents of a directory, whoever owns them, with the `find` of the first of these images that has
    one.

    The app chose that program, so its container gets only the rights it needs.
    """
    mount = f"type=bind,source={directory},target=/emptied"
    rights = ("--user=0:0", "--cap-drop=ALL", "--cap-add=DAC_OVERRIDE", "--cap-add=FOWNER", "--network=none")
    bounds = ("--pids-limit=16", "--memory=128m", "--memory-swap=128m", "--cpus=1", "--log-driver=none")
    closed = ("--read-only", "--security-opt=no-new-privileges")
    for name in images:
        argv = [
            "docker",
            "run",
            "--rm",
            *rights,
            *bounds,
            *closed,
            "--mount",
            mount,
            "--entrypoint=find",
            name,
        ]
        words = [*argv, "/emptied", "-mindepth", "1", "-delete"]
        done = processes.run(words, env=environment(), timeout=QUICK, on_line=lambda _: None)
        if done.status == 0:
            return


def put(path: Path, raw: bytes, rights: tuple[int, int, int], image: str) -> None:
    """Write a file with a mode, user and group that only root can set. Its directory must exist. It appears complete.

    The engine unpacks it for a temporary container of `image`, which never starts.
    """
    mode, uid, gid = rights
    entry = tarfile.TarInfo(f".{path.name}")
    entry.size, entry.mode, entry.uid, entry.gid = len(raw), mode, uid, gid
    mount = f"type=bind,source={path.parent},target={_PUT}"
    made = docker("create", "--network=none", "--entrypoint=none", "--mount", mount, image).strip()
    try:
        with tempfile.TemporaryFile() as archive:
            with tarfile.open(fileobj=archive, mode="w") as tar:
                tar.addfile(entry, io.BytesIO(raw))
            archive.seek(0)
            argv = ["docker", "cp", "-", f"{made}:{_PUT}"]
            done = processes.run(argv, env=environment(), stdin=archive, timeout=QUICK)
        if done.status != 0:
            raise failed(done.stderr, "docker cp")
    finally:
        remove([made])
    path.with_name(entry.name).replace(path)
    files.sync_directory(path.parent)


def remove(names: Sequence[str]) -> None:
    """Remove containers with their anonymous volumes, including running ones."""
    if names:
        docker("rm", "--force", "--volumes", *names)
