"""nginx as the edge in front of every app: what it can serve, and how it switches."""

from pushrod.adapters.nginx.edge import Edge, Switch, everywhere
from pushrod.adapters.nginx.sites import OWN_HINT, Bounds, Known, Listening, OwnSite
from pushrod.adapters.nginx.tree import render_tree
from pushrod.adapters.nginx.workers import Mark

__all__ = [
    "OWN_HINT",
    "Bounds",
    "Edge",
    "Known",
    "Listening",
    "Mark",
    "OwnSite",
    "Switch",
    "everywhere",
    "render_tree",
]
