"""The manifest: an app's compose file as values, and every error that a user can make in it.

Compose itself has read the file before (`adapters.compose`) and checked its own rules. Checked here is what pushrod
needs: roles, one entry, the `x-pushrod` keys, stores that the engine can run.
"""

from pushrod.manifest.env_example import names as lacking
from pushrod.manifest.services import KEEP, MOST_INSTANCES, read

__all__ = ["KEEP", "MOST_INSTANCES", "lacking", "read"]
