"""What is done with backups: taken whole, read back at once, tried out, put in place.

The bytes go from a store's driver (`stores.backup_drivers`) to a destination (`destination`), and back.
"""

import datetime
from collections.abc import Iterator, Sequence

import msgspec

from pushrod.backups import catalogue
from pushrod.backups.catalogue import Backup, File, Verified
from pushrod.backups.destination import Draft
from pushrod.core.errors import BusyError, Interrupted, PushrodError, StoreError
from pushrod.core.progress import Progress
from pushrod.core.values import Release
from pushrod.engines.protocols import Engine
from pushrod.releases.pipeline import Pipeline
from pushrod.releases.queue import LOCK_TIMEOUT
from pushrod.releases.rounds import Round
from pushrod.releases.steps import Steps
from pushrod.state import releases
from pushrod.state.apps import App, now
from pushrod.state.journal import Journal
from pushrod.stores.backup_drivers import Archive
from pushrod.system import files, streams

TURN = 3 * 3600.0
"""Seconds for one app's backup where all that are due are taken."""

_BUSY = 5.0  # seconds until an app must be free that was not when its turn came


class Backups:
    """Backups of one app. Every public verb takes the app's lock."""

    def __init__(self, app: App, engine: Engine, progress: Progress) -> None:
        self.app = app
        self.engine = engine
        self.progress = progress
        self._place = catalogue.place(app)
        self._pipeline = Pipeline(app, engine, progress)
        self._step = Steps(progress, Journal(app.journal)).step

    def take(self, *, timeout: float = LOCK_TIMEOUT) -> Backup:
        """Back up the app's stores, and remove backups beyond those the manifest wants kept.

        Raises BusyError if another command works on the app for `timeout` seconds, StoreError if a store does not
        answer, or what came from it cannot be read.
        """
        with self._pipeline.locked("backing up", timeout=timeout):
            release = self._running()
            return self._take(release, self._archives(release))

    def verify(self, when: str = "") -> list[Verified]:
        """Try a backup out: compare its files with their digests, restore each beside the data, compare the rows.

        Raises StoreError where anything differs.
        """
        with self._pipeline.locked("verifying a backup"):
            backup = catalogue.find(self.app, when)
            archives = {a.store: a for a in self._archives(self._running())}
            return [self._verify(backup, file, archives) for file in backup.files]

    def restore(self, when: str) -> list[str]:
        """Put a backup's databases in the place of those that are there, which are backed up before.

        Returns what to know then. Each is restored beside the old one before anything changes. Instances go on, and
        connect again.
        """
        with self._pipeline.locked("restoring a backup"):
            backup, release = catalogue.find(self.app, when), self._running()
            found = self._archives(release)
            archives = {a.store: a for a in found}
            for file in backup.files:
                self._check(backup, file, archives)
            self._take(release, found, sparing=backup.name)
            return [self._restore(backup, file, archives) for file in backup.files] + self._migrated(backup)

    # ---- steps ----------------------------------------------------------------------------------------------

    def _take(self, release: Release, archives: Sequence[Archive], *, sparing: str = "") -> Backup:
        if not archives:
            raise StoreError(
                "there is nothing to back up: no PostgreSQL and no Redis that pushrod can ask",
                where=f"app {self.app.name}",
                hint="dump other stores by hand: pushrod run",
            )
        with self._place.begin() as draft, self._step("backup", ", ".join(a.store for a in archives)) as step:
            backup = self._write(release, archives, draft)
            step.detail = ", ".join(f"{f.store} {f.version}" for f in backup.files)
        self._prune(release.backups.keep, (backup.name, sparing))
        return backup

    def _write(self, release: Release, archives: Sequence[Archive], draft: Draft) -> Backup:
        at, saved = now(), tuple(self._save(a, draft) for a in archives)
        backup = Backup(
            app=self.app.name,
            name=self._free_name(at),
            at=at,
            release=release.number,
            commit=release.commit,
            engine=release.engine,
            files=saved,
        )
        draft.finish(backup.name, msgspec.json.format(msgspec.json.encode(backup)) + b"\n")
        return backup

    def _save(self, archive: Archive, draft: Draft) -> File:
        name = f"{archive.store}.{archive.suffix}"
        with draft.write(name) as sink:
            rows = archive.save(sink)
        with draft.read(name) as source:
            archive.check(source)
        return File(archive.store, name, archive.version(), sink.size, sink.sha256, rows)

    def _free_name(self, at: str) -> str:
        """The name for a time; the next second's where there is one of that second."""
        time = datetime.datetime.fromisoformat(at)
        while self._place.taken(name := f"{time:%Y-%m-%dT%H-%M-%SZ}"):
            time += datetime.timedelta(seconds=1)
        return name

    def _prune(self, keep: int, spared: Sequence[str]) -> None:
        for backup in [b for b in catalogue.listed(self.app)[keep:] if b.name not in spared]:
            self._place.remove(backup.name)

    def _check(self, backup: Backup, file: File, archives: dict[str, Archive]) -> Archive:
        """StoreError where a file is not what was written, or its store is not there any more."""
        where = self._place.where(backup.name, file.name)
        try:
            with self._place.read(backup.name, file.name) as source:
                wrong = "" if streams.digest(source) == file.sha256 else "the file is not what was backed up"
        except FileNotFoundError:
            wrong = "the file is missing"
        if wrong:
            raise StoreError(wrong, where=where, hint="`pushrod db backups` lists others")
        if file.store not in archives:
            raise StoreError(
                f"the live release has no store `{file.store}`",
                where=f"backup {backup.name}",
                hint=f"deploy a commit with it, such as {backup.commit[:7]}, or restore the file by hand",
            )
        archive = archives[file.store]
        with self._place.read(backup.name, file.name) as source:
            archive.check(source)
        return archive

    def _verify(self, backup: Backup, file: File, archives: dict[str, Archive]) -> Verified:
        with self._step("verify", f"{file.name} of {backup.name}") as step:
            archive = self._check(backup, file, archives)
            with self._place.read(backup.name, file.name) as source:
                rows = archive.rehearse(source)
            if rows is None:
                step.detail = f"{file.name}: whole; not restored, that is done by hand"
                return Verified(file.store)
            if rows != file.rows:
                raise StoreError(
                    f"restored it has other rows than were backed up: {_difference(file.rows, rows)}",
                    where=f"{file.name} of backup {backup.name}",
                    hint="take another backup, and verify that",
                )
            step.detail = f"{file.name}: {len(rows)} tables, {sum(rows.values())} rows, as backed up"
        return Verified(file.store, len(rows), sum(rows.values()), restored=True)

    def _restore(self, backup: Backup, file: File, archives: dict[str, Archive]) -> str:
        with (
            self._step("restore", f"{file.name} of {backup.name}") as step,
            self._place.read(backup.name, file.name) as source,
        ):
            kept = archives[file.store].restore(source)
            step.detail = f"{file.name}: {'in place' if kept else 'by hand'}"
        if kept is None:
            where = self._place.where(backup.name, file.name)
            return f"{file.store} is as it was: a snapshot is restored by hand (docs/operations.md), from {where}"
        return f"{file.store} is as of {backup.at}; the data before it are in {kept} until the next restore"

    def _migrated(self, backup: Backup) -> list[str]:
        """What is said where the schema has changed since: the live code may not fit the older one."""
        story = Journal(self.app.journal).story()
        later = [n for n in story.migrated if backup.release < n <= story.live]
        if not later:
            return []
        return [
            f"release {later[0]} changed the schema after this backup, of release {backup.release}: deploy again, so "
            f"that its release command runs, or `pushrod rollback {backup.release}`"
        ]

    # ---- small things ---------------------------------------------------------------------------------------

    def _running(self) -> Release:
        release = releases.live(self.app)
        if release is None or self.app.settings.down:
            state = "is down" if release else "has no live release"
            hint = "`pushrod restart` starts them" if release else "deploy it first"
            raise StoreError(f"{self.app.name} {state}, so its stores do not run", hint=hint)
        return release

    def _archives(self, release: Release) -> Sequence[Archive]:
        ddl = not any(s.release for s in release.services)
        found = self.engine.stores.archives(self.app, release, ddl=ddl)
        for store in release.stores:
            if store.name not in {a.store for a in found}:
                self.progress.note(f"{store.name} ({store.image}) is not backed up: pushrod cannot ask it")
        return found


