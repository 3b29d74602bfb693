"""Taking, verifying and restoring backups.

The bytes are streamed from a store's driver (`stores.backup_drivers`) to a destination (`destination`), and back.
Each file is read back right after it is written.
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
"""Seconds for one app's backup when all due backups are taken."""

_BUSY = 5.0  # seconds to wait, at the end, for an app that was busy at its turn


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
        """Back up the app's stores, and remove backups beyond the number that the manifest keeps.

        Raises BusyError if another command works on the app for `timeout` seconds, StoreError if a store does not
        answer, or if its backup cannot be read back.
        """
        with self._pipeline.locked("backing up", timeout=timeout):
            release = self._running()
            return self._take(release, self._archives(release))

    def verify(self, when: str = "") -> list[Verified]:
        """Test a backup: compare its files with their digests, restore each beside the data, compare the rows.

        Raises StoreError if anything differs.
        """
        with self._pipeline.locked("verifying a backup"):
            backup = catalogue.find(self.app, when)
            archives = {a.store: a for a in self._archives(self._running())}
            return [self._verify(backup, file, archives) for file in backup.files]

    def restore(self, when: str) -> list[str]:
        """Replace the app's databases by those of a backup, after backing up the current ones.

        Returns messages for the user. Each database is first restored beside the current one, then swapped in.
        Instances keep running and reconnect.
        """
        with self._pipeline.locked("restoring a backup"):
            backup, release = catalogue.find(self.app, when), self._running()
            current = self._archives(release)
            archives = {a.store: a for a in current}
            for file in backup.files:
                self._check(backup, file, archives)
            self._take(release, current, sparing=backup.name)
            return [self._restore(backup, file, archives) for file in backup.files] + self._migrated(backup)

    # ---- steps ----------------------------------------------------------------------------------------------

    def _take(self, release: Release, archives: Sequence[Archive], *, sparing: str = "") -> Backup:
        if not archives:
            raise StoreError(
                "there is nothing to back up: pushrod can read none of the app's stores",
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
        """A name for a time; if it is taken, the next free second's."""
        time = datetime.datetime.fromisoformat(at)
        while self._place.taken(name := f"{time:%Y-%m-%dT%H-%M-%SZ}"):
            time += datetime.timedelta(seconds=1)
        return name

    def _prune(self, keep: int, spared: Sequence[str]) -> None:
        for backup in [b for b in catalogue.listed(self.app)[keep:] if b.name not in spared]:
            self._place.remove(backup.name)

    def _check(self, backup: Backup, file: File, archives: dict[str, Archive]) -> Archive:
        """The driver for a file. Raises StoreError if the file has changed or the live release lacks its store."""
        where = self._place.where(backup.name, file.name)
        try:
            with self._place.read(backup.name, file.name) as source:
                problem = (
                    "" if streams.digest(source) == file.sha256 else "the file has changed since the backup"
                )
        except FileNotFoundError:
            problem = "the file is missing"
        if problem:
            raise StoreError(problem, where=where, hint="`pushrod db backups` lists others")
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
                step.detail = f"{file.name}: intact; not restored, because that is done by hand"
                return Verified(file.store)
            if rows != file.rows:
                raise StoreError(
                    f"the restored rows differ from the recorded ones: {_difference(file.rows, rows)}",
                    where=f"{file.name} of backup {backup.name}",
                    hint="take another backup, and verify it",
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
            return (
                f"{file.store} is unchanged: restore its snapshot by hand (docs/operations.md), from {where}"
            )
        return f"{file.store} is as of {backup.at}; {kept} keeps the previous data until the next restore"

    def _migrated(self, backup: Backup) -> list[str]:
        """A message if the schema has changed since the backup: the live code may not work with the older one."""
        story = Journal(self.app.journal).story()
        later = [n for n in story.migrated if backup.release < n <= story.live]
        if not later:
            return []
        return [
            f"release {later[0]} changed the schema after this backup of release {backup.release}: deploy again to "
            f"run the release command, or `pushrod rollback {backup.release}`"
        ]

    # ---- helpers --------------------------------------------------------------------------------------------

    def _running(self) -> Release:
        release = releases.live(self.app)
        if release is None or self.app.settings.down:
            state = "is down" if release else "has no live release"
            hint = "`pushrod restart` starts them" if release else "deploy it first"
            raise StoreError(f"{self.app.name} {state}, so its stores do not run", hint=hint)
        return release

    def _archives(self, release: Release) -> Sequence[Archive]:
        ddl = not any(s.release for s in release.services)
        archives = self.engine.stores.archives(self.app, release, ddl=ddl)
        for store in release.stores:
            if store.name not in {a.store for a in archives}:
                self.progress.note(f"{store.name} ({store.image}) is not backed up: pushrod cannot read it")
        return archives


def all_due(engine: Engine, apps: Sequence[App], progress: Progress) -> Iterator[Backup | PushrodError]:
    """Back up each app that is due, in a fair order, each within TURN.

    If one fails, its error is yielded, and the next app follows. An app that another command works on is tried again
    at the end; if it is still busy, it is skipped with a note, and with an error if its backup is already late.
    """
    turns, busy = Round(engine.root, "backup", TURN), list[App]()
    for app in turns.order(apps):
        outcome = _in_turn(turns, app, engine, progress, timeout=0)
        if isinstance(outcome, BusyError):
            busy.append(app)
        elif outcome:
            yield outcome
    for app in busy:
        outcome = _in_turn(turns, app, engine, progress, timeout=_BUSY)
        if isinstance(outcome, BusyError):
            progress.note(f"{app.name} is skipped until the next run: {outcome.what}")
            if not any(catalogue.examine(app)):
                continue
        if outcome:
            yield outcome


def _in_turn(
    turns: Round, app: App, engine: Engine, progress: Progress, *, timeout: float
) -> Backup | PushrodError | None:
    """The result of an app's turn; None if it is not due."""
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


def _difference(recorded: dict[str, int], restored: dict[str, int]) -> str:
    tables = sorted(t for t in {*recorded, *restored} if recorded.get(t) != restored.get(t))
    return ", ".join(
        f"{t} {restored.get(t, 'missing')} instead of {recorded.get(t, 'none')}" for t in tables[:3]
    )
