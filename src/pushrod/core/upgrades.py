"""Upgrades of stores to other major versions, as values."""

from pushrod.core.values import Value


class OldCluster(Value, frozen=True):
    """What an upgrade of a store has left: the data of the older version, and since when nothing runs on it. `place`
    is a volume, or a directory.
    """

    series: str
    place: str
    since: str


class Cluster(Value, frozen=True):
    """The data of a store after an upgrade to another major version.

    `image` runs it where the manifest still names an older version: in releases up to `release`, and in those of
    `commit`. `volume` holds it, mounted at `target` with that image; `path` is its directory in the volume. `kept`
    are the older ones.
    """

    major: str
    image: str
    volume: str
    target: str
    path: str
    release: int
    commit: str
    kept: tuple[OldCluster, ...] = ()


class UpgradePlan(Value, frozen=True):
    """An upgrade of a store's data from one major version to another: what an engine has decided before it begins.

    `place` will hold the new data; `old` is the present one, of `before`. `cluster` is what will be known of it, None
    where the store's programs say it all; `previous` is what was known before.
    """

    store: str
    before: str
    after: str
    old: str
    place: str
    programs: str = ""
    cluster: Cluster | None = None
    previous: Cluster | None = None


class Carried(Value, frozen=True):
    """A database server whose data was carried to a newer version: seconds, rows, and bytes on the disk, of the old
    and of the new data, and of the dump between them at its largest.
    """

    seconds: float
    rows: int
    before: int
    after: int
    dump: int
