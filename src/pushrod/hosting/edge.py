"""The host's edge, which systemd runs: its files, and the argv of its unit."""

from pushrod.apps import Root
from pushrod.gears import systemd
from pushrod.gears.nginx import Edge, everywhere


def of(root: Root) -> Edge:
    """The nginx of a host's root, run from the copies below it."""
    return Edge(root.programs / "nginx", root.edge, root.runtime / "edge", addresses=everywhere(), port=80)


def argv(root: Root) -> tuple[str, ...]:
    """What the unit runs: the edge's own argv, with the system's Python."""
    return (systemd.PYTHON, *of(root).argv()[1:])
