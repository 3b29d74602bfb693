"""Stopping containers: in their graces, after what is to be run in them before."""

from collections.abc import Sequence

from pushrod.adapters import docker
from pushrod.engines.docker import bring_up, calls
from pushrod.engines.docker.projects import place
from pushrod.state.apps import App

_ALIVE = ("running", "restarting", "paused")


def stop(app: App, containers: Sequence[docker.Container]) -> list[str]:
    """Stop containers, each within its grace, after what is to be run in them before."""
    try:
        failed = bring_up.before_stop(place(app), [c.name for c in containers if c.running])
        notes = [one.why for one in failed]
    except calls.Trouble as e:
        notes = [f"what was to be run before containers stop was not: {e}"]
    docker.stop([c for c in containers if c.state in _ALIVE])
    return notes
