"""nginx, as the edge that stands in front of every app: what it can serve, and how it moves to it."""

from pushrod.adapters.nginx.edge import Edge, Mark, Switch, everywhere
from pushrod.adapters.nginx.sites import Bounds

__all__ = ["Bounds", "Edge", "Mark", "Switch", "everywhere"]
