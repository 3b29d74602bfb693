"""Measure what each container writes outside its volumes, and stop one that writes more than the host allows.

Run by a timer. Data outside volumes is lost with the container anyway, so stopping it costs only its own work, and
the disk, which all apps and the host share, does not fill up. A stopped container stays stopped, for the watchdog
too, until its app is deployed or restarted. Standard library only; copied below ROOT like `watchdog`.

Docker counts only files that have a name. A file that was deleted while a process has it open or mapped still takes
disk space and is in no directory: those are found through /proc.

 python3 -I -S layers.py ROOT LIMIT      LIMIT in bytes
"""

import contextlib
import json
import re
import stat
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

try:
    from pushrod.engines.docker import watch_log
    from pushrod.system import host_paths
except ImportError:  # the copy below ROOT has its modules in its own directory
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import host_paths  # type: ignore[import-not-found, no-redef, unused-ignore]
    import watch_log  # type: ignore[import-not-found, no-redef, unused-ignore]

WARNED = 0.8
"""The fraction of the limit from which a container gets one warning."""

PATIENCE = 3
"""Consecutive runs in which an app could not be measured before it is stopped: an app with too many files to count
must not continue.
"""

_LIST = 30.0  # seconds for one Docker command
_MEASURE = 60.0  # seconds for measuring one app: Docker counts every file that its containers wrote
_STOP = 60.0
_GRACE = "10"  # seconds that a stopped container has to end
_MEMORY = host_paths.RUNTIME / "layers.json"
_PROCESSES = Path("/proc")
_CONTAINER = re.compile(rb"[0-9a-f]{64}")  # in the name of a control group
_MAPPED = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+) (\S+) ([1-9][0-9]*) +(/.*) \(deleted\)")
_IN_MEMORY = ("/memfd:", "/dev/", "/SYSV", "/[")  # memory, not disk


class Running(NamedTuple):
    """A running container."""

    app: str
    name: str
    id: str


def docker(*argv: str, timeout: float) -> str:
    """Docker's output; empty if it fails or takes too long."""
    words = ["docker", *argv]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout if done.returncode == 0 else ""


def running() -> dict[str, list[Running]]:
    """The running containers, by app."""
    line = '{{.Label "pushrod.app"}} {{.Names}} {{.ID}}'
    containers: dict[str, list[Running]] = {}
    argv = ("ps", "--no-trunc", "--filter", "label=pushrod.app", "--format", line)
    for words in map(str.split, docker(*argv, timeout=_LIST).splitlines()):
        if len(words) == 3:
            containers.setdefault(words[0], []).append(Running(*words))
    return containers


def sizes(containers: Collection[Running]) -> dict[str, int]:
    """The bytes that each container has written outside its volumes, by name; empty if measuring takes too long."""
    format_ = "{{.Name}} {{.SizeRw}}"
    names = [one.name for one in containers]
    table = docker("container", "inspect", "--size", "--format", format_, *names, timeout=_MEASURE)
    rows = (line.lstrip("/").split() for line in table.splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


# ---- deleted files ------------------------------------------------------------------------------------------------


def nameless(containers: Collection[Running]) -> dict[str, int]:
    """The bytes of deleted files in each container's layer that its processes have open or mapped, by name. Each file
    counts once.
    """
    names = {one.id.encode(): one.name for one in containers}
    deleted: dict[str, dict[tuple[object, ...], int]] = {one.name: {} for one in containers}
    for process in _PROCESSES.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            groups = {*_CONTAINER.findall((process / "cgroup").read_bytes())}
            for name in (names[id_] for id_ in groups & names.keys()):
                deleted[name].update(_opened(process))
                for file, size in _mapped(process):
                    deleted[name][file] = max(size, deleted[name].get(file, 0))
    return {name: sum(files.values()) for name, files in deleted.items()}


def _opened(process: Path) -> Iterator[tuple[tuple[object, ...], int]]:
    """The open files of a process on the file system of its root."""
    layer = (process / "root").stat().st_dev
    for link in (process / "fd").iterdir():
        with contextlib.suppress(OSError):
            status = link.stat()
            if stat.S_ISREG(status.st_mode) and not status.st_nlink and status.st_dev == layer:
                yield ("open", status.st_ino), status.st_blocks * 512


def _mapped(process: Path) -> Iterator[tuple[tuple[object, ...], int]]:
    """The files of a process that are mapped and in none of its mounts, counted as far as the mapping reaches: their
    full size is unknown.
    """
    mounts = [line.split(" ")[4] for line in (process / "mountinfo").read_text(errors="replace").splitlines()]
    others = tuple(f"{mount}/" for mount in mounts if mount != "/")
    for line in (process / "maps").read_text(errors="replace").splitlines():
        mapping = _MAPPED.fullmatch(line)
        if mapping and not mapping[6].startswith((*_IN_MEMORY, *others)):
            begin, end, offset = (int(mapping[n], 16) for n in (1, 2, 3))
            yield ("mapped", mapping[4], mapping[5]), offset + end - begin


# ---- consequences -------------------------------------------------------------------------------------------------


def judge(written: dict[str, int], limit: int, warned: set[str]) -> tuple[list[str], list[str]]:
    """The containers to stop, and those to warn because they are near the limit."""
    stopped = [name for name, size in written.items() if size > limit]
    near = [n for n, size in written.items() if WARNED * limit < size <= limit and n not in warned]
    return stopped, near


def stop(names: Collection[str]) -> None:
    """Stop containers permanently, all at once: without a restart policy, the watchdog leaves them stopped too."""
    if names:
        docker("update", "--restart=no", *names, timeout=_LIST)
        docker("stop", "--time", _GRACE, *names, timeout=_STOP)


class Memory:
    """Earlier warnings, and apps that could not be measured; on tmpfs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warned: set[str] = set()
        self.missed: dict[str, int] = {}
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            stored = json.loads(path.read_text())
            self.warned, self.missed = set(stored["warned"]), dict(stored["missed"])

    def save(self, warned: set[str], missed: dict[str, int]) -> None:
        """Replace what is remembered by the results of this run."""
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps({"warned": sorted(warned), "missed": missed}))
        temporary.replace(self.path)


def main(arguments: list[str]) -> int:
    """Measure each app separately, within its own time, so that an app with many files does not hide the others."""
    root, limit, memory = Path(arguments[0]), int(arguments[1]), Memory(_MEMORY)
    seen: set[str] = set()
    missed: dict[str, int] = {}
    apps = running()
    hidden = nameless([one for containers in apps.values() for one in containers])
    for app, containers in sorted(apps.items()):
        known = sizes(containers)
        if not known:
            missed[app] = memory.missed.get(app, 0) + 1
        written = {one.name: known.get(one.name, 0) + hidden.get(one.name, 0) for one in containers}
        stopped, near = judge(written, limit, memory.warned)
        if lost := missed.get(app, 0) >= PATIENCE:
            stopped = [*written]
        stop(stopped)
        for name in stopped:
            why = f"has written {written[name] >> 20} MiB outside its volumes, of {limit >> 20} MiB"
            if lost:
                why = f"has written so many files outside its volumes that they cannot be counted in {_MEASURE:g} s"
            watch_log.record(root / "apps" / app, name, why, "stopped; `pushrod restart` starts it again")
        for name in near:
            why = f"has written {written[name] >> 20} MiB outside its volumes"
            watch_log.record(root / "apps" / app, name, why, f"it will be stopped at {limit >> 20} MiB")
        seen |= {*near, *(memory.warned & written.keys())}
    memory.save(seen, missed)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
