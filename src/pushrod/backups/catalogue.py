"""The existing backups of an app's stores, and whether the next one is due.

    apps/shop/backups/2026-11-23T05-42-11Z/
      backup.json      the contents: release, versions, rows; each file's size and SHA-256
      postgres.dump    pg_dump's custom format
      redis.rdb        a snapshot

`operations` takes, verifies and restores them.
"""

from collections.abc import Iterator

from pushrod.backups.destination import Destination, Directory
from pushrod.core.errors import UnknownNameError
from pushrod.core.traits import BY_NAME
from pushrod.core.values import Diagnostic, EngineName, Value
from pushrod.state import releases
from pushrod.state.apps import App, read_json, seconds_since
from pushrod.state.journal import Journal

PERIODS = {"hour": 3600.0, "day": 86400.0, "week": 7 * 86400.0}
"""Seconds between two backups."""

_SLACK = 600.0  # seconds by which a timer may run early


class File(Value, frozen=True):
    """One store in a backup: its file and contents. `rows` counts by table; empty for a store without tables."""

    store: str
    name: str
    version: str
    bytes: int
    sha256: str
    rows: dict[str, int] = {}


class Backup(Value, frozen=True):
    """A backup: when it was taken (`name` is its directory), of which release, and its files."""

    app: str
    name: str
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


class Verified(Value, frozen=True):
    """The result of testing one file: the tables and rows of the restored database, if one was restored."""

    store: str
    tables: int = 0
    rows: int = 0
    restored: bool = False


# ---- existing backups -----------------------------------------------------------------------------------------


def listed(app: App) -> list[Backup]:
    """The backups of an app, newest first."""
    where, hint = place(app), "remove that directory, and take another backup"
    return [read_json(where.record(name), Backup, restore=hint) for name in where.names()]


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
    release = releases.live(app)
    if app.settings.down or release is None or not any(s.store for s in release.stores):
        return False
    period = PERIODS.get(release.backups.every)
    newest = next(iter(listed(app)), None)
    return period is not None and (newest is None or newest.age >= period - _SLACK)


def examine(app: App) -> Iterator[Diagnostic]:
    """A diagnostic if an app's last backup, or its first deployment without one, is older than twice its interval.

    Without a timer (on the embedded engine), only once somebody has taken a first backup.
    """
    release, known = releases.live(app), listed(app)
    if app.settings.down or release is None or not any(s.store for s in release.stores):
        return
    period = PERIODS.get(release.backups.every)
    if period is None or (not known and not BY_NAME[release.engine].hosted):
        return
    since = known[0].at if known else _first_live(app)
    if seconds_since(since) > 2 * period:
        last = (
            f"the last backup is from {since[:16].replace('T', ' ')} UTC" if known else "there is no backup"
        )
        detail = f"{last}; the manifest asks for one every {release.backups.every}"
        remedy = f"`pushrod db backup --app {app.name}` takes one, or reports why it cannot"
        yield Diagnostic(f"app {app.name}", "warning", detail, remedy)


def place(app: App) -> Destination:
    """Where an app's backups are kept."""
    return Directory(app.backups)


def _first_live(app: App) -> str:
    return next(e.at for e in Journal(app.journal).entries() if e.event == "live")
