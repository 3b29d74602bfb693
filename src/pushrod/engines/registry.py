"""Which engine runs the apps of a root."""

from typing import TYPE_CHECKING

from pushrod.core.traits import DOCKER, EMBEDDED, EngineTraits
from pushrod.state.apps import Root

if TYPE_CHECKING:
    from pushrod.engines.protocols import Engine


def traits(root: Root) -> EngineTraits:
    """The traits of a root's engine, by `host.json`, which only `pushrod host init` creates."""
    return DOCKER if root.hosted else EMBEDDED


def reading(root: Root) -> "Engine":
    """An engine that reads manifests as for containers, whichever engine runs the root; starts nothing."""
    from pushrod.engines.docker import engine as docker

    return docker.of(root)


def of(root: Root) -> "Engine":
    """The docker engine if `pushrod host init` has prepared the root, else the embedded engine; starts nothing.

    Raises StateError if the root's `host.json` cannot be read. Each engine is imported only when used.
    """
    if root.host_settings is not None:
        from pushrod.engines.docker import engine as docker

        return docker.of(root)
    from pushrod.engines.embedded import engine as embedded

    return embedded.of(root)
