"""How much of the host one app may use: limits with defaults derived from the machine's size; the owner can
change them.

Pure: the machine is a value. A size above its ceiling is lowered to it, with a note, if the app can run with less;
too many items of a kind (services, volumes) are refused.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from pushrod.core.errors import UnknownNameError
from pushrod.core.values import Value

MIB, GIB = 1 << 20, 1 << 30
_HOST = 256 * MIB  # bytes of memory reserved for the host itself, even on the smallest server
_STEP = 128 * MIB


class Machine(NamedTuple):
    """What can be shared out: bytes of memory, processors, the kernel's maximum number of tasks, and bytes of the
    file system of ROOT."""

    memory: int
    cpus: int
    tasks: int
    disk: int = 64 * GIB


class Limits(Value, frozen=True):
    """The limits of a host. Sizes are in bytes, times in seconds; everything else is a count."""

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
    app_connections: int
    store_log: int = 16 * GIB
    push_size: int = 2 * GIB
    repository_size: int = 10 * GIB
    tree_size: int = 2 * GIB
    tree_files: int = 100_000
    file_size: int = 512 * MIB
    manifest_size: int = MIB
    manifest_values: int = 100_000


class Limit(NamedTuple):
    """How a limit is written and shown: a `kind` of `size` (bytes), `count` or `seconds`; `least` is the smallest
    value that can be set."""

    kind: str
    least: float
    meaning: str


LIMITS = {
    "memory": Limit("size", 64 * MIB, "memory of one container; also its default"),
    "pids": Limit("count", 64, "processes and threads of one container (default 1024)"),
    "app_memory": Limit("size", 64 * MIB, "memory of all instances, jobs and one-off programs of an app together"),
    "app_tasks": Limit("count", 64, "processes and threads of the same"),
    "store_memory": Limit("size", 64 * MIB, "memory of all stores of an app together"),
    "store_tasks": Limit("count", 64, "processes and threads of the same"),
    "all_memory": Limit("size", 64 * MIB, "memory of all apps and stores together; the rest is the host's"),
    "cpus": Limit("count", 1, "processors of one container (`cpus`, `cpuset`)"),
    "shm": Limit("size", MIB, "shared memory of one container (`shm_size`)"),
    "tmpfs": Limit("size", MIB, "each in-memory file system (`tmpfs`); also its default"),
    "layer": Limit("size", 64 * MIB, "data that one container may write outside its volumes"),
    "log_size": Limit("size", MIB, "one log file of a container (default 10 MiB)"),
    "log_files": Limit("count", 1, "log files kept per container (default 3)"),
    "open_files": Limit("count", 1024, "files that a process may have open (`ulimits.nofile`)"),
    "health_interval": Limit("seconds", 0.1, "the shortest time between two health checks"),
    "stop_grace": Limit("seconds", 1, "the longest time from SIGTERM to SIGKILL (`stop_grace_period`)"),
    "services": Limit("count", 1, "services of an app"),
    "containers": Limit("count", 1, "instances of a release and stores together (`deploy.replicas`)"),
    "volumes": Limit("count", 1, "volumes of an app; also its networks, which are not created"),
    "files": Limit("count", 1, "configs and secrets of an app, each"),
    "releases": Limit("count", 1, "releases that an app may keep (`x-pushrod.keep`)"),
    "client_requests": Limit("count", 10, "concurrent requests of one client address, to all apps together"),
    "client_uploads": Limit("count", 1, "uploads of one address at once: bodies of 1 MB or more, or of unknown size"),
    "client_connections": Limit("count", 10, "connections of one client address, if the kernel can count them"),
    "app_requests": Limit("count", 10, "concurrent requests to one app, of all clients together"),
    "app_connections": Limit("count", 64, "connections of a release to other networks; at most 1/32 new per second"),
    "store_log": Limit("size", MIB, "log of an app's databases that is kept for recovery to a point in time"),
    "push_size": Limit("size", MIB, "packed size of one push"),
    "repository_size": Limit("size", MIB, "total size of an app's repository"),
    "tree_size": Limit("size", MIB, "all files of a commit that is deployed"),
    "tree_files": Limit("count", 100, "files and directories of that commit"),
    "file_size": Limit("size", MIB, "one file of that commit"),
    "manifest_size": Limit("size", 4096, "a compose file, a Dockerfile or an env file"),
    "manifest_values": Limit("count", 100, "values of a compose file, with aliases expanded"),
}  # fmt: skip
"""Every limit by its field name in `Limits`; the command line writes `_` as `-`."""

_UNITS = {"": 1, "k": 1 << 10, "m": MIB, "g": GIB, "t": 1 << 40}


def defaults(machine: Machine) -> Limits:
    """The limits of a host whose owner has set none.

    One container gets half of the machine's memory, in whole GiB so that the limit does not vary with the kernel;
    an app gets three fifths of what the host does not need itself, and its stores the same again.
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
        app_connections=16384
        if machine.memory > 4 * GIB
        else 4096,  # the kernel's own table is 262,144 or less
        store_log=max(GIB, _whole(machine.disk // 4, GIB)),
    )


def _whole(value: int, step: int) -> int:
    """Round down to a multiple of `step`, which removes the difference between two kernels on the same machine."""
    return value // step * step


def resolve(machine: Machine, *changed: Mapping[str, float]) -> Limits:
    """The limits of a host: the defaults overridden by `changed`, where later mappings take precedence."""
    values = {name: getattr(defaults(machine), name) for name in LIMITS}
    for names in changed:
        values |= {n: v if LIMITS[n].kind == "seconds" else int(v) for n, v in names.items() if n in LIMITS}
    return Limits(**values)


def parse(text: str) -> tuple[str, float]:
    """Parse a change such as `memory=2G` or `app-tasks=500` into name and value. Raises UnknownNameError if
    invalid."""
    given, _, value = text.partition("=")
    name = given.replace("-", "_")
    limit = LIMITS.get(name)
    if limit is None:
        known = ", ".join(n.replace("_", "-") for n in LIMITS)
        raise UnknownNameError(f"there is no limit `{given}`", hint=f"limits: {known}")
    number = _number(value, limit.kind)
    if number is None or number < limit.least:
        least = written(name, limit.least)
        example = {"size": "512M or 2G", "count": "a whole number", "seconds": "a number of seconds"}[
            limit.kind
        ]
        raise UnknownNameError(f"`{value}` is not a value of {given}", hint=f"{example}, at least {least}")
    return name, number


def _number(text: str, kind: str) -> float | None:
    if kind == "seconds":
        return float(text) if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", text) else None
    match = re.fullmatch(r"([0-9]{1,12})([kmgt]?)" if kind == "size" else r"([0-9]{1,9})()", text.lower())
    return int(match[1]) * _UNITS[match[2]] if match else None


def written(name: str, value: float) -> str:
    """A value as it is displayed: `12 GiB`, `4096`, `1 s`."""
    kind = LIMITS[name].kind
    return size(int(value)) if kind == "size" else f"{value:g} s" if kind == "seconds" else str(int(value))


def size(value: int) -> str:
    """A number of bytes in the largest unit that divides it evenly."""
    for unit, word in ((GIB, "GiB"), (MIB, "MiB"), (1 << 10, "KiB")):
        if value >= unit and value % unit == 0:
            return f"{value // unit} {word}"
    return f"{value} bytes"


def assignment(name: str, value: float) -> str:
    """A value as `parse` reads exactly it: `memory=2048M`. Raises KeyError for an unknown name."""
    kind, word = LIMITS[name].kind, name.replace("_", "-")
    if kind == "size" and value % MIB == 0:
        return f"{word}={int(value) // MIB}M"
    return f"{word}={value:.3f}" if kind == "seconds" else f"{word}={int(value)}"


def option(name: str, value: float) -> str:
    """The command with which the host's owner raises a limit to a value."""
    kind = LIMITS[name].kind
    least = -(-int(value) // MIB) if kind == "size" else int(value)
    return f"pushrod host limits {name.replace('_', '-')}={least}{'M' if kind == 'size' else ''}"
