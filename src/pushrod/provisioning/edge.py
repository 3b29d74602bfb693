"""The host's edge, which systemd runs: its files, and the argv of its unit."""

from pushrod.adapters import systemd
from pushrod.adapters.nginx import Edge
from pushrod.engines.docker.engine import Docker
from pushrod.state.apps import Root


def of(root: Root) -> Edge:
    """The nginx of a host's root, run from the copies below it; also before it is a host."""
    return Docker(root).edge


def argv(root: Root) -> tuple[str, ...]:
    """What the unit runs: the edge's own argv, with the system's Python."""
    return of(root).argv(systemd.PYTHON)


def rotation(root: Root) -> tuple[str, ...]:
    """What rotates its logs once, likewise."""
    return of(root).rotation(systemd.PYTHON)
