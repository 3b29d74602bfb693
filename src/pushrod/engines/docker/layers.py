"""Look at what each container writes outside of its volumes, and stop one that writes more than the host gives.

Run by a timer. What a container writes there is gone with it, so only its own work is lost; the disk, which all apps
and the host share, is not filled. A container that is stopped here stays stopped, for the watch too, until its app is
deployed or restarted. Standard library only, and copied below ROOT, as `watchdog` is.

Docker counts the files that have a name. A file that is taken away while a process has it open, or mapped, takes as
much of the disk and is in no directory: those are looked for in /proc.

    python3 -I -S layers.py ROOT LIMIT      LIMIT in bytes
"""

import contextlib
import datetime
import json
import re
import stat
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

try:
    from pushrod.system import host_paths
except ImportError:  # a copy below ROOT: what it needs lies beside it
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import host_paths  # type: ignore[import-not-found, no-redef, unused-ignore]

WARNED = 0.8
"""The part of the limit from which on it is said, once for a container."""

PATIENCE = 3
"""Looks in a row at which an app could not be measured, before it is stopped: who has so many files that it cannot be
known how much they take is not let go on."""

_LIST = 30.0  # seconds for one question to Docker
_MEASURE = 60.0  # seconds for measuring one app: Docker counts every file that its containers wrote
_STOP = 60.0
_GRACE = "10"  # seconds that a container which is stopped has to end
_MEMORY = host_paths.RUNTIME / "layers.json"
_PROCESSES = Path("/proc")
_CONTAINER = re.compile(rb"[0-9a-f]{64}")  # in the name of a control group
_MAPPED = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+) (\S+) ([1-9][0-9]*) +(/.*) \(deleted\)")
_IN_MEMORY = ("/memfd:", "/dev/", "/SYSV", "/[")  # which counts as memory, not as disk


class Running(NamedTuple):
    """A container that runs."""

    app: str
    name: str
    id: str


def docker(*argv: str, timeout: float) -> str:
    """What Docker prints; nothing where it fails or takes too long."""
    words = ["docker", *argv]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout if done.returncode == 0 else ""


def running() -> dict[str, list[Running]]:
    """The containers that run, by app."""
    line = '{{.Label "pushrod.app"}} {{.Names}} {{.ID}}'
    found: dict[str, list[Running]] = {}
    argv = ("ps", "--no-trunc", "--filter", "label=pushrod.app", "--format", line)
    for words in map(str.split, docker(*argv, timeout=_LIST).splitlines()):
        if len(words) == 3:
            found.setdefault(words[0], []).append(Running(*words))
    return found


def sizes(containers: Collection[Running]) -> dict[str, int]:
    """The bytes that each container has written outside of its volumes, by name; none where that takes too long."""
    format_ = "{{.Name}} {{.SizeRw}}"
    names = [one.name for one in containers]
    told = docker("container", "inspect", "--size", "--format", format_, *names, timeout=_MEASURE)
    rows = (line.lstrip("/").split() for line in told.splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


# ---- files that have no name any more -------------------------------------------------------------------------


def nameless(containers: Collection[Running]) -> dict[str, int]:
    """The bytes of the files in each container's layer that its processes have open, or mapped, and that no directory
    has any more, by name. Each file counts once."""
    names = {one.id.encode(): one.name for one in containers}
    found: dict[str, dict[tuple[object, ...], int]] = {one.name: {} for one in containers}
    for process in _PROCESSES.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            groups = {*_CONTAINER.findall((process / "cgroup").read_bytes())}
            for name in (names[id_] for id_ in groups & names.keys()):
                found[name].update(_opened(process))
                for file, size in _mapped(process):
                    found[name][file] = max(size, found[name].get(file, 0))
    return {name: sum(files.values()) for name, files in found.items()}


def _opened(process: Path) -> Iterator[tuple[tuple[object, ...], int]]:
    """The files of a process that are open, of the file system that its root is on."""
    layer = (process / "root").stat().st_dev
    for link in (process / "fd").iterdir():
        with contextlib.suppress(OSError):
            status = link.stat()
            if stat.S_ISREG(status.st_mode) and not status.st_nlink and status.st_dev == layer:
                yield ("open", status.st_ino), status.st_blocks * 512


def _mapped(process: Path) -> Iterator[tuple[tuple[object, ...], int]]:
    """The files of a process that are mapped and in none of its mounts: as far as the mapping goes, for nothing says
    how much of it there is."""
    mounts = [line.split(" ")[4] for line in (process / "mountinfo").read_text(errors="replace").splitlines()]
    others = tuple(f"{mount}/" for mount in mounts if mount != "/")
    for line in (process / "maps").read_text(errors="replace").splitlines():
        found = _MAPPED.fullmatch(line)
        if found and not found[6].startswith((*_IN_MEMORY, *others)):
            begin, end, offset = (int(found[n], 16) for n in (1, 2, 3))
            yield ("mapped", found[4], found[5]), offset + end - begin


# ---- what is done about it ------------------------------------------------------------------------------------


def judge(written: dict[str, int], limit: int, warned: set[str]) -> tuple[list[str], list[str]]:
    """Which containers are to be stopped, and of which it is to be said that they come near it."""
    stopped = [name for name, size in written.items() if size > limit]
    near = [n for n, size in written.items() if WARNED * limit < size <= limit and n not in warned]
    return stopped, near


def stop(names: Collection[str]) -> None:
    """Stop containers for good, all at once: with no policy to bring them back, the watch leaves them too."""
    if names:
        docker("update", "--restart=no", *names, timeout=_LIST)
        docker("stop", "--time", _GRACE, *names, timeout=_STOP)


def record(root: Path, app: str, name: str, why: str, did: str) -> None:
    """One line for the journal, and one in the app's watch.log."""
    print(f"{name} {why}: {did}", flush=True)  # noqa: T201 - the unit's output is its story
    directory = root / "apps" / app
    if directory.is_dir():
        at = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")  # noqa: UP017 - any Python 3
        with (directory / "watch.log").open("a") as log:
            log.write(json.dumps({"at": at, "container": name, "why": why, "did": did}) + "\n")


class Memory:
    """What earlier looks have said and could not measure; on tmpfs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warned: set[str] = set()
        self.missed: dict[str, int] = {}
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            told = json.loads(path.read_text())
            self.warned, self.missed = set(told["warned"]), dict(told["missed"])

    def save(self, warned: set[str], missed: dict[str, int]) -> None:
        """Keep what this look has found, and forget all else."""
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps({"warned": sorted(warned), "missed": missed}))
        temporary.replace(self.path)


def main(arguments: list[str]) -> int:
    """Look at each app by itself, each within its own time, so that one with many files does not hide the others."""
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
            why = f"has written {written[name] >> 20} MiB outside of its volumes, of {limit >> 20} MiB"
            if lost:
                why = f"has written so many files outside of its volumes that they are not counted in {_MEASURE:g} s"
            record(root, app, name, why, "stopped; `pushrod restart` begins anew")
        for name in near:
            why = f"has written {written[name] >> 20} MiB outside of its volumes"
            record(root, app, name, why, f"it is stopped at {limit >> 20} MiB")
        seen |= {*near, *(memory.warned & written.keys())}
    memory.save(seen, missed)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
