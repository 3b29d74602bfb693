"""`x-pushrod.backups`: how often an app's stores are backed up, how many backups are kept, and where they are
copied to. Pure."""

from collections.abc import Collection, Iterable

import msgspec

from pushrod.core.patterns import lazy
from pushrod.core.values import Schedule, Service
from pushrod.manifest.document import Key
from pushrod.stores import registry

_NAME = lazy(r"[a-z][a-z0-9-]{0,30}")
_MOST_KEPT = 10_000  # backups, a year of hourly ones: the records of all are read for metrics


def read(
    key: Key, stores: Iterable[Service], *, containers: bool, mounting: Collection[str] = ()
) -> Schedule:
    """The schedule. The default is daily for an app with a store whose kind says so, or with a store of an unknown
    kind that is `mounting` something, else never. Raises ManifestError for an unknown period or an invalid name."""
    key.only("every", "keep", "to", "volumes", "wal")
    stores = [*stores]
    volumes = _volumes(key.get("volumes"), stores if containers else (), mounting)
    every = key.get("every").choice("hour", "day", "week", "never")
    keep = key.get("keep").whole(Schedule().keep, least=1, most=_MOST_KEPT)
    daily = any(registry.of(store.store).period(store) == "day" for store in stores) or bool(volumes)
    usual = "day" if key.given or daily else "never"
    wal = key.get("wal").yes() if key.get("wal").given else None
    values = {
        "every": every or usual,
        "keep": keep,
        "to": _vault(key.get("to")),
        "wal": wal,
        "volumes": volumes,
    }
    return msgspec.convert(values, Schedule)


def _volumes(key: Key, stores: Iterable[Service], mounting: Collection[str]) -> dict[str, str]:
    """How the volumes of each store of an unknown kind are copied. One that is not named is frozen, if it has any."""
    kept = [s.name for s in stores if s.role == "store" and s.store is None]

    def usual(name: str) -> str:
        return "freeze" if name in mounting else "none"

    if not isinstance(key.value, dict):
        given_mode = key.choice(*_MODES)
        modes = {name: given_mode or usual(name) for name in kept}
    else:
        given = key.mapping()
        for name in given.keys() - set(kept):
            given[name].wrong("below a store of an unknown kind")
        modes = {name: key.get(name).choice(*_MODES) or usual(name) for name in kept}
    return {name: mode for name, mode in modes.items() if mode != "none"}


_MODES = ("freeze", "stop", "live", "none")


def _vault(key: Key) -> str:
    """The name of a vault that the machine's owner has set. Never its address: a pusher must not choose where the
    machine connects to, or which of its directories it writes."""
    name = key.text()
    if name and not _NAME.fullmatch(name):
        key.wrong("the name of a vault of this machine (`pushrod host backups list`), or none")
    return name
