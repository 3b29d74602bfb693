"""The current state of a container, or of the edge, in the words that `pushrod status` shows."""

import datetime
from typing import Literal

from pushrod.adapters import docker
from pushrod.adapters.docker import Container
from pushrod.adapters.docker.healthcheck import ended_well
from pushrod.adapters.nginx import Edge
from pushrod.core.values import ProcessState
from pushrod.engines import health_rule

Word = Literal["starting", "running", "backoff", "failed", "stopping", "stopped"]
_WORDS: dict[str, Word] = {
    "created": "stopped",
    "running": "running",
    "restarting": "backoff",
    "paused": "stopped",
    "removing": "stopping",
    "exited": "failed",
    "dead": "failed",
}
_HEALTH: dict[str, Word] = {"starting": "starting", "unhealthy": "failed"}


def state_of(container: Container) -> ProcessState | None:
    """The state of an instance or a store; None for a one-off run, and for a worker that has finished."""
    app, release = container.labels[docker.APP], container.labels.get(docker.RELEASE, "")
    name = container.labels.get(docker.INSTANCE) or ("" if release else container.labels[docker.SERVICE])
    if not name or ended_well(container.state, container.exit_code, container.started, container.policy):
        return None
    word = _WORDS.get(container.state, "failed")
    own_check = health_rule.way(health_rule.of_labels(container.labels), container.health) == "check"
    if word == "running" and own_check:
        word = _HEALTH.get(container.health, word)
    at = container.started if container.running else container.finished
    detail = container.error or (
        f"ended with status {container.exit_code}" if word == "failed" and not container.running else ""
    )
    if container.health == "unhealthy" and container.running and own_check:
        detail = "unhealthy"
    return ProcessState(
        group=f"{app}-r{release}" if release else app,
        name=name,
        state=word,
        pid=container.pid,
        since=_age(at),
        detail=detail,
    )


def edge_state(edge: Edge) -> ProcessState:
    """The state of the edge: whether it answers."""
    mark = edge.mark()
    return ProcessState("edge", "nginx", "running" if mark else "failed", pid=mark.pid if mark else 0)


def _age(at: str) -> float:
    """Seconds since a time as Docker writes it, in UTC with nanoseconds; 0 for its zero time."""
    if not at or at.startswith("0001"):
        return 0.0
    then = datetime.datetime.fromisoformat(at[:19]).replace(tzinfo=datetime.UTC)
    return max(0.0, (datetime.datetime.now(datetime.UTC) - then).total_seconds())
