"""Look at every app, and mend what should run and does not, or runs and is not healthy; Docker never does that.

Run by a timer every few seconds: nothing stays in memory in between. What it did is told to the journal and written
to `apps/<app>/watch.log`. Standard library only, and copied below ROOT beside `bring_up`, as that is.

No app can hold up another. One question to Docker tells of all containers, and those that have no health check of
their own are asked at the same time, each within one time for the whole of it (`probing`). What is to be mended is
mended apart, a few apps at once, each with a time of its own, while looks go on; who had help longest ago comes
first, also after a run that was cut off.

    python3 -I -S watchdog.py ROOT
"""

import contextlib
import datetime
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent import futures
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

try:
    from pushrod.engines import health_rule
    from pushrod.engines.docker import bring_up, calls, container_health, gates, hooks
    from pushrod.system import host_paths
except ImportError:  # a copy below ROOT: what it needs lies beside it
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import bring_up  # type: ignore[import-not-found, no-redef, unused-ignore]
    import calls  # type: ignore[import-not-found, no-redef, unused-ignore]
    import container_health  # type: ignore[import-not-found, no-redef, unused-ignore]
    import gates  # type: ignore[import-not-found, no-redef, unused-ignore]
    import health_rule  # type: ignore[import-not-found, no-redef, unused-ignore]
    import hooks  # type: ignore[import-not-found, no-redef, unused-ignore]
    import host_paths  # type: ignore[import-not-found, no-redef, unused-ignore]

UNITS = host_paths.WANTED
"""The apps that should be up have a link here."""

PATIENCE = 3
"""Looks in a row at which an instance without a health check of its own does not answer, before it is restarted."""

LIMIT = 6
"""Restarts of one container in an hour, after which it is left for a person to look at."""

AT_ONCE = 4
"""Apps that are mended at the same time; as many again are brought up, which takes longer."""

EVERY = 10.0
"""Seconds between two looks while something is mended; as the timer's."""

RUN = 240.0
"""Seconds after which a run looks no more, and begins nothing; what is under way has its time."""

ATTEND, UP = 60.0, 300.0
"""Seconds for mending one app's containers, and for bringing it up where one is gone. An app that takes longer to
come up goes on by itself: nothing of it is stopped."""

_HOUR = 3600.0
_FIRST, _LONGEST = 10.0, 600.0  # seconds between two restarts of a container: doubled each time
_DONE = {"up": "brought up", "start": "started", "restart": "restarted"}
_GRACE = "5"  # seconds that a container which does not answer has to end
_COMMAND = 60.0  # seconds for one command of Docker's
_LIST = '{{json .Names}} {{json .Status}} {{json (.Label "pushrod.probe")}} {{json (.Label "pushrod.probe.hosts")}}'


class Memory:
    """What earlier looks saw, by container; on tmpfs, so that a boot begins anew. Threads may share it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        self.seen: dict[str, dict[str, Any]] = {}
        with contextlib.suppress(OSError, ValueError):
            self.seen = json.loads(path.read_text())

    def of(self, name: str) -> dict[str, Any]:
        """What is remembered of one container."""
        return self.seen.setdefault(name, {"bad": 0, "restarts": [], "told": False})

    def helped(self, names: Collection[str]) -> float:
        """When one of these containers was last mended; 0 for never."""
        return max((at for n in names if n in self.seen for at in self.seen[n]["restarts"]), default=0.0)

    def save(self, names: Collection[str]) -> None:
        """Keep what is known of these containers, and forget all others."""
        with self.lock:
            text = json.dumps({n: m for n, m in self.seen.items() if n in names})
        temporary = self.path.with_suffix(f".{os.getpid()}")
        temporary.write_text(text)
        temporary.replace(self.path)


class Glance(NamedTuple):
    """What the list of all containers says of one: its status in Docker's words, and where it is to be asked."""

    status: str
    probe: str = ""
    hosts: str = ""

    @property
    def fine(self) -> bool:
        """Whether it runs, and Docker has not found it unhealthy, where that is what counts."""
        return self.status.startswith("Up ") and (self._way != "check" or "(unhealthy)" not in self.status)

    @property
    def asked(self) -> "health_rule.Probe | None":
        """How it is to be asked; None where it is not."""
        return self._probe if self._way in ("path", "port") else None

    @property
    def _probe(self) -> "health_rule.Probe | None":
        return health_rule.of_labels({health_rule.PROBE: self.probe, health_rule.HOSTS: self.hosts})

    @property
    def _way(self) -> "health_rule.Way":
        return health_rule.way(self._probe, "some" if re.search(r"health(y\)|: )", self.status) else "")


