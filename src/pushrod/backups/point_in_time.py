"""Recovery of an app's databases to a point in time.

A base backup and the log after it are recovered beside the running server; the database is dumped from there, and
restored beside the running one like any backup: nothing running is replaced before what replaces it is complete.
"""

import datetime
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pushrod.adapters import logs
from pushrod.adapters.dumps import Rows
from pushrod.adapters.logs import Log
from pushrod.backups import wal, wal_receiving
from pushrod.backups.destination import SPARE, Draft
from pushrod.backups.operations import Backups
from pushrod.backups.wal import Base, State
from pushrod.core.errors import StoreError, UnknownNameError
from pushrod.core.times import to_the_second
from pushrod.core.values import Release
from pushrod.state import releases
from pushrod.stores.backup_drivers import Archive, Logged
from pushrod.system import files

LATEST = "latest"
"""Instead of a time: the end of the log."""

_DATABASE = re.compile(r"[a-z][a-z0-9_]{0,62}")
_OURS = ("_restoring", "_verifying", "_importing", "_before_restore", "_before_import")
_PATIENCE = 600.0  # seconds to wait for a run that copies the log
_FORM = "write it as '2026-11-22 14:03:07' (UTC) or '2026-11-22 14:03:07+01:00', or latest"


class Chosen(NamedTuple):
    """What a recovery needs: the base backup and the segments after it, by their names."""

    base: Path
    log: list[tuple[str, Path]]


class Recovered(NamedTuple):
    """A database as it was: the archive that reads its dump, the dump's name and its rows."""

    logged: Logged
    name: str
    rows: Rows


def moment(text: str) -> str:
    """A time that a person wrote, in the form of all records; empty for `latest`.

    Raises UnknownNameError for any other text, and for a time in the future.
    """
    if text == LATEST:
        return ""
    try:
        at = datetime.datetime.fromisoformat(text.strip())
        at = at.replace(tzinfo=datetime.UTC) if at.tzinfo is None else at.astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        raise UnknownNameError(f"`{text}` is not a time", where="--to", hint=_FORM) from None
    if at > (present := datetime.datetime.now(datetime.UTC)):
        raise UnknownNameError(
            f"{to_the_second(at.isoformat())} is in the future",
            where="--to",
            hint=f"it is {to_the_second(present.isoformat())} now; {_FORM}",
        )
    return at.isoformat(timespec="microseconds")


def choose(log: Log, state: State, place: Path, store: str, until: str) -> Chosen:
    """The base backup and the log that lead to a time (empty: to the end). Pure, except that files are looked for.

    Raises StoreError if the time is before the first base backup, in a gap, after the end of the log, or in it twice.
    """
    where = f"store {store}"
    bases = [b for b in state.bases if _archive(place, b).exists()]
    if not bases:
        raise StoreError("there is no base backup yet", where=where, hint="`pushrod db archive` takes one")
    if until and until > state.at:
        raise StoreError(
            f"its log has been copied up to {to_the_second(state.at)} only",
            where=where,
            hint=f"choose an earlier time, or --to {LATEST}",
        )
    base = next((b for b in reversed(bases) if not until or b.at <= until), None)
    if base is None:
        first = to_the_second(bases[0].at)
        raise StoreError(
            f"{to_the_second(until)} is before the first base backup, of {first}",
            where=where,
            hint="choose a later time, or one of `pushrod db backups`",
        )
    turn = state.turn
    if turn and base.begin < turn.position and turn.after <= until <= turn.before:
        first, last = to_the_second(turn.after), to_the_second(turn.before)
        raise StoreError(
            f"the server's clock was set back from {last} to {first}: its log has that time twice",
            where=where,
            hint=f"choose a time before {first}, one after the next base backup, or --to {LATEST}",
        )
    end = state.end
    for gap in state.gaps:
        if gap.end <= base.begin:
            continue
        if not until or until > gap.after:
            first, last = to_the_second(gap.after), to_the_second(gap.until)
            raise StoreError(
                f"its log has a gap after the base backup, from {first} to {last}",
                where=where,
                hint=f"choose a time up to {first}, or after the next base backup",
            )
        end = min(end, gap.begin)
    return Chosen(_archive(place, base), _segments(log, state, place, base, end))


def _archive(place: Path, base: Base) -> Path:
    return place / "bases" / f"{base.name}.tar"


def _segments(log: Log, state: State, place: Path, base: Base, end: int) -> list[tuple[str, Path]]:
    names = logs.segments(log, state.timeline, state.segment_size, base.begin, end)
    return [(name, place / "log" / name) for name in names]


def intact(state: State, chosen: Chosen, until: str) -> tuple[Chosen, StoreError | None]:
    """The undamaged part of these files: the log before the first damage, and that damage.

    Raises StoreError for a damaged base backup, and, to the end of the log, for any damage.
    """
    digests = {f"{b.name}.tar": b.sha256 for b in state.bases} | state.segments
    if damage := _damage(chosen.base, digests):
        raise damage
    for index, (_, path) in enumerate(chosen.log):
        if damage := _damage(path, digests):
            if not until or not index:
                raise damage
            return Chosen(chosen.base, chosen.log[:index]), damage
    return chosen, None


