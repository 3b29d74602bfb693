"""Repair apps: start what should run and does not, restart what runs and is unhealthy. Docker does neither.

Run by a timer every few seconds; nothing stays in memory in between. Its actions go to systemd's journal and to
`apps/<app>/watch.log`. Standard library only; copied below ROOT beside `bring_up`.

No app can delay another. One Docker command lists all containers; those without a health check of their own are
probed concurrently, each within a total time (`probing`). A few apps are repaired at a time, each with its own
deadline, while checks continue. The app that was repaired longest ago comes first, even after an interrupted run.

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
except ImportError:  # the copy below ROOT has its modules in its own directory
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import bring_up  # type: ignore[import-not-found, no-redef, unused-ignore]
    import calls  # type: ignore[import-not-found, no-redef, unused-ignore]
    import container_health  # type: ignore[import-not-found, no-redef, unused-ignore]
    import gates  # type: ignore[import-not-found, no-redef, unused-ignore]
    import health_rule  # type: ignore[import-not-found, no-redef, unused-ignore]
    import hooks  # type: ignore[import-not-found, no-redef, unused-ignore]
    import host_paths  # type: ignore[import-not-found, no-redef, unused-ignore]

UNITS = host_paths.WANTED
"""Each app that should be up has a link here."""

PATIENCE = 3
"""Consecutive checks that an instance without its own health check must fail before it is restarted."""

LIMIT = 6
"""Restarts of one container in an hour, after which it is left to a person."""

AT_ONCE = 4
"""Apps that are repaired at the same time; as many again are brought up, which takes longer."""

EVERY = 10.0
"""Seconds between two checks while something is repaired; the timer's interval."""

RUN = 240.0
"""Seconds after which a run starts nothing new; repairs in progress keep their time."""

REPAIR, UP = 60.0, 300.0
"""Seconds for repairing one app's containers, and for bringing the app up if one is missing. An app that takes longer
continues to start: none of it is stopped.
"""

_HOUR = 3600.0
_FIRST, _LONGEST = 10.0, 600.0  # seconds between two restarts of a container: doubled each time
_DONE = {"up": "brought up", "start": "started", "restart": "restarted"}
_GRACE = "5"  # seconds that an unresponsive container has to end
_COMMAND = 60.0  # seconds for one Docker command
_LIST = '{{json .Names}} {{json .Status}} {{json (.Label "pushrod.probe")}} {{json (.Label "pushrod.probe.hosts")}}'


class Memory:
    """What earlier checks found, by container; on tmpfs, so that a boot starts empty. Thread-safe with `lock`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        self.seen: dict[str, dict[str, Any]] = {}
        with contextlib.suppress(OSError, ValueError):
            self.seen = json.loads(path.read_text())

    def of(self, name: str) -> dict[str, Any]:
        """What is remembered of one container."""
        return self.seen.setdefault(name, {"bad": 0, "restarts": [], "told": False})

    def last_repaired(self, names: Collection[str]) -> float:
        """When one of these containers was last repaired; 0 for never."""
        return max((at for n in names if n in self.seen for at in self.seen[n]["restarts"]), default=0.0)

    def save(self, names: Collection[str]) -> None:
        """Store what is known of these containers and drop the rest."""
        with self.lock:
            text = json.dumps({n: m for n, m in self.seen.items() if n in names})
        temporary = self.path.with_suffix(f".{os.getpid()}")
        temporary.write_text(text)
        temporary.replace(self.path)


class Listed(NamedTuple):
    """A container's row in Docker's list: its status in Docker's words, and the labels with its probe."""

    status: str
    probe: str = ""
    hosts: str = ""

    @property
    def fine(self) -> bool:
        """Whether it runs and, if its own health check decides, Docker does not report it unhealthy."""
        return self.status.startswith("Up ") and (self._way != "check" or "(unhealthy)" not in self.status)

    @property
    def asked(self) -> "health_rule.Probe | None":
        """Its probe; None if it is not probed."""
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
    """Seconds to leave a container alone after that many restarts in the last hour."""
    return 0.0 if not restarts else min(_FIRST * 2.0 ** (restarts - 1), _LONGEST)


# ---- checks -------------------------------------------------------------------------------------------------


def live(app: bring_up.App) -> Live | None:
    """The app with everything that should run; None if nothing should."""
    directory = app.release()
    if directory is None or gates.is_stopped(app.name):
        return None
    release = json.loads((directory / "release.json").read_text())
    names = [f"{app.name}-{s['name']}" for s in release["stores"]]
    names += [f"{app.name}-r{release['number']}-{i['name']}" for i in release["instances"]]
    return Live(app, release, tuple(names))


