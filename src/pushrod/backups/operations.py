"""Taking, verifying and restoring backups.

The bytes are streamed from a store's driver (`stores.backup_drivers`) to a destination (`destination`), and back.
Each file is read back right after it is written.
"""

import contextlib
import datetime
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec

from pushrod.adapters.dumps import difference
from pushrod.backups import admission, catalogue, copies, staging, vaulting, wal_copies
from pushrod.backups.catalogue import Backup, File, Verified
from pushrod.backups.copies import Copy
from pushrod.backups.destination import Destination, Directory, Draft
from pushrod.backups.failures import recorded
from pushrod.core.errors import BusyError, PushrodError, StoreError, UnknownNameError, contained
from pushrod.core.progress import Progress
from pushrod.core.times import now
from pushrod.core.values import Release
from pushrod.engines.protocols import Engine
from pushrod.releases.pipeline import Pipeline
from pushrod.releases.queue import LOCK_TIMEOUT
from pushrod.releases.rounds import Round
from pushrod.releases.steps import Steps
from pushrod.state import releases
from pushrod.state.apps import App, Root
from pushrod.state.journal import Journal
from pushrod.state.vaults import Vault
from pushrod.stores.backup_drivers import Archive
from pushrod.system import files, signals, streams

TURN = 3 * 3600.0
"""Seconds for one app's backup when all due backups are taken."""

