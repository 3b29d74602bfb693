"""The manifest: an app's compose file as values, and every error that a user can make in it.

Compose has already read the file (`adapters.compose`) and checked its own rules. This package checks pushrod's:
roles, one entry, the `x-pushrod` keys, stores that the engine can run.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pushrod.manifest.services import KEEP, MOST_INSTANCES, read

__all__ = ["KEEP", "MOST_INSTANCES", "read"]


def __getattr__(name: str) -> Any:
    """The package's names, loaded at first use: most commands read no manifest."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pushrod.manifest import services

    return getattr(services, name)
