"""`x-pushrod.backups`: how often an app's stores are backed up, and how many backups are kept. Pure."""

from collections.abc import Collection

import msgspec

from pushrod.core.values import Schedule
from pushrod.manifest.document import Key


def read(key: Key, stores: Collection[str | None]) -> Schedule:
    """The schedule. The default for an app with these kinds of stores is daily if one is PostgreSQL, else never.
    Raises ManifestError for an unknown period."""
    key.only("every", "keep")
    every = key.get("every").choice("hour", "day", "week", "never")
    keep = key.get("keep").whole(Schedule().keep, least=1)
    usual = "day" if key.given or "postgres" in stores else "never"
    return msgspec.convert({"every": every or usual, "keep": keep}, Schedule)