_RECORD = 4 << 20  # characters that a store may add to a record, which is read for all apps
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
            release = releases.running(self.app)
            return self._take(release, self._archives(release))

    def copy(self, *, timeout: float = LOCK_TIMEOUT) -> Copy | None:
        """Copy the app with its newest backup to its vault, read the copy back, and restore the databases from what
        came back, beside the data. None if the app has no vault.

        Raises StoreError if that fails at any point, which is also recorded.
        """
        release = releases.running(self.app)
        name = copies.vault_name(self.app, release)
        if not name:
            return None
        with (
            recorded(partial(copies.failed, self.app), str(self.app.directory)),
            vaulting.outgoing(self.app) as work,
        ):
            return self._copy(release, vaulting.find(self.app.root, name), work, timeout)

    def _copy(self, release: Release, vault: Vault, work: Path, timeout: float) -> Copy:
        with self._pipeline.locked("collecting its files for the vault", timeout=timeout):
            newest = catalogue.newest(self.app)
            contents = staging.collect(
                self.app, release.number, release.commit, newest.name if newest else "", work / "sent"
            )
        with self._step("copy", f"to {vault.url}") as step:
            copy, place = vaulting.send(self.app.root, vault, contents, work)
            copies.succeeded(self.app, copy)
            step.detail = f"to {vault.url}: {copy.sent} bytes sent, {copy.size} read back"
        restored = list[str]()
        if newest:
            returned = Directory(App(Root(place), self.app.name).backups)
            with self._pipeline.locked("proving a backup", timeout=timeout):
                archives = {a.store: a for a in self._archives(releases.running(self.app))}
                for file in newest.files:
                    self._verify(newest, file, archives, returned)
                    if archives[file.store].suffix != "tar":  # files are only counted
                        restored.append(file.store)
        copy = msgspec.structs.replace(copy, proved=now(), restored=tuple(restored))
        copies.succeeded(self.app, copy)
        vaulting.prune(self.app.root, vault, self.app.name, release.backups.keep)
        return copy

    def verify(self, when: str = "") -> list[Verified]:
        """Test a backup: compare its files with their digests, restore each beside the data, compare the rows.

        Raises StoreError if anything differs.
        """
        with self._pipeline.locked("verifying a backup"):
            backup = catalogue.find(self.app, when)
            archives = {a.store: a for a in self._archives(releases.running(self.app))}
            return [self._verify(backup, file, archives) for file in backup.files]

    def restore(self, when: str, only: str = "", *, from_vault: bool = False) -> list[str]:
        """Replace the app's databases by those of a backup, or with `from_vault` by those of its copy there, after
        backing up the current ones; or that of one store.

        Returns messages for the user. Each database is first restored beside the current one, then swapped in.
        Instances keep running and reconnect.
        """
        with self._source(when, from_vault) as (name, place), self._pipeline.locked("restoring a backup"):
            backup, release = place.record(name, Backup), releases.running(self.app)
            current = self._archives(release)
            archives = {a.store: a for a in current}
            asked = [file for file in backup.files if only in ("", file.store)]
            if not asked:
                raise UnknownNameError(
                    f"backup {backup.name} has nothing of {only}", hint="`pushrod db backups` lists others"
                )
            for file in asked:
                self._check(backup, file, archives, place)
            self._take(release, current, sparing=backup.name)
            messages = [self._restore(backup, file, archives, place) for file in asked]
            return messages if only else messages + self._migrated(backup, release)

    @contextlib.contextmanager
    def _source(self, when: str, from_vault: bool) -> Iterator[tuple[str, Destination]]:
        """The name of a backup, and where it is: on this machine, or fetched from the app's vault for the block."""
        if not from_vault:
            yield catalogue.find(self.app, when).name, self._place
            return
        root, name = self.app.root, copies.vault_name(self.app, releases.running(self.app))
        if not name:
            raise UnknownNameError(
                "the app has no vault",
                where=f"app {self.app.name}",
                hint="`pushrod host backups set` sets one",
            )
        vault = vaulting.find(root, name)
        snapshot, backup = vaulting.copied(root, vault, self.app.name, when)
        with vaulting.outgoing(self.app) as work:
            with self._step("fetch", f"backup {backup} from {vault.url}"):
                vaulting.fetch(root, vault, snapshot, 0, work / "returned")
                contents = admission.checked(work / "returned")
                rules = admission.of_app(self.app.name, backup, contents.release)
                admission.take(work / "returned", work / "taken", rules)
            place = Directory(App(Root(work / "taken"), self.app.name).backups)
            if contents.app != self.app.name or backup not in place.names():
                where = f"snapshot {snapshot}"
                raise StoreError("it is not a copy of that backup", where=where, hint=admission.DAMAGED)
            yield backup, place

    def revive(self, name: str, catch_up: Callable[[Release, str], list[str]]) -> list[str]:
        """Make an app live whose files came from a vault: build its live commit, start its stores, restore the
        databases from the backup `name` (empty: none), bring them to a later time than the backup's by `catch_up`,
        then start its instances. Returns messages for the user."""
        with self._pipeline.locked("rebuilding from a vault"):
            live = releases.live(self.app)
            if live is None:
                return ["it has no live release: deploy it"]
            release = self._pipeline.prepare(live.commit)
            messages, at = list[str](), ""
            if release.stores:
                with self._step("stores", ", ".join(s.name for s in release.stores)) as step:
                    step.detail = (
                        self.engine.stores.ensure(self.app, release, ddl=release.migrates_itself)
                        or step.detail
                    )
            if name:
                backup, archives = (
                    catalogue.find(self.app, name),
                    {a.store: a for a in self._archives(release)},
                )
                for file in backup.files:
                    self._check(backup, file, archives)
                messages, at = [self._restore(backup, file, archives) for file in backup.files], backup.at
            messages += catch_up(release, at)
            self._pipeline.promote(release, migrate=False)
            with signals.uninterrupted(), self._pipeline.context.left_for_later():
                # a record of the other machine's, without its files
                self._pipeline.context.sealing.discard(live.number)
            return messages

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
        version = archive.version()
        if len(version) + sum(map(len, rows)) + 20 * len(rows) > _RECORD:
            raise StoreError(
                f"its version and the names of its {len(rows)} tables are too much for the backup's record",
                where=f"store {archive.store}",
                hint="dump it by hand: pushrod db export",
            )
        return File(archive.store, name, version, sink.size, sink.sha256, rows)

    def _free_name(self, at: str) -> str:
        """A name for a time; if it is taken, the next free second's."""
        time = datetime.datetime.fromisoformat(at)
        while self._place.taken(name := f"{time:%Y-%m-%dT%H-%M-%SZ}"):
            time += datetime.timedelta(seconds=1)
        return name

    def _prune(self, keep: int, spared: Sequence[str]) -> None:
        for backup in [b for b in catalogue.listed(self.app)[keep:] if b.name not in spared]:
            self._place.remove(backup.name)

    def _check(
        self, backup: Backup, file: File, archives: dict[str, Archive], place: Destination | None = None
    ) -> Archive:
        """The driver for a file. Raises StoreError if the file has changed or the live release lacks its store.

        That a file without a change is complete was checked when it was written.
        """
        place = place or self._place
        where = place.where(backup.name, file.name)
        try:
            with place.read(backup.name, file.name) as source:
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
        if (
            archive.suffix == "tar"
        ):  # it replaces the store's files; a dump or a snapshot is restored beside its store
            with place.read(backup.name, file.name) as source:
                archive.check(source)
        return archive

    def _verify(
        self, backup: Backup, file: File, archives: dict[str, Archive], place: Destination | None = None
    ) -> Verified:
        place = place or self._place
        with self._step("verify", f"{file.name} of {backup.name}") as step:
            archive = self._check(backup, file, archives, place)
            with _newer(file, archive), place.read(backup.name, file.name) as source:
                rows = archive.rehearse(source)
            if rows != file.rows and (
                file.rows or archive.suffix != "rdb"
            ):  # of keys, not always a number is known
                raise StoreError(
                    f"the restored rows differ from the recorded ones: {difference(file.rows, rows)}",
                    where=f"{file.name} of backup {backup.name}",
                    hint="take another backup, and verify it",
                )
            keyed = archive.suffix == "rdb"
            verified = Verified(file.store, 0 if keyed else len(rows), sum(rows.values()), keyed)
            step.detail = f"{file.name}: {verified}, as backed up"
        return verified

    def _restore(
        self, backup: Backup, file: File, archives: dict[str, Archive], place: Destination | None = None
    ) -> str:
        with (
            self._step("restore", f"{file.name} of {backup.name}") as step,
            _newer(file, archives[file.store]),
            (place or self._place).read(backup.name, file.name) as source,
        ):
            kept = archives[file.store].restore(source, file.rows)
            step.detail = f"{file.name}: in place"
        return f"{file.store} is as of {backup.at}; {kept} keeps the previous data until the next restore"

    def _migrated(self, backup: Backup, live: Release) -> list[str]:
        """A message if the schema has changed since the backup, or may have: the live code may not work with the
        older one.
        """
        entries, story = Journal(self.app.journal).read()
        later = [n for n in story.migrated if backup.release < n <= live.number]
        if later:
            return [
                f"release {later[0]} changed the schema after this backup of release {backup.release}: deploy again "
                f"to run the release command, or `pushrod rollback {backup.release}`"
            ]
        first = min(e.release for e in entries)  # what earlier ones changed is no longer in the journal
        if backup.release < min(first - 1, live.number) and not live.migrates_itself:
            return [
                f"releases before {first} are no longer in the journal: if one of them changed the schema after this "
                f"backup of release {backup.release}, deploy again to run the release command"
            ]
        return []

    # ---- helpers --------------------------------------------------------------------------------------------

    def _archives(self, release: Release) -> Sequence[Archive]:
        archives = self.engine.stores.archives(self.app, release, ddl=release.migrates_itself)
        for store in release.stores:
            if store.name not in {a.store for a in archives}:
                self.progress.note(f"{store.name} ({store.image}) is not backed up: pushrod cannot read it")
        return archives


