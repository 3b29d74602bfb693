"""Copies the logs of an app's stores from their servers, and takes base backups.

A run copies what the server has written since the last one. The server keeps what has not been copied yet, up to a
bound; what it had to remove before that is a gap, and a new base backup follows it.
"""

import contextlib
import os
from collections.abc import Callable

import msgspec

from pushrod.adapters import logs
from pushrod.adapters.logs import Position
from pushrod.backups import wal
from pushrod.backups.destination import SPARE, Spared
from pushrod.backups.failures import recorded
from pushrod.backups.wal import FORMER, Base, Gap, State, Trouble, Turn
from pushrod.core import limits
from pushrod.core.errors import BusyError, PushrodError, StoreError
from pushrod.core.times import now, seconds_between, seconds_since
from pushrod.core.values import Release
from pushrod.engines import machine
from pushrod.engines.protocols import Engine
from pushrod.state.apps import App
from pushrod.stores.backup_drivers import Logged
from pushrod.system import files, locks
from pushrod.system.streams import Measured

_BASES = 2  # base backups kept: the older one serves the times before the newer one
_HELD = 1 << 30  # bytes of log that a server keeps for us at most, or a quarter of the free space
_MOST = 256 << 30  # bytes of log in one run
_PATIENCE = 600.0  # seconds to wait for another run
_SET_BACK = 60.0  # seconds by which a server's clock has gone back since the last run


def receive(app: App, engine: Engine, release: Release) -> None:
    """Copy what the servers of a release's stores have written. The caller holds the lock.

    Raises the first error, which is also recorded, after all stores have been tried.
    """
    failed: list[PushrodError] = []
    for logged in _logged(engine, app, release):
        log = _StoreLog(app, logged)
        unasked = () if release.backups.wal else (logs.UnfitError,)
        try:
            with recorded(log.failed, str(log.place)), contextlib.suppress(*unasked):
                log.receive()
        except PushrodError as e:
            failed.append(e)
    if failed:
        raise failed[0]


def take_bases(app: App, engine: Engine, release: Release) -> None:
    """Take the base backups that are due. The log is copied meanwhile, by other runs.

    Raises the first error, which is also recorded, after all stores have been tried.
    """
    failed: list[PushrodError] = []
    with locks.lock(wal.base_lock(app), purpose="taking a base backup", timeout=_PATIENCE):
        for logged in _logged(engine, app, release):
            log = _StoreLog(app, logged)
            if logged.store not in wal.stores(app) or not wal.is_base_due(app, wal.state(app, logged.store)):
                continue
            try:
                with recorded(log.base_failed, str(log.place)):
                    log.take_base()
            except BusyError:
                raise
            except PushrodError as e:
                failed.append(e)
    if failed:
        raise failed[0]


def _logged(engine: Engine, app: App, release: Release) -> list[Logged]:
    archives = engine.stores.archives(app, release, ddl=release.migrates_itself)
    return [archive.logged for archive in archives if archive.logged]


def stop(app: App, engine: Engine, release: Release) -> None:
    """Keep no logs any more: the servers may remove theirs, and what was copied here is removed."""
    if not wal.place(app).exists():
        return
    for logged in _logged(engine, app, release):
        logged.log.release()
    files.remove_tree(wal.place(app))


