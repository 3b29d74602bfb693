"""Whether containers are healthy: by their own check, or by the manifest's probe.

Standard library only; copied below ROOT beside `bring_up`.
"""

import subprocess
import sys
import time
from concurrent import futures
from pathlib import Path

try:
    from pushrod.adapters.docker import healthcheck
    from pushrod.engines import health_rule
    from pushrod.engines.docker import calls
except ImportError:  # the copy below ROOT has its modules in its own directory
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import calls  # type: ignore[import-not-found, no-redef, unused-ignore]
    import health_rule  # type: ignore[import-not-found, no-redef, unused-ignore]
    import healthcheck  # type: ignore[import-not-found, no-redef, unused-ignore]

_CHECK = 10.0  # seconds for one run of a container's own health check
_LOOP = 5  # restarts while waiting: about 4 s, as Docker doubles the delay from 0.1 s
_POLL = 0.2
_AT_ONCE = 8  # containers that are checked at the same time


def healthy(names: list[str], deadline: float) -> None:
    """Wait until each container runs and is healthy. Raises Trouble if one keeps ending, or at the deadline."""
    end = time.monotonic() + deadline
    before: dict[str, int] = {}
    while True:
        containers = calls.inspect(names)
        for name, container in containers.items():
            if container["RestartCount"] - before.setdefault(name, container["RestartCount"]) >= _LOOP:
                status = container["State"]["ExitCode"]
                raise calls.Trouble(f"{name} ends with status {status} each time it starts")
        with futures.ThreadPoolExecutor(
            _AT_ONCE
        ) as pool:  # a container that does not answer must not use up the others' time
            why = dict(zip(containers, pool.map(problem, containers.values()), strict=True))
        waiting = {name: why.get(name, "is not there") for name in names}
        unhealthy = ", ".join(f"{name} {why}" for name, why in waiting.items() if why)
        if not unhealthy:
            return
        if time.monotonic() >= end:
            raise calls.Trouble(f"after {deadline:g} s: {unhealthy}")
        time.sleep(_POLL)


def problem(container: calls.Fields) -> str:
    """Why a container is not healthy now; empty if it is, or has ended as it should."""
    state, policy = container["State"], container["HostConfig"]["RestartPolicy"]["Name"]
    if healthcheck.ended_well(state["Status"], state["ExitCode"], state["StartedAt"], policy):
        return ""
    if state["Status"] != "running":
        return f"is {state['Status']}"
    asked, health = health_rule.of_labels(container["Config"]["Labels"]), healthcheck.status(container)
    if health_rule.way(asked, health) == "check":
        well = health == "healthy" or (health == "starting" and checked(container))
        return "" if well else f"is {health}"
    why = health_rule.problems([asked])[asked] if asked else ""
    return f"does not prove its health: {why}" if why else ""


def checked(container: calls.Fields) -> bool:
    """Run a container's own health check now: Docker first runs it after a whole interval."""
    argv = healthcheck.argv(container)
    words = ["docker", "exec", container["Name"].lstrip("/"), *argv]
    nothing = subprocess.DEVNULL  # it may print without end
    try:
        return (
            bool(argv)
            and subprocess.run(
                words, stdin=nothing, stdout=nothing, stderr=nothing, timeout=_CHECK, check=False
            ).returncode
            == 0
        )
    except subprocess.TimeoutExpired:
        return False
