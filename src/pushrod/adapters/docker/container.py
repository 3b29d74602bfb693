"""Containers: find them by label, read, stop and remove them, and use them for what only root may do."""

import io
import secrets
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pushrod.adapters.docker import healthcheck
from pushrod.adapters.docker.commands import QUICK, docker, environment, failed, filters
from pushrod.core.values import Value
from pushrod.system import files, processes

_PUT = "/pushrod"  # where a file is unpacked in the temporary container
_GRACE = 10.0  # seconds that Docker gives a container to stop if it sets no time itself
_EMPTYING = 600.0  # seconds to remove the contents of a volume
_TAIL = 50  # lines of a log
# For a program of an app's image that works with the rights of root: what it needs, and no more.
_RIGHTS = ("--user=0:0", "--cap-drop=ALL", "--cap-add=DAC_OVERRIDE", "--cap-add=FOWNER", "--network=none")
_BOUNDS = (
    "--pids-limit=16",
    "--memory=128m",
    "--memory-swap=128m",
    "--cpus=1",
    "--log-driver=none",
    "--no-healthcheck",
)
_CLOSED = ("--read-only", "--security-opt=no-new-privileges")


class Container(Value, frozen=True):
    """A container as `docker inspect` describes it, reduced to what is used here.

    `health` is empty if the container has no health check of its own; `check` is that check as an argv. `patience` is
    how long Docker lets it fail after its start before it is unhealthy, and `grace` how long it has to stop, both in
    seconds. `policy` is its restart policy. `networks` maps each network it is connected to, to its address there
    (empty while it does not run). `memory` is its limit in bytes (0: none). `slice` is that of its processes; empty
    if the engine decides.
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
    memory: int = 0
    networks: dict[str, str] = {}
    slice: str = ""

    @property
    def running(self) -> bool:
        """Whether its first process runs."""
        return self.state == "running"


def containers(labels: Mapping[str, str]) -> list[Container]:
    """The containers, running or not, that have all of these labels (an empty value matches any value)."""
    return inspect(container_ids(labels))


def container_ids(labels: Mapping[str, str]) -> list[str]:
    """The IDs of those containers: one query, where all of them is two."""
    return docker("ps", "--all", "--quiet", "--no-trunc", *filters(labels)).split()


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
        health=healthcheck.status(described),
        exit_code=state["ExitCode"],
        pid=state["Pid"],
        restarts=described.get("RestartCount", 0),
        started=state["StartedAt"],
        finished=state["FinishedAt"],
        error=state.get("Error", ""),
        policy=described["HostConfig"]["RestartPolicy"]["Name"],
        out_of_memory=state.get("OOMKilled", False),
        check=healthcheck.argv(described),
        patience=_patience(described["Config"].get("Healthcheck") or {}),
        grace=float(described["Config"].get("StopTimeout") or _GRACE),
        memory=described["HostConfig"].get("Memory") or 0,
        slice=described["HostConfig"].get("CgroupParent") or "",
        networks={name: (n or {}).get("IPAddress", "") for name, n in networks.items()},
    )


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
    for name in images:
        words = ("--mount", mount, "--entrypoint=find", name, "/emptied", "-mindepth", "1", "-delete")
        if _run_as_root(words, QUICK).status == 0:
            return


def _run_as_root(words: Sequence[str], timeout: float) -> processes.Completed:
    """Run a program that the app chose in a container of its own, which does not outlive the call: if the time is up,
    only Docker's client would be killed.
    """
    name = f"pushrod.task.{secrets.token_hex(8)}"  # a dot: no container of an app has one in its name
    argv = ["docker", "run", "--rm", "--pull=never", f"--name={name}", *_RIGHTS, *_BOUNDS, *_CLOSED, *words]
    try:
        return processes.run(argv, env=environment(), timeout=timeout, on_line=lambda _: None)
    except BaseException:
        remove([c.name for c in inspect([name])])
        raise


def writable(name: str) -> list[str]:
    """The paths of a container where volumes and directories of the host are mounted that it may write, in order."""
    (mounts,) = msgspec.json.decode(docker("container", "inspect", "--format", "[{{json .Mounts}}]", name))
    kinds = ("volume", "bind")
    return sorted(m["Destination"] for m in mounts if m["Type"] in kinds and m.get("RW"))


def empty_volumes(name: str, places: Sequence[str], image: str) -> None:
    """Remove the contents of a stopped container's volumes, with the `find` of its image. Raises HostError if that
    has none."""
    beside = [f"--cgroup-parent={c.slice}" for c in inspect([name]) if c.slice]
    for place in places:
        words = (f"--volumes-from={name}", "--entrypoint=find", image, place, "-mindepth", "1", "-delete")
        done = _run_as_root((*beside, *words), _EMPTYING)
        if done.status != 0:
            raise failed(done.stdout, f"container {name}")


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


def make_room(labels: Mapping[str, str], most: int) -> None:
    """Remove the oldest containers with these labels, so that one more makes `most` of them.

    For programs that somebody calls: they may go on when the call has ended, and each costs the engine memory that no
    limit of the app counts.
    """
    others = sorted(containers(labels), key=lambda c: c.started)
    remove([c.name for c in others[: max(len(others) - most + 1, 0)]])


def remove(names: Sequence[str]) -> None:
    """Remove containers with their anonymous volumes, including running ones."""
    if names:
        docker("rm", "--force", "--volumes", *names)
