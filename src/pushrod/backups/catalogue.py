"""The existing backups of an app's stores, and whether the next one is due.

    apps/shop/backups/2026-11-23T05-42-11Z/
      backup.json      the contents: release, versions, rows; each file's size and SHA-256
      postgres.dump    pg_dump's custom format
      redis.rdb        a snapshot

`operations` takes, verifies and restores them.
"""

from collections.abc import Iterator

from pushrod.backups import copies, wal, wal_copies
from pushrod.backups.copies import Copy
from pushrod.backups.destination import Destination, Directory, FileName
from pushrod.core.errors import UnknownNameError
from pushrod.core.times import is_ahead, seconds_since, to_the_minute
from pushrod.core.traits import BY_NAME
from pushrod.core.values import Diagnostic, EngineName, Release, Value
from pushrod.state import releases
from pushrod.state.apps import App
from pushrod.state.journal import Journal

PERIODS = {"hour": 3600.0, "day": 86400.0, "week": 7 * 86400.0}
"""Seconds between two backups."""


class File(Value, frozen=True):
    """One store in a backup: its file and contents. `rows` counts by table; empty for a store without tables."""

    store: str
    name: FileName
    version: str
    bytes: int
    sha256: str
    rows: dict[str, int] = {}


class Backup(Value, frozen=True):
    """A backup: when it was taken (`name` is its directory), of which release, and its files."""

    app: str
    name: FileName
    at: str
    release: int
    commit: str
    engine: EngineName
    files: tuple[File, ...]

    @property
    def size(self) -> int:
        """The bytes of all its files."""
        return sum(file.bytes for file in self.files)

    @property
    def age(self) -> float:
        """Seconds since it was taken."""
        return seconds_since(self.at)


class Listed(Backup, frozen=True, omit_defaults=True):
    """A backup and its copy in a vault, if there is one."""

    copy: Copy | None = None


class Verified(Value, frozen=True):
    """The result of testing one file: the tables and rows of the restored database, or with `keyed` the keys that do
    not expire.
    """

    store: str
    tables: int = 0
    rows: int = 0
    keyed: bool = False

    def __str__(self) -> str:
        return (
            f"{self.rows} keys that do not expire"
            if self.keyed
            else f"{self.tables} tables, {self.rows} rows"
        )


# ---- existing backups -----------------------------------------------------------------------------------------


def listed(app: App) -> list[Backup]:
    """The backups of an app, newest first. Those with a time in the future (the clock was set back) come last: the
    next backup must not wait for that time."""
    where = place(app)
    return sorted((where.record(name, Backup) for name in where.names()), key=lambda b: is_ahead(b.at))


def newest(app: App) -> Backup | None:
    """The first of `listed`; reads no more records than that takes."""
    where = place(app)
    records = (where.record(name, Backup) for name in where.names())
    first = next(records, None)
    if first is None or not is_ahead(first.at):
        return first
    return next((record for record in records if not is_ahead(record.at)), first)


def find(app: App, when: str = "") -> Backup:
    """The backup whose name begins with `when`, by default the newest; UnknownNameError unless one matches."""
    known = listed(app)
    matching = [b for b in known if b.name.startswith(when)] if when else known[:1]
    if len(matching) != 1:
        what = (
            f"{len(matching)} backups begin with `{when}`"
            if matching
            else f"no backup `{when}`"
            if when
            else "no backup"
        )
        hint = "`pushrod db backups` lists them" if known else "`pushrod db backup` takes one"
        raise UnknownNameError(what, where=f"app {app.name}", hint=hint)
    return matching[0]


def due(app: App) -> bool:
    """Whether an app's next backup is due, by the interval in its manifest. Never if the app is down."""
    if (release := releases.up(app)) is None:
        return False
    length, last = period(release), newest(app)
    return length is not None and (last is None or copies.past(last.at, length))


def period(release: Release) -> float | None:
    """Seconds between two backups of a release's stores; None if there are none."""
    return PERIODS.get(release.backups.every) if _saved(release) else None


def copy_due(app: App) -> bool:
    """Whether an app's next copy to its vault is due. Never if the app is down."""
    if (release := releases.up(app)) is None:
        return False
    last = newest(app)
    return copies.due(app, release, PERIODS, last.name if last else "")


def examine(app: App, release: Release | None) -> Iterator[Diagnostic]:
    """Diagnostics of the backups of an app with this live release, of the logs of databases, and of copies."""
    if release is None or app.settings.down:
        return
    yield from _local(app, release)
    yield from copies.examine(app, release, PERIODS)
    yield from wal.examine(app, release)
    yield from wal_copies.examine(app, release)


def _local(app: App, release: Release) -> Iterator[Diagnostic]:
    """A diagnostic if an app's last backup, or its first deployment without one, is older than twice its interval.

    Without a timer (on the embedded engine), only once somebody has taken a first backup.
    """
    length, last = period(release), newest(app)
    if length is None or (last is None and not BY_NAME[release.engine].hosted):
        return
    since = last.at if last else _first_live(app)
    if copies.late(since, length):
        what = f"the last backup is from {to_the_minute(since)}" if last else "there is no backup"
        detail = f"{what}; the manifest asks for one every {release.backups.every}"
        remedy = f"`pushrod db backup --app {app.name}` takes one, or reports why it cannot"
        yield Diagnostic(f"app {app.name}", "warning", detail, remedy)


def _saved(release: Release) -> bool:
    """Whether anything of a release's stores is backed up."""
    return any(s.store for s in release.stores) or bool(release.backups.volumes)


def place(app: App) -> Destination:
    """Where an app's backups are kept."""
    return Directory(app.backups)


def _first_live(app: App) -> str:
    return next(e.at for e in Journal(app.journal).entries() if e.event == "live")