class Live(NamedTuple):
    """An app that should be up, and its containers."""

    app: bring_up.App
    release: dict[str, Any]
    names: tuple[str, ...]


def wait_after(restarts: int) -> float:
    """Seconds to let a container be after that many restarts in the last hour."""
    return 0.0 if not restarts else min(_FIRST * 2.0 ** (restarts - 1), _LONGEST)


# ---- looking ------------------------------------------------------------------------------------------------


def live(app: bring_up.App) -> Live | None:
    """What should run of an app; None where nothing should."""
    directory = app.release()
    if directory is None or gates.is_stopped(app.name):
        return None
    release = json.loads((directory / "release.json").read_text())
    names = [f"{app.name}-{s['name']}" for s in release["stores"]]
    names += [f"{app.name}-r{release['number']}-{i['name']}" for i in release["instances"]]
    return Live(app, release, tuple(names))


def glances() -> dict[str, Glance]:
    """Every container of every app, by name: one question to Docker, however many there are."""
    argv = ["docker", "ps", "--all", "--no-trunc", "--filter", "label=pushrod.app", "--format", _LIST]
    found = {}
    for line in calls.run(argv, _COMMAND).splitlines():
        decoder, at, words = json.JSONDecoder(), 0, []
        for _ in range(4):
            word, at = decoder.raw_decode(line, at)
            words.append(str(word))
            at += 1
        found[words[0]] = Glance(*words[1:])
    return found


def look(apps: list[Live], memory: Memory) -> Iterator[Live]:
    """Look at all apps at once; those that may need something, who had help longest ago first. What Docker itself
    knows comes before those that have to be asked, which may take their time."""
    seen = glances()
    told = [one for one in apps if _needs(one, {n for n in one.names if n not in seen or not seen[n].fine})]
    yield from sorted(told, key=lambda one: memory.helped(one.names))
    running = {n: seen[n] for one in apps for n in one.names if n in seen and seen[n].fine}
    asked = {name: probe for name, glance in running.items() if (probe := glance.asked)}
    problems = health_rule.problems(asked.values())
    needy = set()
    with memory.lock:
        for name, probe in asked.items():
            known = memory.of(name)
            known["bad"] = known["bad"] + 1 if problems[probe] else 0
            needy |= {name} if known["bad"] >= PATIENCE else set()
    found = [one for one in apps if one not in told and needy & set(one.names)]
    yield from sorted(found, key=lambda one: memory.helped(one.names))


def _needs(one: Live, ill: set[str]) -> bool:
    return bool(ill) or not gates.is_open(one.app.name, one.release["number"])


def trouble(container: "calls.Found | None", known: dict[str, Any]) -> tuple[str, str]:
    """What is wrong with a container, and what mends it: `start`, `restart` or `up`; nothing if nothing is."""
    if container is None:
        return "is not there", "up"
    state, policy = container["State"], container["HostConfig"]["RestartPolicy"]["Name"]
    if container_health.ended_well(state["Status"], state["ExitCode"], state["StartedAt"], policy):
        return "", ""
    if state["Status"] in ("exited", "dead") and policy in ("no", ""):
        return "", ""  # the manifest says that it is not to be brought back
    if state["Status"] in ("exited", "created", "dead"):
        return f"is {state['Status']} (status {state['ExitCode']})", "start"
    asked, health = (
        health_rule.of_labels(container["Config"]["Labels"]),
        container_health.own_health(container),
    )
    if health_rule.way(asked, health) == "check":
        return ("is unhealthy", "restart") if health == "unhealthy" else ("", "")
    if state["Status"] == "running" and asked and known["bad"] >= PATIENCE:
        return f"does not answer at {asked.target}", "restart"
    return "", ""