def listed() -> dict[str, Listed]:
    """Every container of every app, by name, from one Docker command."""
    argv = ["docker", "ps", "--all", "--no-trunc", "--filter", "label=pushrod.app", "--format", _LIST]
    rows = {}
    for line in calls.run(argv, _COMMAND).splitlines():
        decoder, at, words = json.JSONDecoder(), 0, []
        for _ in range(4):
            word, at = decoder.raw_decode(line, at)
            words.append(str(word))
            at += 1
        rows[words[0]] = Listed(*words[1:])
    return rows


def failing(apps: list[Live], memory: Memory) -> Iterator[Live]:
    """Check all apps at once; yields those that may need repair, the one repaired longest ago first. Apps that Docker
    reports come before those that have to be probed, which may take a while.
    """
    seen = listed()
    reported = [
        one for one in apps if _needs(one, {n for n in one.names if n not in seen or not seen[n].fine})
    ]
    yield from sorted(reported, key=lambda one: memory.last_repaired(one.names))
    running = {n: seen[n] for one in apps for n in one.names if n in seen and seen[n].fine}
    asked = {name: probe for name, glance in running.items() if (probe := glance.asked)}
    problems = health_rule.problems(asked.values())
    needy = set()
    with memory.lock:
        for name, probe in asked.items():
            known = memory.of(name)
            known["bad"] = known["bad"] + 1 if problems[probe] else 0
            needy |= {name} if known["bad"] >= PATIENCE else set()
    probed = [one for one in apps if one not in reported and needy & set(one.names)]
    yield from sorted(probed, key=lambda one: memory.last_repaired(one.names))


def _needs(one: Live, ill: set[str]) -> bool:
    return bool(ill) or not gates.is_open(one.app.name, one.release["number"])


def diagnose(container: "calls.Found | None", known: dict[str, Any]) -> tuple[str, str]:
    """What is wrong with a container, and the remedy: `start`, `restart` or `up`; two empty strings if it is fine."""
    if container is None:
        return "is not there", "up"
    state, policy = container["State"], container["HostConfig"]["RestartPolicy"]["Name"]
    if container_health.ended_well(state["Status"], state["ExitCode"], state["StartedAt"], policy):
        return "", ""
    if state["Status"] in ("exited", "dead") and policy in ("no", ""):
        return "", ""  # the manifest does not want it restarted
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


# ---- repairs ------------------------------------------------------------------------------------------------


def repair(one: Live, memory: Memory, now: Callable[[], float] = time.time) -> bool:
    """Check one app closely and repair it, unless a command works on it: the command leaves it in its proper state.

    Returns whether the app must be brought up because a container is missing.
    """
    end, missing = time.monotonic() + REPAIR, False
    with bring_up.alone(one.app) as held:
        current = live(one.app) if held else None
        if current is None:
            return False
        containers = calls.inspect(list(current.names))
        for name in sorted(current.names, key=lambda name: memory.last_repaired([name])):
            if time.monotonic() > end:
                break
            why, act = _due(current.app, name, containers.get(name), memory, now())
            missing = missing or act == "up"
            if act not in ("", "up"):
                fix(current.app, name, why, act)
        open_edge_if_healthy(current.app, current.release, containers, end)
    return missing


def _due(
    app: bring_up.App, name: str, container: "calls.Found | None", memory: Memory, now: float
) -> tuple[str, str]:
    """The action that is due for a container, recorded as taken; empty if it is to be left alone."""
    with memory.lock:
        known = memory.of(name)
        why, act = diagnose(container, known)
        if not act:
            return "", ""
        known["restarts"] = [at for at in known["restarts"] if now - at < _HOUR]
        if len(known["restarts"]) >= LIMIT:
            known_before, known["told"] = known["told"], True
            if not known_before:
                record(app, name, why, f"left alone after {LIMIT} restarts in an hour: docker logs {name}")
            return "", ""
        if now - max(known["restarts"], default=0.0) < wait_after(len(known["restarts"])):
            return "", ""
        known.update(bad=0, known_before=False, restarts=[*known["restarts"], now])
        return why, act


def open_edge_if_healthy(
    app: bring_up.App, release: dict[str, Any], containers: dict[str, Any], end: float
) -> None:
    """Let the edge send requests to a release once all containers that it asks are healthy.

    Needed when the app's unit gave up waiting, perhaps for a worker, and when an older pushrod started the app
    without setting the marker. Stops checking at `end` (monotonic clock): own health checks can take any time.
    """
    if gates.is_open(app.name, release["number"]) or not (gates.GATES / app.name).is_dir():
        return

    def well(name: str) -> bool:
        return (
            time.monotonic() < end and name in containers and not container_health.problem(containers[name])
        )

    names = bring_up.reached(app, release)
    if names and all(map(well, names)):
        gates.open_edge(app.name, release["number"])
        bring_up.log(f"{app.name}: release {release['number']} is healthy, and the edge sends it requests")


