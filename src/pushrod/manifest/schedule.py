"""`x-pushrod.backups`: how often an app's stores are backed up, and how many backups are kept. Pure."""

from collections.abc import Iterable

import msgspec

from pushrod.core.values import Schedule, Service
from pushrod.manifest.document import Key
from pushrod.stores import registry


def read(key: Key, stores: Iterable[Service]) -> Schedule:
    """The schedule. The default is daily for an app with a store whose kind says so, else never. Raises ManifestError
    for an unknown period."""
    key.only("every", "keep")
    every = key.get("every").choice("hour", "day", "week", "never")
    keep = key.get("keep").whole(Schedule().keep, least=1)
    daily = any(registry.of(store.store).period(store) == "day" for store in stores)
    usual = "day" if key.given or daily else "never"
    return msgspec.convert({"every": every or usual, "keep": keep}, Schedule)
