"""The logs of an app's stores, for recovery to a point in time: what there is of them here.

    apps/shop/wal/<store>/
      state.json             the base backups, the segments with their digests, how far the log goes
      bases/<time>.tar       a base backup
      log/<segment>          the log since the oldest base backup; the last segment grows
      former/                the same of the cluster that this one has replaced, for a week

`wal_receiving` copies it from the servers, `wal_copies` sends it to the app's vault, `point_in_time` recovers a
database.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from pushrod.backups import copies
from pushrod.backups.destination import FileName
from pushrod.core import limits
from pushrod.core.errors import PushrodError
from pushrod.core.times import is_ahead, seconds_since, to_the_minute
from pushrod.core.traits import BY_NAME
from pushrod.core.values import Diagnostic, Release, Value
from pushrod.engines import machine
from pushrod.state import releases
from pushrod.state.apps import App
from pushrod.state.records import read_json
from pushrod.system import files, locks

WEEK = 7 * 86400.0
FORMER = "former"
"""The directory with the log of the cluster before."""

_LOG = 1 << 30  # bytes of log after which a new base backup is taken, unless the database is larger
_PART = 3  # base backups are taken so often that the log of two takes two thirds of the limit
_LATE = 300.0  # seconds without a copy of the log after which it is reported


class Base(Value, frozen=True):
    """A base backup: it serves times from `at` on, with the log from position `begin` on."""

    name: FileName
    at: str
    begin: int
    size: int
    sha256: str


class Gap(Value, frozen=True):
    """A part of the log that the server had to remove before it was copied: its positions, and the times it spans."""

    begin: int
    end: int
    after: str
    until: str


class Turn(Value, frozen=True):
    """The server's clock was set back from `before` to `after` at this position: the log has the times between
    twice."""

    position: int
    before: str
    after: str


class Trouble(Value, frozen=True):
    """Why copying the log has failed, since `at`."""

    at: str
    what: str
    where: str = ""


class State(Value, frozen=True):
    """The log of a store. It goes to position `end`, and contains everything acknowledged before `at`. `system` and
    `timeline` identify the cluster's history, `major` is its version, `segments` maps names to SHA-256s.
    `base_trouble` is why no base backup could be taken, `turn` is when its clock was last set back."""

    system: str = ""
    timeline: int = 0
    segment_size: int = 1
    major: str = ""
    end: int = 0
    at: str = ""
    bases: tuple[Base, ...] = ()
    gaps: tuple[Gap, ...] = ()
    segments: dict[FileName, str] = {}
    trouble: Trouble | None = None
    base_trouble: Trouble | None = None
    turn: Turn | None = None

    @property
    def history(self) -> tuple[str, int, int]:
        """Differs for another cluster, and for another history of this one."""
        return self.system, self.timeline, self.segment_size

    @property
    def size(self) -> int:
        """The bytes of all of it."""
        return sum(b.size for b in self.bases) + len(self.segments) * self.segment_size


def keeps_log(app: App, release: Release) -> bool:
    """Whether the logs of a release's stores are kept: by default, if the app has a vault."""
    given = release.backups.wal
    return bool(copies.vault_name(app, release)) if given is None else given


def place(app: App, store: str = "") -> Path:
    """The directory of an app's logs, or of one store's."""
    return app.directory / "wal" / store


def lock(app: App, timeout: float) -> AbstractContextManager[None]:
    """Holds an app's logs as they are."""
    return locks.lock(app.directory / "wal.lock", purpose="copying the log", timeout=timeout)


def stores(app: App) -> list[str]:
    """The stores with a log here."""
    return sorted(p.parent.name for p in place(app).glob("*/state.json"))


def running(app: App, release: Release) -> list[str]:
    """Those of the release: a store that the manifest no longer names keeps its log, which no longer grows."""
    named = {s.name for s in release.stores}
    return [store for store in stores(app) if store in named]


def state(app: App, store: str) -> State:
    """What there is of a store's log."""
    return read(place(app, store))


def read(directory: Path) -> State:
    """What a directory of `bases` and `log` contains."""
    path = directory / "state.json"
    hint = f"remove {directory}; the next run begins anew"
    return read_json(path, State, restore=hint) if path.exists() else State()