def fix(app: bring_up.App, name: str, why: str, act: str) -> None:
    """Start or restart a container, or bring the whole app up if one is missing, and record it."""
    began = time.monotonic()
    try:
        if act == "up":
            up(app)
        elif act == "start":
            gates.open_gate(app.name)
            calls.run(["docker", "start", name], _COMMAND)
        else:
            for failure in bring_up.before_stop(app, [name], float(_GRACE)):
                bring_up.log(failure.why)
            calls.run(["docker", "restart", "-t", _GRACE, name], _COMMAND)
        row = bring_up.hooks_of(app).get(name) if act != "up" else None
        if row and (failed := hooks.after_start(row, _COMMAND)):
            bring_up.log(failed.why)
    except calls.Trouble as e:
        record(app, name, why, f"could not be repaired: {e}")
        return
    record(app, name, why, f"{_DONE[act]} in {time.monotonic() - began:.1f} s")


def up(app: bring_up.App, timeout: float = UP) -> None:
    """Bring an app up in a child process, which is killed with all its children when its time is up."""
    program = str(Path(__file__).resolve().with_name("bring_up.py"))
    argv = [sys.executable, "-I", "-S", program, "up", str(app.root), app.name]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, text=True, errors="replace", start_new_session=True
    ) as child:
        try:
            output = [line for line in child.communicate(timeout=timeout)[0].splitlines() if line.strip()]
        except subprocess.TimeoutExpired as e:
            os.killpg(child.pid, signal.SIGKILL)
            raise calls.Trouble(f"it is not up after {timeout:g} s") from e
    for line in output:
        bring_up.log(line)
    if child.returncode:
        raise calls.Trouble(output[-1] if output else "it could not be brought up")


def record(app: bring_up.App, name: str, why: str, did: str) -> None:
    """Write one line to systemd's journal and one to the app's watch.log."""
    bring_up.log(f"{name} {why}: {did}")
    at = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")  # noqa: UP017 - any Python 3
    with (app.directory / "watch.log").open("a") as log:
        log.write(json.dumps({"at": at, "container": name, "why": why, "did": did}) + "\n")


# ---- a run --------------------------------------------------------------------------------------------------


Do = TypeVar("Do")


def _guarded(app: bring_up.App, do: Callable[[], Do]) -> "Do | None":
    """Run `do` for one app; an error is reported and must not affect other apps."""
    try:
        return do()
    except (calls.Trouble, OSError, ValueError, KeyError, TypeError) as e:
        bring_up.log(f"{app.name}: {e}")
        return None


def apps_to_watch(root: Path) -> list[Live]:
    """The apps that should be up."""
    apps = []
    for link in sorted(UNITS.glob("pushrod-app@*.service")):
        app = bring_up.App(str(root), link.name[len("pushrod-app@") : -len(".service")])
        if app.directory.is_dir() and (one := _guarded(app, partial(live, app))):
            apps.append(one)
    return apps


class RepairJobs:
    """RepairJobs in progress, by app: containers in one pool, whole apps, which take longer, in another."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._quick, self._slow = (futures.ThreadPoolExecutor(AT_ONCE) for _ in range(2))
        self._under_way: dict[str, futures.Future[Any]] = {}

    def begin(self, one: Live) -> None:
        """Start repairing an app, unless that is in progress."""
        job = self._under_way.get(one.app.name)
        if job is None or job.done():
            self._under_way[one.app.name] = self._quick.submit(_guarded, one.app, partial(self._repair, one))

    def _repair(self, one: Live) -> None:
        if repair(one, self._memory):
            up = partial(fix, one.app, one.app.name, "lacks a container", "up")
            with contextlib.suppress(RuntimeError):  # the run is ending: the next one repairs it
                self._under_way[one.app.name] = self._slow.submit(_guarded, one.app, up)

    def wait(self, timeout: float) -> bool:
        """Wait until no repair is in progress, for `timeout` seconds at most; returns whether none is."""
        end = time.monotonic() + timeout
        while jobs := [job for job in list(self._under_way.values()) if not job.done()]:
            if time.monotonic() >= end:
                return False
            futures.wait(jobs, timeout=end - time.monotonic())
        return True

    def end(self) -> None:
        """Start nothing more, and let repairs in progress finish."""
        for pool in (self._quick, self._slow):
            pool.shutdown(cancel_futures=True)


def main(arguments: list[str]) -> int:
    """Check every app that should be up, and keep checking while one is repaired; returns 0 even if a repair failed,
    which is recorded.
    """
    root, memory = Path(arguments[0]), Memory(gates.GATES / "watch.json")
    repairs, end = RepairJobs(memory), time.monotonic() + RUN
    while True:
        apps = apps_to_watch(root)
        try:
            for one in failing(apps, memory):
                repairs.begin(one)
        except (calls.Trouble, OSError, ValueError) as e:
            bring_up.log(str(e))
        done = repairs.wait(EVERY)
        memory.save({name for one in apps for name in one.names})
        if done or time.monotonic() >= end:
            repairs.end()
            return 0


if __name__ == "__main__":
    os.environ.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    sys.exit(main(sys.argv[1:]))
