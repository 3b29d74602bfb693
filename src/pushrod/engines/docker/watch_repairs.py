"""Repairs of one app: restarting its containers, each not too often, or bringing it up if one is missing.

Standard library only; copied below ROOT beside `watchdog`.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    from pushrod.engines.docker import (
        bring_up,
        calls,
        container_health,
        gates,
        hooks,
        watch_checks,
        watch_log,
    )
except ImportError:  # the copy below ROOT has its modules in its own directory
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import bring_up  # type: ignore[import-not-found, no-redef, unused-ignore]
    import calls  # type: ignore[import-not-found, no-redef, unused-ignore]
    import container_health  # type: ignore[import-not-found, no-redef, unused-ignore]
    import gates  # type: ignore[import-not-found, no-redef, unused-ignore]
    import hooks  # type: ignore[import-not-found, no-redef, unused-ignore]
    import watch_checks  # type: ignore[import-not-found, no-redef, unused-ignore]
    import watch_log  # type: ignore[import-not-found, no-redef, unused-ignore]

LIMIT = 6
"""Restarts of one container in an hour, after which it is left to a person."""

REPAIR, UP = 60.0, 300.0
"""Seconds for repairing one app's containers, and for bringing the app up if one is missing. An app that takes longer
continues to start: none of it is stopped.
"""

_HOUR = 3600.0
_FIRST, _LONGEST = 10.0, 600.0  # seconds between two restarts of a container: doubled each time
_DONE = {"up": "brought up", "start": "started", "restart": "restarted"}
_GRACE = "5"  # seconds that an unresponsive container has to end
_COMMAND = 60.0  # seconds for one Docker command


def wait_after(restarts: int) -> float:
    """Seconds to leave a container alone after that many restarts in the last hour."""
    return 0.0 if not restarts else min(_FIRST * 2.0 ** (restarts - 1), _LONGEST)


def repair(one: watch_checks.Live, memory: watch_checks.Memory, now: Callable[[], float] = time.time) -> bool:
    """Check one app closely and repair it, unless a command works on it: the command leaves it in its proper state.

    Returns whether the app must be brought up because a container is missing.
    """
    end, missing = time.monotonic() + REPAIR, False
    with bring_up.alone(one.app) as held:
        current = watch_checks.live(one.app) if held else None
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
    app: bring_up.App, name: str, container: "calls.Fields | None", memory: watch_checks.Memory, now: float
) -> tuple[str, str]:
    """The action that is due for a container, recorded as taken; empty if it is to be left alone."""
    with memory.lock:
        known = memory.of(name)
        why, act = watch_checks.diagnose(container, known)
        if not act:
            return "", ""
        known["restarts"] = [at for at in known["restarts"] if now - at < _HOUR]
        if len(known["restarts"]) >= LIMIT:
            known_before, known["reported"] = known["reported"], True
            if not known_before:
                watch_log.record(
                    app.directory,
                    name,
                    why,
                    f"left alone after {LIMIT} restarts in an hour: docker logs {name}",
                )
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
        watch_log.record(app.directory, name, why, f"could not be repaired: {e}")
        return
    watch_log.record(app.directory, name, why, f"{_DONE[act]} in {time.monotonic() - began:.1f} s")


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
