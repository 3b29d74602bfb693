"""The host's edge, which systemd runs: its files, and its unit's argv."""

from pushrod.adapters import systemd
from pushrod.adapters.nginx import Edge
from pushrod.engines.docker.context import Context
from pushrod.state.apps import Root


def of(root: Root) -> Edge:
    """The nginx of a host's root, run from the copies below it; also available before `pushrod host init` has run."""
    return Context(root).edge


def argv(root: Root) -> tuple[str, ...]:
    """The argv of the unit: the edge's own, with the system's Python."""
    return of(root).argv(systemd.PYTHON)


def rotation(root: Root) -> tuple[str, ...]:
    """The argv that rotates its logs once, with the system's Python."""
    return of(root).rotation(systemd.PYTHON)
