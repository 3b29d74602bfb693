"""Which apps need repair: what Docker reports about their containers, and what probes of the others find.

Standard library only; copied below ROOT beside `watchdog`.
"""

import contextlib
import json
import os
import re
import sys
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

try:
    from pushrod.adapters.docker import healthcheck
    from pushrod.engines import health_rule
    from pushrod.engines.docker import bring_up, calls, gates
except ImportError:  # the copy below ROOT has its modules in its own directory
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import bring_up  # type: ignore[import-not-found, no-redef, unused-ignore]
    import calls  # type: ignore[import-not-found, no-redef, unused-ignore]
    import gates  # type: ignore[import-not-found, no-redef, unused-ignore]
    import health_rule  # type: ignore[import-not-found, no-redef, unused-ignore]
    import healthcheck  # type: ignore[import-not-found, no-redef, unused-ignore]

PATIENCE = 3
"""Consecutive checks that an instance without its own health check must fail before it is restarted."""

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
        return self.seen.setdefault(name, {"bad": 0, "restarts": [], "reported": False})

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


def diagnose(container: "calls.Fields | None", known: dict[str, Any]) -> tuple[str, str]:
    """What is wrong with a container, and the remedy: `start`, `restart` or `up`; two empty strings if it is fine."""
    if container is None:
        return "is not there", "up"
    state, policy = container["State"], container["HostConfig"]["RestartPolicy"]["Name"]
    if healthcheck.ended_well(state["Status"], state["ExitCode"], state["StartedAt"], policy):
        return "", ""
    if state["Status"] in ("exited", "dead") and policy in ("no", ""):
        return "", ""  # the manifest does not want it restarted
    if state["Status"] in ("exited", "created", "dead"):
        return f"is {state['Status']} (status {state['ExitCode']})", "start"
    asked, health = (
        health_rule.of_labels(container["Config"]["Labels"]),
        healthcheck.status(container),
    )
    if health_rule.way(asked, health) == "check":
        return ("is unhealthy", "restart") if health == "unhealthy" else ("", "")
    if state["Status"] == "running" and asked and known["bad"] >= PATIENCE:
        return f"does not answer at {asked.target}", "restart"
    return "", ""
