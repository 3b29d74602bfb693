"""Look at every app once, and mend what should run and does not, or runs and is not healthy; Docker never does that.

Run by a timer every few seconds: nothing stays in memory in between. What it did is told to the journal and written
to `apps/<app>/watch.log`. Standard library only, and copied below ROOT beside `reconcile`, as that is.

    python3 -I -S watch.py ROOT
"""

import contextlib
import datetime
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import reconcile

UNITS = Path("/etc/systemd/system/pushrod.target.wants")
"""The apps that should be up have a link here."""

PATIENCE = 3
"""Looks in a row at which an instance without a health check of its own does not answer, before it is restarted."""

LIMIT = 6
"""Restarts of one container in an hour, after which it is left for a person to look at."""

_HOUR = 3600.0
_FIRST, _LONGEST = 10.0, 600.0  # seconds between two restarts of a container: doubled each time
_DONE = {"up": "brought up", "start": "started", "restart": "restarted"}
_GRACE = "5"  # seconds that a container which does not answer has to end


class Memory:
    """What earlier looks saw, by container; on tmpfs, so that a boot begins anew."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: dict[str, dict[str, Any]] = {}
        with contextlib.suppress(OSError, ValueError):
            self.seen = json.loads(path.read_text())

    def of(self, name: str) -> dict[str, Any]:
        """What is remembered of one container."""
        return self.seen.setdefault(name, {"bad": 0, "restarts": [], "told": False})

    def save(self, names: set[str]) -> None:
        """Keep what is known of these containers, and forget all others."""
        temporary = self.path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps({n: m for n, m in self.seen.items() if n in names}))
        temporary.replace(self.path)


def wait_after(restarts: int) -> float:
    """Seconds to let a container be after that many restarts in the last hour."""
    return 0.0 if not restarts else min(_FIRST * 2.0 ** (restarts - 1), _LONGEST)


def look(app: reconcile.App, memory: Memory, now: float) -> set[str]:
    """Look at one app and mend what needs it; returns the names of its containers."""
    directory = app.release()
    if directory is None or reconcile.is_stopped(app):
        return set()
    release = json.loads((directory / "release.json").read_text())
    names = [f"{app.name}-{s['name']}" for s in release["stores"]]
    names += [f"{app.name}-r{release['number']}-{i['name']}" for i in release["instances"]]
    found = reconcile.inspect(names)
    for name in names:
        why, act = trouble(name, found.get(name), memory)
        if not why:
            continue
        known = memory.of(name)
        known["restarts"] = [at for at in known["restarts"] if now - at < _HOUR]
        if len(known["restarts"]) >= LIMIT:
            if not known["told"]:
                record(app, name, why, f"left alone after {LIMIT} restarts in an hour: docker logs {name}")
            known["told"] = True
        elif now - max(known["restarts"], default=0.0) >= wait_after(len(known["restarts"])):
            known.update(bad=0, told=False, restarts=[*known["restarts"], now])
            mend(app, name, why, act)
    admit(app, release, found)
    return set(names)


def admit(app: reconcile.App, release: dict[str, Any], found: dict[str, Any]) -> None:
    """Let the edge send requests to a release once all that it asks are healthy: where its unit gave up before, for
    those or for a worker, and where an older pushrod has brought it up, which did not say so."""
    if reconcile.is_open(app, release["number"]) or not (reconcile.GATES / app.name).is_dir():
        return
    names = reconcile.reached(app, release)
    if names and all(name in found and not reconcile.problem(found[name]) for name in names):
        reconcile.open_edge(app, release["number"])
        reconcile.say(
            f"{app.name}: release {release['number']} is healthy, and the edge lets requests through"
        )


def trouble(name: str, container: "reconcile.Found | None", memory: Memory) -> tuple[str, str]:
    """What is wrong with a container, and what mends it: `start`, `restart` or `up`; nothing if nothing is."""
    known = memory.of(name)
    if container is None:
        return "is not there", "up"
    state, policy = container["State"], container["HostConfig"]["RestartPolicy"]["Name"]
    if reconcile.ended_well(state["Status"], state["ExitCode"], state["StartedAt"], policy):
        return "", ""
    if state["Status"] in ("exited", "dead") and policy in ("no", ""):
        return "", ""  # the manifest says that it is not to be brought back
    if state["Status"] in ("exited", "created", "dead"):
        return f"is {state['Status']} (status {state['ExitCode']})", "start"
    if (state.get("Health") or {}).get("Status") == "unhealthy":
        return "is unhealthy", "restart"
    target = (container["Config"]["Labels"] or {}).get("pushrod.probe", "")
    if state["Status"] != "running" or not target or reconcile.probe(target):
        known["bad"] = 0
        return "", ""
    known["bad"] += 1
    return (f"does not answer at {target}", "restart") if known["bad"] >= PATIENCE else ("", "")


def mend(app: reconcile.App, name: str, why: str, act: str) -> None:
    """Start or restart a container, or bring the whole app up where it is gone; and record it."""
    began = time.monotonic()
    try:
        if act == "up":
            reconcile.up(app)
        elif act == "start":
            reconcile.open_gate(app)
            reconcile.run(["docker", "start", name])
        else:
            reconcile.run(["docker", "restart", "-t", _GRACE, name])
    except reconcile.Trouble as e:
        record(app, name, why, f"could not be mended: {e}")
        return
    record(app, name, why, f"{_DONE[act]} in {time.monotonic() - began:.1f} s")


def record(app: reconcile.App, name: str, why: str, did: str) -> None:
    """One line for the journal, and one in the app's watch.log."""
    reconcile.say(f"{name} {why}: {did}")
    at = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")  # noqa: UP017 - any Python 3
    with (app.directory / "watch.log").open("a") as log:
        log.write(json.dumps({"at": at, "container": name, "why": why, "did": did}) + "\n")


def main(arguments: list[str]) -> int:
    """Look at every app that should be up; 0 also where something could not be mended, which the record says."""
    root = Path(arguments[0])
    memory, names = Memory(reconcile.GATES / "watch.json"), set[str]()
    for link in sorted(UNITS.glob("pushrod-app@*.service")):
        app = reconcile.App(str(root), link.name[len("pushrod-app@") : -len(".service")])
        if not app.directory.is_dir():
            continue
        with reconcile.alone(app) as held:
            try:
                names |= look(app, memory, time.time()) if held else set(memory.seen)
            except (reconcile.Trouble, OSError, ValueError, KeyError) as e:
                reconcile.say(f"{app.name}: {e}")
    memory.save(names)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    sys.exit(main(sys.argv[1:]))