def all_due(engine: Engine, apps: Sequence[App], progress: Progress) -> Iterator[Backup | PushrodError]:
    """Back up each app whose time has come, in a fair order, each within TURN.

    One that fails gives its error, and the next goes on. One that another command works on is asked for again at the
    end; if it still is, it is left for the next time, with a note. That is an error where its backup is late already.
    """
    turns, busy = Round(engine.root, "backup", TURN), list[App]()
    for app in turns.order(apps):
        found = _in_turn(turns, app, engine, progress, timeout=0)
        if isinstance(found, BusyError):
            busy.append(app)
        elif found:
            yield found
    for app in busy:
        found = _in_turn(turns, app, engine, progress, timeout=_BUSY)
        if isinstance(found, BusyError):
            progress.note(f"{app.name} is left for the next time: {found.what}")
            if not any(catalogue.examine(app)):
                continue
        if found:
            yield found


def _in_turn(
    turns: Round, app: App, engine: Engine, progress: Progress, *, timeout: float
) -> Backup | PushrodError | None:
    """What came of an app's turn; None where it is not its time."""
    try:
        if not catalogue.due(app):
            return None
        with turns.turn(app):
            return Backups(app, engine, progress).take(timeout=timeout)
    except Interrupted:
        raise
    except PushrodError as e:
        return e.of(app.name)
    except OSError as e:
        return files.os_error(e, str(app.backups)).of(app.name)


def _difference(wanted: dict[str, int], found: dict[str, int]) -> str:
    tables = sorted(t for t in {*wanted, *found} if wanted.get(t) != found.get(t))
    return ", ".join(f"{t} {found.get(t, 'missing')} instead of {wanted.get(t, 'none')}" for t in tables[:3])