# ---- mending ------------------------------------------------------------------------------------------------


def attend(one: Live, memory: Memory, now: Callable[[], float] = time.time) -> bool:
    """Look closer at one app, and mend what needs it, unless a command works on it: that leaves it as it should be.

    Returns whether it has to be brought up: a container is gone.
    """
    end, missing = time.monotonic() + ATTEND, False
    with bring_up.alone(one.app) as held:
        current = live(one.app) if held else None
        if current is None:
            return False
        found = calls.inspect(list(current.names))
        for name in sorted(current.names, key=lambda name: memory.helped([name])):
            if time.monotonic() > end:
                break
            why, act = _due(current.app, name, found.get(name), memory, now())
            missing = missing or act == "up"
            if act not in ("", "up"):
                fix(current.app, name, why, act)
        admit(current.app, current.release, found, end)
    return missing


def _due(
    app: bring_up.App, name: str, container: "calls.Found | None", memory: Memory, now: float
) -> tuple[str, str]:
    """What is to be done now about a container, remembered as done; nothing where it is to be let be."""
    with memory.lock:
        known = memory.of(name)
        why, act = trouble(container, known)
        if not act:
            return "", ""
        known["restarts"] = [at for at in known["restarts"] if now - at < _HOUR]
        if len(known["restarts"]) >= LIMIT:
            told, known["told"] = known["told"], True
            if not told:
                record(app, name, why, f"left alone after {LIMIT} restarts in an hour: docker logs {name}")
            return "", ""
        if now - max(known["restarts"], default=0.0) < wait_after(len(known["restarts"])):
            return "", ""
        known.update(bad=0, told=False, restarts=[*known["restarts"], now])
        return why, act


def admit(app: bring_up.App, release: dict[str, Any], found: dict[str, Any], end: float) -> None:
    """Let the edge send requests to a release once all that it asks are healthy: where its unit gave up before, for
    those or for a worker, and where an older pushrod has brought it up, which did not say so. Nobody is asked after
    `end`, by the monotonic clock: checks of their own can take as long as they like, each for itself."""
    if gates.is_open(app.name, release["number"]) or not (gates.GATES / app.name).is_dir():
        return

    def well(name: str) -> bool:
        return time.monotonic() < end and name in found and not container_health.problem(found[name])

    names = bring_up.reached(app, release)
    if names and all(map(well, names)):
        gates.open_edge(app.name, release["number"])
        bring_up.say(
            f"{app.name}: release {release['number']} is healthy, and the edge lets requests through"
        )


def fix(app: bring_up.App, name: str, why: str, act: str) -> None:
    """Start or restart a container, or bring the whole app up where one is gone; and record it."""
    began = time.monotonic()
    try:
        if act == "up":
            up(app)
        elif act == "start":
            gates.open_gate(app.name)
            calls.run(["docker", "start", name], _COMMAND)
        else:
            for unwell in bring_up.before_stop(app, [name], float(_GRACE)):
                bring_up.say(unwell.why)
            calls.run(["docker", "restart", "-t", _GRACE, name], _COMMAND)
        row = bring_up.hooks_of(app).get(name) if act != "up" else None
        if row and (failed := hooks.after_start(row, _COMMAND)):
            bring_up.say(failed.why)
    except calls.Trouble as e:
        record(app, name, why, f"could not be mended: {e}")
        return
    record(app, name, why, f"{_DONE[act]} in {time.monotonic() - began:.1f} s")