@contextlib.contextmanager
def _newer(file: File, archive: Archive) -> Iterator[None]:
    """Where the block fails with a file of a newer major version than the store's, say so."""
    try:
        yield
    except StoreError as e:
        here = ""
        with contextlib.suppress(StoreError):
            here = archive.version()
        if not here or _major(file.version) <= _major(here):
            raise
        raise StoreError(
            f"{file.name} is from version {file.version}, and the store runs {here}, which cannot read it",
            where=e.where,
            hint="upgrade the store first (PostgreSQL: `pushrod db upgrade`); its data is unchanged",
            log=(*e.log, e.what),
        ) from e


def _major(version: str) -> int:
    number, _, rest = version.partition(".")
    return int(number) if rest and number.isdecimal() else 0


def all_due(
    engine: Engine, apps: Sequence[App], progress: Progress
) -> Iterator[Backup | Copy | PushrodError]:
    """Back up each app that is due, and copy it to its vault, in a fair order, each within TURN.

    The host's own files come last. If one fails, its error is yielded, and the next follows. An app that another
    command works on is tried again at the end; if it is still busy, it is skipped with a note, and with an error if
    its backup is already late.
    """
    turns, busy = Round(engine.root, "backup", TURN), list[App]()
    for app in turns.order(apps):
        for outcome in _in_turn(turns, app, engine, progress, timeout=0):
            if isinstance(outcome, BusyError):
                busy.append(app)
            else:
                yield outcome
    for app in busy:
        for outcome in _in_turn(turns, app, engine, progress, timeout=_BUSY):
            if isinstance(outcome, BusyError):
                progress.note(f"{app.name} is skipped until the next run: {outcome.what}")
                if not any(catalogue.examine(app, releases.live(app))):
                    continue
            yield outcome
    if copies.host_due(engine.root):
        try:
            yield vaulting.copy_host(engine.root)
        except PushrodError as e:
            e.app = "the host's own files"
            yield e


def _in_turn(
    turns: Round, app: App, engine: Engine, progress: Progress, *, timeout: float
) -> Iterator[Backup | Copy | PushrodError]:
    """The results of an app's turn; none if nothing is due."""
    try:
        with contained():
            if not catalogue.due(app) and not catalogue.copy_due(app) and not wal_copies.bases_due(app):
                return
            with turns.turn(app):
                backups = Backups(app, engine, progress)
                if catalogue.due(app):
                    yield backups.take(timeout=timeout)
                if catalogue.copy_due(app) and (copy := backups.copy(timeout=timeout)):
                    yield copy
                wal_copies.take_bases(app, engine)
    except PushrodError as e:
        yield e.of(app.name)
    except OSError as e:
        yield files.os_error(e, str(app.backups)).of(app.name)
