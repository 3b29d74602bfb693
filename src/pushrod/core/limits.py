"""How much of the host one app may take: ceilings with defaults from the machine's size, which the owner can change.

Pure: the machine is a value. What a manifest asks for beyond a ceiling is brought down to it with a note, where the
app runs on with less; a number of things beyond one (services, volumes) is refused.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from pushrod.core.errors import UnknownNameError
from pushrod.core.values import Value

MIB, GIB = 1 << 20, 1 << 30
_HOST = 256 * MIB  # bytes of memory that stay for the host itself, on the smallest server too
_STEP = 128 * MIB


class Machine(NamedTuple):
    """What there is to share: bytes of memory, processors, and how many tasks the kernel makes."""

    memory: int
    cpus: int
    tasks: int


class Limits(Value, frozen=True):
    """The ceilings of a host. Sizes are bytes, times seconds; the rest are numbers of things."""

    memory: int
    pids: int
    app_memory: int
    app_tasks: int
    store_memory: int
    store_tasks: int
    all_memory: int
    cpus: int
    shm: int
    tmpfs: int
    layer: int
    log_size: int
    log_files: int
    open_files: int
    health_interval: float
    stop_grace: float
    services: int
    containers: int
    volumes: int
    files: int
    releases: int
    client_requests: int
    client_uploads: int
    client_connections: int
    app_requests: int
    push_size: int = 2 * GIB
    repository_size: int = 10 * GIB
    tree_size: int = 2 * GIB
    tree_files: int = 100_000
    file_size: int = 512 * MIB
    manifest_size: int = MIB
    manifest_values: int = 100_000


class Limit(NamedTuple):
    """How a limit is written and shown: `size` is bytes, `count` a number, `seconds` a time; `least` is the smallest
    value that can be set."""

    kind: str
    least: float
    meaning: str


LIMITS = {
    "memory": Limit("size", 64 * MIB, "memory of one container; also of one that says nothing itself"),
    "pids": Limit("count", 64, "processes and threads of one container (1024 of one that says nothing)"),
    "app_memory": Limit("size", 64 * MIB, "memory of all instances, jobs and one-off programs of an app together"),
    "app_tasks": Limit("count", 64, "processes and threads of the same"),
    "store_memory": Limit("size", 64 * MIB, "memory of all stores of an app together"),
    "store_tasks": Limit("count", 64, "processes and threads of the same"),
    "all_memory": Limit("size", 64 * MIB, "memory of all apps and stores together; the rest is the host's"),
    "cpus": Limit("count", 1, "processors of one container (`cpus`, `cpuset`)"),
    "shm": Limit("size", MIB, "shared memory of one container (`shm_size`)"),
    "tmpfs": Limit("size", MIB, "each file system in memory (`tmpfs`); also one that gives no size"),
    "layer": Limit("size", 64 * MIB, "what one container may write outside of its volumes"),
    "log_size": Limit("size", MIB, "one log file of a container (10 MiB unless it says otherwise)"),
    "log_files": Limit("count", 1, "how many of them are kept (3 unless it says otherwise)"),
    "open_files": Limit("count", 1024, "files that a process may have open (`ulimits.nofile`)"),
    "health_interval": Limit("seconds", 0.1, "the shortest time between two health checks"),
    "stop_grace": Limit("seconds", 1, "the longest time from SIGTERM to SIGKILL (`stop_grace_period`)"),
    "services": Limit("count", 1, "services of an app"),
    "containers": Limit("count", 1, "instances of a release and stores together (`deploy.replicas`)"),
    "volumes": Limit("count", 1, "volumes of an app; networks likewise, which are not made"),
    "files": Limit("count", 1, "configs and secrets of an app, each"),
    "releases": Limit("count", 1, "releases that an app may keep (`x-pushrod.keep`)"),
    "client_requests": Limit("count", 10, "requests of one client's address at once, to all apps together"),
    "client_uploads": Limit("count", 1, "of them such with a body of 1 MB or more, or of unknown size"),
    "client_connections": Limit("count", 10, "connections of one address, where the kernel can count them"),
    "app_requests": Limit("count", 10, "requests to one app at once, of all clients together"),
    "push_size": Limit("size", MIB, "what one push may send, as Git packs it"),
    "repository_size": Limit("size", MIB, "all that an app's repository keeps of what was pushed to it"),
    "tree_size": Limit("size", MIB, "all files of a commit that is deployed"),
    "tree_files": Limit("count", 100, "how many files and directories that commit may have"),
    "file_size": Limit("size", MIB, "one of those files"),
    "manifest_size": Limit("size", 4096, "a compose file, a Dockerfile or an env file"),
    "manifest_values": Limit("count", 100, "values of a compose file, those that aliases repeat counted as often"),
}  # fmt: skip
"""Every limit by its name in `Limits`; on the command line `_` is written `-`."""

_UNITS = {"": 1, "k": 1 << 10, "m": MIB, "g": GIB, "t": 1 << 40}


def defaults(machine: Machine) -> Limits:
    """The limits of a host whose owner has said nothing.

    One container may have half of the machine's memory, in whole GiB so that it stays the same; an app three fifths
    of what the host does not need itself, and its stores as much.
    """
    memory = max(GIB, machine.memory // 2 // GIB * GIB)
    everything = _whole(max(machine.memory // 2, machine.memory - max(_HOST, machine.memory // 10)), _STEP)
    app = max(memory, _whole(everything * 3 // 5, _STEP))
    tasks = min(8192, max(2048, _whole(machine.tasks // 4, 256)))
    return Limits(
        memory=memory,
        pids=tasks // 2,
        app_memory=app,
        app_tasks=tasks,
        store_memory=app,
        store_tasks=tasks,
        all_memory=everything,
        cpus=machine.cpus,
        shm=memory // 2,
        tmpfs=memory // 2,
        layer=10 * GIB,
        log_size=100 * MIB,
        log_files=10,
        open_files=1 << 20,
        health_interval=1.0,
        stop_grace=600.0,
        services=50,
        containers=50,
        volumes=50,
        files=100,
        releases=20,
        client_requests=1000,
        client_uploads=20,
        client_connections=2000,
        app_requests=4000,
    )


def _whole(value: int, step: int) -> int:
    """A number without the part that differs between two kernels on the same machine."""
    return value // step * step


def resolve(machine: Machine, *changed: Mapping[str, float]) -> Limits:
    """The limits of a host: the defaults, with what its owner has changed; the last goes first."""
    values = {name: getattr(defaults(machine), name) for name in LIMITS}
    for names in changed:
        values |= {n: v if LIMITS[n].kind == "seconds" else int(v) for n, v in names.items() if n in LIMITS}
    return Limits(**values)


def parse(text: str) -> tuple[str, float]:
    """Name and value of a change: `memory=2G`, `app-tasks=500`. UnknownNameError for what is none."""
    given, _, value = text.partition("=")
    name = given.replace("-", "_")
    limit = LIMITS.get(name)
    if limit is None:
        known = ", ".join(n.replace("_", "-") for n in LIMITS)
        raise UnknownNameError(f"there is no limit `{given}`", hint=f"limits: {known}")
    found = _number(value, limit.kind)
    if found is None or found < limit.least:
        least = written(name, limit.least)
        example = {"size": "512M or 2G", "count": "a whole number", "seconds": "a number of seconds"}[
            limit.kind
        ]
        raise UnknownNameError(f"`{value}` is no value of {given}", hint=f"{example}, at least {least}")
    return name, found


def _number(text: str, kind: str) -> float | None:
    if kind == "seconds":
        return float(text) if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", text) else None
    found = re.fullmatch(r"([0-9]{1,12})([kmgt]?)" if kind == "size" else r"([0-9]{1,9})()", text.lower())
    return int(found[1]) * _UNITS[found[2]] if found else None


def written(name: str, value: float) -> str:
    """A value as it is read: `12 GiB`, `4096`, `1 s`."""
    kind = LIMITS[name].kind
    return size(int(value)) if kind == "size" else f"{value:g} s" if kind == "seconds" else str(int(value))


def size(value: int) -> str:
    """A number of bytes in the largest unit that leaves it whole."""
    for unit, word in ((GIB, "GiB"), (MIB, "MiB"), (1 << 10, "KiB")):
        if value >= unit and value % unit == 0:
            return f"{value // unit} {word}"
    return f"{value} bytes"


def option(name: str, value: float) -> str:
    """What the host's owner says to raise a limit to a value."""
    kind = LIMITS[name].kind
    least = -(-int(value) // MIB) if kind == "size" else int(value)
    return f"pushrod host limits {name.replace('_', '-')}={least}{'M' if kind == 'size' else ''}"