def up(app: bring_up.App, timeout: float = UP) -> None:
    """Bring an app up in a process of its own, which ends with all it has started when its time is up."""
    program = str(Path(__file__).resolve().with_name("bring_up.py"))
    argv = [sys.executable, "-I", "-S", program, "up", str(app.root), app.name]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, text=True, errors="replace", start_new_session=True
    ) as child:
        try:
            said = [line for line in child.communicate(timeout=timeout)[0].splitlines() if line.strip()]
        except subprocess.TimeoutExpired as e:
            os.killpg(child.pid, signal.SIGKILL)
            raise calls.Trouble(f"it is not up after {timeout:g} s") from e
    for line in said:
        bring_up.say(line)
    if child.returncode:
        raise calls.Trouble(said[-1] if said else "it could not be brought up")


def record(app: bring_up.App, name: str, why: str, did: str) -> None:
    """One line for the journal, and one in the app's watch.log."""
    bring_up.say(f"{name} {why}: {did}")
    at = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")  # noqa: UP017 - any Python 3
    with (app.directory / "watch.log").open("a") as log:
        log.write(json.dumps({"at": at, "container": name, "why": why, "did": did}) + "\n")


# ---- a run --------------------------------------------------------------------------------------------------


Do = TypeVar("Do")


def _guarded(app: bring_up.App, do: Callable[[], Do]) -> "Do | None":
    """What one app makes go wrong is told, and is nobody else's trouble."""
    try:
        return do()
    except (calls.Trouble, OSError, ValueError, KeyError, TypeError) as e:
        bring_up.say(f"{app.name}: {e}")
        return None


def wanted(root: Path) -> list[Live]:
    """The apps that should be up."""
    found = []
    for link in sorted(UNITS.glob("pushrod-app@*.service")):
        app = bring_up.App(str(root), link.name[len("pushrod-app@") : -len(".service")])
        if app.directory.is_dir() and (one := _guarded(app, partial(live, app))):
            found.append(one)
    return found


class Mending:
    """What is being mended, by app: containers in one pool, whole apps, which take longer, in another."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._quick, self._slow = (futures.ThreadPoolExecutor(AT_ONCE) for _ in range(2))
        self._under_way: dict[str, futures.Future[Any]] = {}

    def begin(self, one: Live) -> None:
        """Mend an app, unless that is under way."""
        job = self._under_way.get(one.app.name)
        if job is None or job.done():
            self._under_way[one.app.name] = self._quick.submit(_guarded, one.app, partial(self._attend, one))

    def _attend(self, one: Live) -> None:
        if attend(one, self._memory):
            up = partial(fix, one.app, one.app.name, "lacks a container", "up")
            with contextlib.suppress(RuntimeError):  # the run is at its end: the next one comes to it
                self._under_way[one.app.name] = self._slow.submit(_guarded, one.app, up)

    def wait(self, timeout: float) -> bool:
        """Wait until nothing is under way, or for so long; whether nothing is."""
        end = time.monotonic() + timeout
        while jobs := [job for job in list(self._under_way.values()) if not job.done()]:
            if time.monotonic() >= end:
                return False
            futures.wait(jobs, timeout=end - time.monotonic())
        return True

    def end(self) -> None:
        """Begin nothing more, and let what is under way end."""
        for pool in (self._quick, self._slow):
            pool.shutdown(cancel_futures=True)


def main(arguments: list[str]) -> int:
    """Look at every app that should be up, and go on looking while one of them is mended; 0 also where something
    could not be mended, which the record says."""
    root, memory = Path(arguments[0]), Memory(gates.GATES / "watch.json")
    mending, end = Mending(memory), time.monotonic() + RUN
    while True:
        apps = wanted(root)
        try:
            for one in look(apps, memory):
                mending.begin(one)
        except (calls.Trouble, OSError, ValueError) as e:
            bring_up.say(str(e))
        done = mending.wait(EVERY)
        memory.save({name for one in apps for name in one.names})
        if done or time.monotonic() >= end:
            mending.end()
            return 0


if __name__ == "__main__":
    os.environ.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    sys.exit(main(sys.argv[1:]))
