"""Which engine runs the apps of a root."""

from typing import TYPE_CHECKING

from pushrod.state.apps import Root

if TYPE_CHECKING:
    from pushrod.engines.protocols import Engine


def of(root: Root) -> "Engine":
    """Docker where `pushrod host init` has made the root, else the embedded engine; starts nothing.

    Raises StateError when the root's `host.json` cannot be read. Each engine is imported where it is used.
    """
    if root.host_settings is not None:
        from pushrod.engines.docker.engine import Docker

        return Docker(root)
    from pushrod.engines.embedded.engine import Embedded

    return Embedded(root)
