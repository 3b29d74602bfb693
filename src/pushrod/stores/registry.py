"""The kinds of stores that pushrod knows: one entry for each."""

from collections.abc import Iterable

from pushrod.core.errors import StateError
from pushrod.core.values import Service, StoreKind
from pushrod.stores import mariadb, postgres, redis
from pushrod.stores.kinds import Embedded, Kind

KINDS: tuple[Kind, ...] = (
    postgres.KIND,
    redis.KIND,
    *mariadb.KINDS,
)

_OTHER = Kind()


def of(name: StoreKind | None) -> Kind:
    """A kind by its name. None is the kind of an unknown store."""
    if name is None:
        return _OTHER
    for kind in KINDS:
        if kind.name == name:
            return kind
    raise StateError(
        f"a store has the kind `{name}`, which this version of pushrod does not know",
        hint="install the version of pushrod that deployed it, or a newer one",
    )


def products(stores: Iterable[Service]) -> dict[str, str]:
    """What each store is, for people: `MariaDB`; the image of one of an unknown kind."""
    return {s.name: of(s.store).title or s.image for s in stores}


def is_lock_timeout(line: str) -> bool:
    """Whether a line of a program's output says that a statement could not get a lock in time."""
    return any(kind.lock_timeout and kind.lock_timeout in line for kind in KINDS)


def embedded(name: StoreKind | None) -> Embedded:
    """How the embedded engine runs a kind; the manifest's reader accepts only such kinds."""
    if (embedded_kind := of(name).embedded()) is None:
        raise AssertionError("manifest.read accepts only kinds that the engine runs")
    return embedded_kind


def by_image(name: str) -> Kind | None:
    """The kind whose images have this as the last part of their names, so that mirrors and other publishers' builds
    count: docker.io/library/postgres, bitnami/postgresql, ghcr.io/x/pgvector.
    """
    return next((kind for kind in KINDS if name in kind.images), None)
