"""nginx, as the edge that stands in front of every app: what it serves, as values, and how it moves to it."""

from pushrod.adapters.nginx.edge import Edge, Mark, Switch, everywhere
from pushrod.adapters.nginx.sites import CHAIN, KEY, SNIPPET, Bounds, Site, Tls
from pushrod.adapters.nginx.tree import DRAIN_BUDGET

__all__ = [
    "CHAIN",
    "DRAIN_BUDGET",
    "KEY",
    "SNIPPET",
    "Bounds",
    "Edge",
    "Mark",
    "Site",
    "Switch",
    "Tls",
    "everywhere",
]
