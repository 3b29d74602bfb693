"""Look at what each container writes outside of its volumes, and stop one that writes more than the host gives.

Run by a timer. What a container writes there is gone with it, so only its own work is lost; the disk, which all apps
and the host share, is not filled. A container that is stopped here stays stopped, for the watch too, until its app is
deployed or restarted. Standard library only, and copied below ROOT, as `watchdog` is.

    python3 -I -S layers.py ROOT LIMIT      LIMIT in bytes
"""

import datetime
import json
import subprocess
import sys
from pathlib import Path

WARNED = 0.8
"""The part of the limit from which on it is said, once for a container."""

_LIST = 30.0  # seconds for one question to Docker
_MEASURE = 60.0  # seconds for measuring one app: Docker counts every file that its containers wrote
_STOP = 60.0
_GRACE = "10"  # seconds that a container which is stopped has to end
_MEMORY = Path("/run/pushrod/layers.json")


def docker(*argv: str, timeout: float) -> str:
    """What Docker prints; nothing where it fails or takes too long."""
    words = ["docker", *argv]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout if done.returncode == 0 else ""


def running() -> dict[str, list[str]]:
    """The names of the containers that run, by app."""
    line = '{{.Label "pushrod.app"}} {{.Names}}'
    found: dict[str, list[str]] = {}
    listed = docker("ps", "--filter", "label=pushrod.app", "--format", line, timeout=_LIST)
    for app, _, name in (words.partition(" ") for words in listed.splitlines()):
        found.setdefault(app, []).append(name)
    return found


def sizes(names: list[str]) -> dict[str, int]:
    """The bytes that each container has written outside of its volumes."""
    format_ = "{{.Name}} {{.SizeRw}}"
    told = docker("container", "inspect", "--size", "--format", format_, *names, timeout=_MEASURE)
    rows = (line.lstrip("/").split() for line in told.splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def judge(written: dict[str, int], limit: int, warned: set[str]) -> tuple[list[str], list[str]]:
    """Which containers are to be stopped, and of which it is to be said that they come near it."""
    stopped = [name for name, size in written.items() if size > limit]
    near = [n for n, size in written.items() if WARNED * limit < size <= limit and n not in warned]
    return stopped, near


def stop(name: str) -> None:
    """Stop a container for good: with no policy to bring it back, the watch leaves it too."""
    docker("update", "--restart=no", name, timeout=_LIST)
    docker("stop", "--time", _GRACE, name, timeout=_STOP)


def record(root: Path, app: str, name: str, why: str, did: str) -> None:
    """One line for the journal, and one in the app's watch.log."""
    print(f"{name} {why}: {did}", flush=True)  # noqa: T201 - the unit's output is its story
    directory = root / "apps" / app
    if directory.is_dir():
        at = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")  # noqa: UP017 - any Python 3
        with (directory / "watch.log").open("a") as log:
            log.write(json.dumps({"at": at, "container": name, "why": why, "did": did}) + "\n")


def main(arguments: list[str]) -> int:
    """Look at each app by itself, each within its own time, so that one with many files does not hide the others."""
    root, limit = Path(arguments[0]), int(arguments[1])
    try:
        warned = set(json.loads(_MEMORY.read_text()))
    except (OSError, ValueError):
        warned = set()
    seen: set[str] = set()
    for app, names in sorted(running().items()):
        written = sizes(names)
        stopped, near = judge(written, limit, warned)
        for name in stopped:
            stop(name)
            why = f"has written {written[name] >> 20} MiB outside of its volumes, of {limit >> 20} MiB"
            record(root, app, name, why, "stopped; `pushrod restart` begins anew")
        for name in near:
            why = f"has written {written[name] >> 20} MiB outside of its volumes"
            record(root, app, name, why, f"it is stopped at {limit >> 20} MiB")
        seen |= {*near, *(warned & {*names})}
    temporary = _MEMORY.with_suffix(".new")
    temporary.write_text(json.dumps(sorted(seen)))
    temporary.replace(_MEMORY)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
