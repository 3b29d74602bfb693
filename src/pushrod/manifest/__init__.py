"""The manifest: an app's compose file as values, and every error that a user can make in it.

Compose itself has read the file before (`gears.compose`) and checked its own rules. Checked here is what pushrod
needs: roles, one entry, the `x-pushrod` keys, stores that the engine can run.
"""

from pushrod.manifest.services import KEEP, MOST_INSTANCES, read
from pushrod.manifest.wanted import names as lacking

__all__ = ["KEEP", "MOST_INSTANCES", "lacking", "read"]
