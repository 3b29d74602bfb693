"""Stop containers within their grace periods, after their `pre_stop` commands."""

from collections.abc import Sequence

from pushrod.adapters import docker
from pushrod.engines.docker import bring_up, calls
from pushrod.engines.docker.projects import place
from pushrod.state.apps import App

_ALIVE = ("running", "restarting", "paused")


def stop(app: App, containers: Sequence[docker.Container]) -> list[str]:
    """Run the `pre_stop` commands of containers, then stop each within its grace period."""
    try:
        failed = bring_up.before_stop(place(app), [c.name for c in containers if c.running])
        notes = [one.why for one in failed]
    except calls.Trouble as e:
        notes = [f"`pre_stop` commands were not run: {e}"]
    docker.stop([c for c in containers if c.state in _ALIVE])
    return notes