def save(directory: Path, known: State) -> None:
    """Record what a directory of `bases` and `log` contains."""
    files.write(directory / "state.json", msgspec.json.format(msgspec.json.encode(known)), mode=0o600)


def former(app: App, store: str) -> State | None:
    """What there is of the log of the cluster before."""
    directory = place(app, store) / FORMER
    return read(directory) if directory.exists() else None


def leading_to(app: App, store: str, until: str) -> tuple[State, Path]:
    """The log that leads to a time (empty: to the end), and its directory: the cluster's own, or the one before."""
    known, before = state(app, store), former(app, store)
    if before and until and until <= before.at and (not known.bases or until < known.bases[0].at):
        return before, place(app, store) / FORMER
    return known, place(app, store)


def size(app: App) -> int:
    """The bytes of the logs of an app's stores, without base backups and clusters before."""
    states = (state(app, store) for store in stores(app))
    return sum(len(known.segments) * known.segment_size for known in states)


def most(app: App) -> int:
    """How many bytes of log an app may have here; twice as many while a base backup is taken, which ends that."""
    allowed = machine.of(app.root, app.name).store_log
    return 2 * allowed if locks.locked(base_lock(app)) else allowed


def base_lock(app: App) -> Path:
    """The lock that is held while a base backup is taken."""
    return app.directory / "wal-base.lock"


def in_trouble(app: App) -> bool:
    """Whether the last run could not copy an app's logs: the next run does so after those of others."""
    try:
        return any(state(app, store).trouble for store in stores(app))
    except (PushrodError, OSError):
        return True


def examine(app: App, release: Release) -> Iterator[Diagnostic]:
    """Diagnostics of an app's logs: copying failed, or is late; no base backup could be taken."""
    if not keeps_log(app, release):
        return
    allowed = machine.of(app.root, app.name).store_log
    if size(app) > allowed * 3 // 4:
        detail = (
            f"the log of its databases takes {size(app) // 10**6} MB here; at {allowed // 10**6} MB it is not copied "
            "any more, until there is a new base backup"
        )
        remedy = (
            f"`pushrod db archive --app {app.name}` takes one; or more room: "
            f"{limits.option('store_log', 2 * allowed)} --app {app.name}"
        )
        yield Diagnostic(f"app {app.name}", "warning", detail, remedy)
    for store in running(app, release):
        known = state(app, store)
        if known.base_trouble:
            since, why = to_the_minute(known.base_trouble.at), known.base_trouble.what
            detail = f"no base backup of {store} could be taken since {since}: {why}"
            remedy = f"`pushrod db archive --app {app.name}` tries again"
            yield Diagnostic(f"app {app.name}", "broken", detail, remedy)
        since = known.at or (known.trouble.at if known.trouble else "")
        timed = BY_NAME[release.engine].hosted  # elsewhere nobody but its owner runs it
        if since and late(since) and (known.trouble or timed):
            why = known.trouble.what if known.trouble else "is the timer running?"
            detail = f"the log of {store} has not been copied since {to_the_minute(since)}: {why}"
            remedy = f"`pushrod db archive --app {app.name}` tries again"
            yield Diagnostic(f"app {app.name}", "broken", detail, remedy)


def late(at: str) -> bool:
    """Whether the last copy of the log is too old, or its time is in the future because the clock was set back."""
    return is_ahead(at) or seconds_since(at) > _LATE


def base_due(app: App) -> bool:
    """Whether a base backup of one of an app's stores is due. Never if the app is down, or keeps no log."""
    release = releases.up(app)
    if release is None or not keeps_log(app, release):
        return False
    return any(is_base_due(app, state(app, store)) for store in running(app, release))


def is_base_due(app: App, known: State) -> bool:
    """Whether a store needs a new base backup: there is none, or none after the last gap, or none since the clock was
    set back, or it is old, or much log follows it."""
    unbroken = max(known.gaps[-1].end if known.gaps else 0, known.turn.position if known.turn else 0)
    if not known.bases or known.bases[-1].begin < unbroken:
        return True
    last = known.bases[-1]
    share = machine.of(app.root, app.name).store_log // (_PART * len(stores(app)))
    much = min(max(_LOG, last.size), share)
    return not -_LATE <= seconds_since(last.at) < WEEK or known.end - last.begin > much