class _StoreLog:
    """The log of one store."""

    def __init__(self, app: App, logged: Logged) -> None:
        self.place = wal.place(app, logged.store)
        self._app = app
        self._store = logged.store
        self._log = logged.log
        self._state = wal.state(app, logged.store)

    def receive(self) -> None:
        """Copy the log as far as it goes."""
        at = self._log.position()
        for directory in (self.place.parent, self.place, self.place / "log", self.place / "bases"):
            files.make_private(directory)
        self._copy(at)
        self._forget_former()

    def take_base(self) -> None:
        """Take a base backup, and remove what only older ones need."""
        self._check_room()
        name = now().replace(":", "-")[:19] + "Z"
        path, new = self.place / "bases" / f"{name}.tar", self.place / "bases" / ".new"
        try:
            with wal.lock(self._app, _PATIENCE):  # the server must keep what is written from now on
                self._state = wal.state(self._app, self._store)
                self._forget_useless()
                self._copy(self._log.position())
            with new.open("wb") as out:
                os.fchmod(out.fileno(), 0o600)
                sink = Measured(Spared(out, new.parent, 2 * SPARE))  # less would stop the log
                self._log.base(sink)
                out.flush()
                os.fsync(out.fileno())
            begin, at = self._log.begin(new), self._log.position().at
            with wal.lock(self._app, _PATIENCE):
                self._state = wal.state(self._app, self._store)
                self._copy(self._log.position())
                new.replace(path)
                files.sync_directory(path.parent)
                base = Base(name, at, begin, sink.size, sink.sha256)
                self._write(bases=(*self._state.bases, base), base_trouble=None)
                self._prune()
        except OSError as e:
            error = files.os_error(e, str(self.place))
            what = f"a base backup cannot be written: {error.what}"
            raise StoreError(what, where=error.where, hint=error.hint) from e
        finally:
            new.unlink(missing_ok=True)

    def failed(self, error: PushrodError) -> None:
        """Record why the log was not copied."""
        files.make_private(self.place.parent)
        files.make_private(self.place)
        since = self._state.trouble.at if self._state.trouble else now()
        self._write(trouble=Trouble(since, error.what, error.where))

    def base_failed(self, error: PushrodError) -> None:
        """Record why no base backup was taken."""
        with wal.lock(self._app, _PATIENCE):
            self._state = wal.state(self._app, self._store)
            before = self._state.base_trouble
            if self.place.exists():
                self._write(base_trouble=Trouble(before.at if before else now(), error.what, error.where))

    def _check_room(self) -> None:
        """A base backup must not take the space that the log needs."""
        size, free = self._log.size(), files.free_space(self.place)
        if free - size < 2 * SPARE:
            raise StoreError(
                f"a base backup needs up to {size // 10**6} MB, and {free // 10**6} MB are free",
                where=str(self.place),
                hint="free some space on that disk; the log is copied meanwhile",
            )

    def _copy(self, at: Position) -> None:
        if not at.held:
            self._check_share(at.segment_size, at.segment_size)
            free = files.free_space(self.place)
            self._check_space(free)
            self._log.hold(min(_HELD, free // 4))
            at = self._log.position()
        known = self._state
        if known.history != (at.system, at.timeline, at.segment_size):
            self._restart(at)
        elif at.kept > known.end:
            self._lose(at)
        if self._state.at and seconds_between(at.at, self._state.at) > _SET_BACK:
            self._write(turn=Turn(self._state.end, self._state.at, at.at))
        begin = max(self._state.end, at.kept)
        if at.end - begin > _MOST:
            raise StoreError(f"its log is {(at.end - begin) >> 30} GB ahead", where=str(self.place))
        if at.end > self._state.end:
            self._check_share(at.end - begin, at.segment_size)
            segments = dict(self._state.segments)
            for name in logs.segments(self._log, at.timeline, at.segment_size, begin, at.end):
                self._check_space(files.free_space(self.place))
                segments[name] = self._segment(at, name)
            files.sync_directory(self.place / "log")
            self._write(segments=segments, end=at.end, at=at.at, trouble=None)
            self._log.advance(at.end - at.end % at.segment_size)
        else:
            self._write(at=at.at, trouble=None)

    def _segment(self, at: Position, name: str) -> str:
        """Copy a segment; returns its digest."""
        path, new = self.place / "log" / name, self.place / "log" / f".{name}"
        with new.open("wb") as out:
            os.fchmod(out.fileno(), 0o600)
            self._log.copy(at, name, out)
            out.truncate(at.segment_size)
            out.flush()
            os.fsync(out.fileno())
        new.replace(path)
        return files.digest(path)

    def _restart(self, at: Position) -> None:
        """Set the log of another cluster, or of another history of this one, aside; it may be needed because that
        cluster is lost."""
        if self._state.bases:
            self._set_aside()
        for path in (*(self.place / "log").iterdir(), *(self.place / "bases").iterdir()):
            files.remove(path)
        self._state = State(at.system, at.timeline, at.segment_size, at.major, at.kept)
        self._write()

    def _set_aside(self) -> None:
        """Move the log and its base backups; an interrupted attempt goes on."""
        aside = self.place / FORMER
        if wal.read(aside).history != self._state.history:
            files.remove_tree(aside)
        for directory in (aside, aside / "log", aside / "bases"):
            files.make_private(directory)
        wal.save(aside, self._state)
        for name in ("log", "bases"):
            for path in (self.place / name).iterdir():
                if not path.name.startswith("."):
                    path.replace(aside / name / path.name)
            files.sync_directory(aside / name)

    def _forget_former(self) -> None:
        """Remove the log of the cluster before, a week after its end."""
        aside = self.place / FORMER
        if aside.exists() and seconds_since(wal.read(aside).at or now()) > wal.WEEK:
            files.remove_tree(aside)

    def _lose(self, at: Position) -> None:
        known = self._state
        gap = Gap(known.end, at.kept, known.at, at.at)
        self._write(gaps=(*known.gaps, gap))

    def _forget_useless(self) -> None:
        """Remove the log since a gap after which there is no base backup: none can begin in it any more."""
        known = self._state
        begin = known.gaps[-1].end if known.gaps else known.end
        if not any(base.begin >= begin for base in known.bases):
            useless = range(begin // known.segment_size, known.end // known.segment_size)
            self._keep(lambda number: number not in useless)

    def _prune(self) -> None:
        """Remove what only older base backups need; of much log also what only the last one but one needs."""
        known = self._state
        allowed = machine.of(self._app.root, self._app.name).store_log
        bases = known.bases[-_BASES:] if wal.size(self._app) < allowed * 2 // 3 else known.bases[-1:]
        oldest = bases[0].begin // known.segment_size
        gaps = tuple(gap for gap in known.gaps if gap.end > bases[0].begin)
        self._write(bases=bases, gaps=gaps)
        self._keep(lambda number: number >= oldest)

    def _keep(self, is_kept: Callable[[int], bool]) -> None:
        """Keep these segments, by their numbers, and the base backups of the record."""
        known = self._state
        segments = {
            name: digest
            for name, digest in known.segments.items()
            if is_kept(self._log.number(name, known.segment_size))
        }
        self._write(segments=segments)
        kept = {*segments, *(f"{base.name}.tar" for base in known.bases)}
        for path in (*(self.place / "log").iterdir(), *(self.place / "bases").iterdir()):
            if path.name not in kept and path.name != ".new":
                files.remove(path)

    def _check_share(self, new: int, size: int) -> None:
        """If this many bytes of log, in segments of a size, are more than the app may have here, copy nothing, and
        let the server remove its log."""
        held, allowed = wal.size(self._app), wal.most(self._app)
        if held + -(-new // size) * size <= allowed:
            return
        self._log.release()
        raise StoreError(
            f"the app has {held // 10**6} MB of log here, of {allowed // 10**6} MB that this machine allows: it is "
            "not copied, and the server no longer keeps it",
            where=str(self.place),
            hint="a new base backup follows; the host's owner can raise it: "
            f"{limits.option('store_log', 2 * allowed)} --app {self._app.name}",
        )

    def _check_space(self, free: int) -> None:
        """If little space is left, copy nothing, and let the server remove its log."""
        if free >= 2 * SPARE:
            return
        self._log.release()
        raise StoreError(
            f"only {free // 10**6} MB are free: the log is not copied, and the server no longer keeps it",
            where=str(self.place),
            hint="free some space on that disk; a new base backup follows",
        )

    def _write(self, **changes: object) -> None:
        self._state = msgspec.structs.replace(self._state, **changes)
        wal.save(self.place, self._state)