def _damage(path: Path, digests: Mapping[str, str]) -> StoreError | None:
    if not path.exists() or path.name not in digests:
        return StoreError("a part of the log is missing", where=str(path), hint=_ELSEWHERE)
    if files.digest(path) != digests[path.name]:
        return StoreError("the file has changed since it was copied", where=str(path), hint=_ELSEWHERE)
    return None


_ELSEWHERE = "choose a time before it, or one of `pushrod db backups`; the running database was not touched"


class PointInTime(Backups):
    """Recovery of one app's databases."""

    def restore_to(self, when: str, into: str = "") -> list[str]:
        """Replace the app's databases with their state at a time, or with `into` restore that as another database
        beside them. Returns messages for the user; the replaced database is kept until the next restore.

        Raises StoreError if that time cannot be recovered.
        """
        until = moment(when)
        if into and not _DATABASE.fullmatch(into):
            raise UnknownNameError(
                f"`{into}` cannot be the name of a database",
                where="--into",
                hint="use small letters, digits and _, at most 63, a letter first",
            )
        if into.endswith(_OURS):
            raise UnknownNameError(
                f"`{into}` is a name that pushrod gives",
                where="--into",
                hint="the next restore would drop it",
            )
        with self._pipeline.locked("restoring to a point in time"):
            release = releases.running(self.app)
            if wal.keeps_log(self.app, release):
                with wal.lock(self.app, _PATIENCE):
                    wal_receiving.receive(self.app, self.engine, release)
            if not (done := self.recover(release, until, into)):
                raise StoreError(
                    "no log of its databases is kept",
                    where=f"app {self.app.name}",
                    hint="`x-pushrod: {backups: {wal: true}}` keeps it from the next deployment on, or says why not",
                )
            return done

    def recover(self, release: Release, until: str, into: str = "", *, after: str = "") -> list[str]:
        """Like `restore_to`, with the logs that are here and end after the time `after`. The caller holds the app's
        lock.
        """
        archives = {a.store: a for a in self._archives(release)}
        done: list[str] = []
        with wal.lock(self.app, _PATIENCE), self._place.begin() as draft:
            databases = [
                self._recovered(archive.logged, until, draft)
                for archive in archives.values()
                if archive.logged
                and archive.store in wal.stores(self.app)
                and (not after or wal.state(self.app, archive.store).at > after)
            ]
            for one in databases:
                done.append(self._placed(one, archives[one.logged.store], draft, until, into))
        return done

    def catch_up(self, release: Release, at: str) -> list[str]:
        """Recover to the end of the log if that is newer than the dump of `at`; otherwise the dump stays."""
        older = [s for s in wal.stores(self.app) if (end := wal.state(self.app, s).at) and end <= at]
        messages = [f"the log of {store} ends before that backup, and was not used" for store in older]
        if len(older) == len(wal.stores(self.app)):
            return messages
        try:
            return messages + self.recover(release, "", after=at)
        except StoreError as e:
            return [*messages, f"the log after that backup could not be used: {e.what} ({e.where})"]

    def _recovered(self, logged: Logged, until: str, draft: Draft) -> Recovered:
        """Recover a store beside the running one, and write its dump."""
        store = logged.store
        state, place = wal.leading_to(self.app, store, until)
        chosen = choose(logged.log, state, place, store, until)
        at, product = logged.log.position(), logged.log.product
        if at.major != state.major:
            raise StoreError(
                f"the base backup is from {product} {state.major}, and the store runs {at.major}",
                where=f"store {store}",
                hint=f"recover it with {product} {state.major}, or choose one of `pushrod db backups`",
            )
        with self._step("recover", f"{store} to {to_the_second(until or state.at)}") as step:
            chosen, damage = intact(state, chosen, until)
            needed = 2 * chosen.base.stat().st_size + len(chosen.log) * state.segment_size
            here, there = files.free_space(place), logged.log.free(at)
            if (free := here if there is None else min(here, there)) - needed < SPARE:
                raise StoreError(
                    f"the recovery needs {needed // 10**6} MB, and {free // 10**6} MB are free",
                    where=str(place),
                    hint="free some space on that disk; the running database was not touched",
                )
            try:
                recovered = self._dump(logged, chosen, until, draft)
            except logs.TooShort:
                if damage:
                    raise damage from None
                # nothing was committed between that time and the end of the log
                recovered = self._dump(logged, chosen, "", draft)
            step.detail = (
                f"{store} to {to_the_second(until or state.at)}, {sum(recovered.rows.values())} rows"
            )
        return recovered

    @staticmethod
    def _dump(logged: Logged, chosen: Chosen, until: str, draft: Draft) -> Recovered:
        name = f"{logged.store}.dump"
        with logged.recovered(chosen.base, chosen.log, until) as archive, draft.write(name) as sink:
            return Recovered(logged, name, archive.save(sink))

    def _placed(self, one: Recovered, archive: Archive, draft: Draft, until: str, into: str) -> str:
        store, at = one.logged.store, to_the_second(until) if until else "the end of its log"
        with self._step("restore", one.name), draft.read(one.name) as source:
            if into:
                one.logged.add(source, one.rows, into)
                return f"database {into} of {store} is as of {at}; the app's own is unchanged"
            kept = archive.restore(source, one.rows)
        return f"{store} is as of {at}; {kept} keeps the previous data until the next restore"
