"""The life of a push. `deploy` is the table of contents; each step below it is one method.

    prepare   commit → checkout → images → configuration → sealed release    nothing live is touched
    promote   plan → stores → release → start → ready → switch → live        `live` is the one commit point
    retire    drain → stop the old instances → record → prune

Before `live` a failure, a signal or a crash is undone and the old release goes on serving; after it, everything
left to do is finished, by this process or by the next one that takes the app's lock (`recover`).
"""

import contextlib
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import msgspec

from pushrod.adapters import git
from pushrod.adapters.nginx import DRAIN_BUDGET, Site, Switch
from pushrod.core import plan
from pushrod.core.attempts import Attempts
from pushrod.core.errors import (
    BusyError,
    EdgeError,
    Interrupted,
    PushrodError,
    ReleaseCommandError,
    RepositoryError,
    StateError,
    UnknownNameError,
)
from pushrod.core.progress import Progress
from pushrod.core.values import Maintenance, Release, Service
from pushrod.engines import scripts
from pushrod.engines.protocols import Engine
from pushrod.ingress import certificates, claims
from pushrod.ingress.certificates import Certificates, Kept
from pushrod.releases.blockers import told
from pushrod.releases.prepare import Sealing
from pushrod.releases.repairs import Repairs
from pushrod.releases.steps import FAILURES, Steps
from pushrod.state.apps import App, now
from pushrod.state.journal import Entry, Journal, Story
from pushrod.state.releases import Releases, restoring
from pushrod.state.secrets import Secrets
from pushrod.system import accounts, locks, signals

LOCK_TIMEOUT = 1800.0  # seconds a push waits for the one before it

MOST_WAITING = 4
"""Commands that may wait for one app at the same time: each holds memory and processes, which are everybody's."""

HISTORY = 50
"""Releases that the journal remembers and changes that the state repository does: so many, up to twice as many."""

DRAIN = DRAIN_BUDGET - 10.0
"""Seconds that requests have to finish before their instances get SIGTERM.

By the stop_grace_period that Compose gives by default, this is shorter than what nginx gives its old workers: a
WebSocket ends by neither itself nor nginx with a Close frame, only the app can, and while its worker still lives.
"""


class _OneShot(NamedTuple):
    """What runs once before a release's instances: a job (no argv: its image's own), or a release command."""

    service: Service
    argv: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return "release command" if self.argv else "job"

    @property
    def shown(self) -> str:
        """What it runs, as it is told in a plan: a job by its name."""
        return shlex.join(self.argv) or self.service.name

    @property
    def told(self) -> str:
        """What it runs, and for which service."""
        return f"{self.service.name}: {self.shown}" if self.argv else self.shown


def _next_time(error: Exception) -> str:
    """What is said of a certificate that could not be had when the release went live."""
    if isinstance(error, Interrupted):
        return "; the release is live, and the timer sees to the certificate"
    hint = f" ({error.hint})" if isinstance(error, PushrodError) and error.hint else ""
    return f"{hint}; the timer, or `pushrod cert renew`, tries again"


def _addresses(release: Release, service: str) -> tuple[str, ...]:
    """Where the edge finds a service's instances."""
    return tuple(f"{i.address}:{i.port}" for i in release.instances_of(service))


def _stops_first(release: Release) -> frozenset[str]:
    """The services whose old instances must end before the new ones start."""
    return frozenset(s.name for s in release.services if s.stop_first)


def _one_shots(release: Release) -> list[_OneShot]:
    """The jobs, in the manifest's order, then the release commands."""
    jobs = [_OneShot(s) for s in release.services if s.role == "job"]
    return jobs + [_OneShot(s, s.release) for s in release.services if s.role != "job" and s.release]


def _nobody(_app: str) -> bool:
    return False


class Pipeline:
    """Deployments of one app on one engine. Every public verb takes the app's lock and first recovers.

    `may_push` tells of another app whether whoever asks may push it, too.
    """

    def __init__(
        self, app: App, engine: Engine, progress: Progress, may_push: Callable[[str], bool] = _nobody
    ) -> None:
        self.app = app
        self.engine = engine
        self.progress = progress
        self.journal = Journal(app.journal)
        self.releases = Releases(app)
        self.secrets = Secrets(app)
        self.certificates = Certificates(app)
        self.sealing = Sealing(app, engine, progress, may_push)
        self._may_push = may_push
        self._step = Steps(progress, self.journal).step

    # ---- what a user asks for -------------------------------------------------------------------------------

    def deploy(
        self, commit: str, *, replacing: str | None = None, on_live: Callable[[], None] = lambda: None
    ) -> Release:
        """Make a commit live and return its release; the live one if it already is that commit, unchanged.

        `replacing` is the commit a push was told is live when it connected. `on_live` is called at the commit point,
        when nothing can undo the release any more.
        """
        with self.locked(f"deploying {commit[:7]}"):
            self._check_moved(commit, replacing)
            live = self._live_release()
            if live and (live.commit, live.inputs) == (commit, self.sealing.inputs()):
                if self.app.settings.down or not self._runs(live):
                    self.promote(live, fresh=False, migrate=False)
                return live
            self._tell_of_last(commit)
            release = self.prepare(commit)
            self.promote(release, on_live=on_live)
            return release

    def _tell_of_last(self, commit: str) -> None:
        """Say what became of the last release, if it was of this commit and nobody may have been told."""
        entries = self.journal.entries()
        number = max((e.release for e in entries), default=0)
        mine = [e for e in entries if e.release == number]
        why = next((e.why for e in reversed(mine) if e.event == "failed"), "")
        if why.startswith("interrupted") and any(e.commit == commit for e in mine):
            self.progress.note(
                f"release {number} of this commit was {why} before it was live, and was undone"
            )

    def renew(self, replicas: Mapping[str, int] | None = None) -> Release:
        """Replace the live release by a new one of the same commit, with other replica counts if given.

        The release command does not run: the commit is the same. The counts are kept for later releases.
        """
        with self.locked("scaling" if replicas else "restarting"):
            live = self._live_release()
            if live is None:
                raise UnknownNameError(
                    f"{self.app.name} has no live release",
                    hint="`pushrod up` or `git push pushrod HEAD:main`",
                )
            before = self.app.settings.replicas
            self._set_replicas({**before, **self._checked(replicas or {}, live)})
            try:
                release = self.prepare(live.commit)
                self.promote(release, migrate=False)
            except FAILURES:
                with signals.uninterrupted():
                    self._set_replicas(before)
                raise
            return release

    def rollback(self, number: int = 0, *, across_migrations: bool = False) -> Release:
        """Make an older sealed release live again, by default the one before; seconds, and no build."""
        with self.locked("rolling back", rescue=True):
            story = self.journal.story()
            release = self.releases.read(number or self._previous(story.live))
            if release.number == story.live:
                raise UnknownNameError(
                    f"release {release.number} is live already", hint="`pushrod releases` shows the others"
                )
            crossed = [n for n in story.migrated if release.number < n <= story.live]
            if crossed and not across_migrations:
                raise UnknownNameError(
                    f"release {crossed[0]} changed the database's schema after release {release.number}",
                    hint="make sure the older code can work with the newer schema, then add --across-migrations",
                )
            self.sealing.complete(release)
            self.promote(release, fresh=False, migrate=False)
            return release

    def certify(self, *, force: bool = False, timeout: float = LOCK_TIMEOUT) -> Kept | None:
        """See to the live release's certificate: get it, renew it where it is time or with `force`, put it in place.

        Returns what is in place then; None for an app that wants none, or does not run. Raises HostError and
        StateError where none can be had, EdgeError where the edge does not serve it; what was served still is then.
        """
        with self.locked("seeing to the certificate", timeout=timeout):
            release = self._live_release()
            if release is None or self.app.settings.down or release.tls.source == "off":
                return None
            return self._certify(release, force=force)

    def maintain(self, wanted: Maintenance | None) -> None:
        """Close the app for maintenance, or open it again (None): the edge answers in its place, its instances go on.

        It holds for later releases, too. Once it has closed, the requests that were under way have ended: by
        themselves, or after DRAIN_BUDGET. Raises EdgeError, and leaves everything as it was, where the edge refuses.
        """
        with self.locked("closing for maintenance" if wanted else "opening after maintenance"):
            before = self.app.settings
            self.app.save(msgspec.structs.replace(before, maintenance=wanted))
            live = None if before.down else self._live_release()
            if live is None:
                return
            try:
                with self._step("edge", "answers in its place" if wanted else f"→ release {live.number}"):
                    switch = self.engine.edge.switch({self.app.name: self._site(live)})
            except FAILURES:
                with signals.uninterrupted():
                    self.app.save(before)
                raise
            if wanted:
                with signals.uninterrupted(), self._step("drain", "requests that were under way finish"):
                    self.engine.edge.drained(switch)

    def down(self) -> None:
        """Stop everything of the app, the edge first, then its instances, then its stores; data stays.

        Each is tried whatever has become of the others. Raises StateError where instances or stores may still run.
        """
        with self.locked("stopping", rescue=True):
            tries, stopping = Attempts(), Attempts()
            with tries.of("settings"):
                self.app.save(msgspec.structs.replace(self.app.settings, down=True))
            with tries.of("boot"):
                self.engine.at_boot(self.app, wanted=False)
            with tries.of("edge"), self._step("edge", "no longer answers for the app"):
                self.engine.edge.drained(self._switch(None), DRAIN)
            with stopping.of("stop"), self._step("stop", "instances, then stores; the data stays"):
                for number in self.engine.running(self.app):
                    self._note(self.engine.stop(self.app, number))
                self._note(self.engine.stop_stores(self.app))
            if tries.failed:
                self.progress.note(f"not all could be done ({tries}); `pushrod doctor --repair` mends it")
            if stopping.failed:
                raise StateError(
                    f"not all of it could be stopped: {stopping}",
                    where=f"app {self.app.name}",
                    hint="`pushrod status` shows what runs; mend that, then run the command again",
                )

    def repair(self) -> list[str]:
        """Mend the app's state as far as it can be, finish or undo what was cut off, and say what was done.

        Raises StateError where something is still damaged after that.
        """
        with locks.lock(self.app.lock, purpose="repairing", timeout=60):
            repairs = Repairs(self.app, self.engine)
            repairs.all()
            with repairs.tries.of("engine"):
                self.engine.open()
            with repairs.tries.of("what was cut off"):
                self.recover(rescue=True)
            live, left = self._known_live(), self.journal.story().left
            if live:
                repairs.branch(live.commit)
                with repairs.tries.of("what follows"):
                    self._settle(live, repairs)
            if left and not repairs.tries.failed:
                self.journal.append("done", self.journal.story().live)
                repairs.done.append(f"what was left is done ({left})")
        with repairs.tries.of("engine"):
            self._rest()
        if repairs.tries.failed:
            raise StateError(
                f"not all could be mended: {repairs.tries}",
                where=f"app {self.app.name}",
                hint="`pushrod rollback`, or another push, makes a whole release live",
            )
        return repairs.done

    def _settle(self, live: Release, repairs: Repairs) -> None:
        """All that follows a release's going live, once more."""
        self.releases.point(live.number)
        if not self.app.settings.down:
            self.engine.at_boot(self.app, wanted=True)
            if live.number in self.engine.running(self.app):
                if self.engine.edge.sites().get(self.app.name) != self._site(live):
                    self._switch(live)
                    repairs.done.append(f"the edge leads to release {live.number} again")
                for number in self.engine.running(self.app):
                    if number != live.number:
                        self._note(self.engine.stop(self.app, number))
        self.releases.record(f"{self.app.name}: repaired\n\nlive: release {live.number}\nat: {now()}\n")

    def plan(self, commit: str, file: str = "") -> plan.Plan:
        """What deploying a commit would change, and what it takes; with `file` in the place of the app's own compose
        file. Builds and changes nothing."""
        checkout = self.app.checkouts / f"plan-{os.getpid()}"
        try:
            document, wanted = self.sealing.load(commit, checkout, planned=True, file=file)
            images = {
                s.name: self.engine.identify(self.app, commit, s, checkout)
                for s in self.engine.imaged(wanted)
            }
            changes = plan.compare(self._live_release(), wanted.stateless, wanted.stores, images)
            foreseen, needs = self.engine.foresee(self.app, commit, document, wanted, checkout)
            lacking = self.sealing.lacking(document, wanted, checkout, file)
            remarks = self.engine.remarks(self.app, document, wanted, checkout, images)
            notes = (*wanted.notes, *remarks, *self.sealing.unprovided(checkout, file))
            return plan.Plan(wanted.because, self.app.name, commit, changes + foreseen, needs, notes, lacking)
        finally:
            git.remove_checkout(checkout)

    def prune(self) -> None:
        """Remove what no kept release needs, and releases beyond what the live one and the app's share let stay.

        Raises BusyError at once if another command works on the app.
        """
        with locks.lock(self.app.lock, purpose="pruning", timeout=0):
            story = self.journal.story()
            live = self._known(story.live) if story.live and story.open is None else None
            if live:
                self._prune(live)
            else:
                self._tell_of_damaged(self.releases.whole()[1])
                self.engine.prune(self.app)
            git.tidy(self.app.repository)

    @contextlib.contextmanager
    def locked(self, purpose: str, *, timeout: float = LOCK_TIMEOUT, rescue: bool = False) -> Iterator[None]:
        """Hold the app's lock, open the engine, and finish or undo what an interrupted command left.

        With `rescue`, for what must be possible whatever state an app is in, damage is mended or passed over.
        Raises BusyError if another command holds the lock for `timeout` seconds.
        """

        def waiting(holder: str) -> None:
            self._wait_in(place)
            self.progress.note(f"waiting: another command is {holder}")

        place = contextlib.ExitStack()
        try:
            with place, locks.lock(self.app.lock, purpose=purpose, timeout=timeout, on_wait=waiting):
                place.close()
                if rescue:
                    self._make_readable()
                else:
                    self.engine.open()
                self.recover(rescue=rescue)
                yield
        finally:
            self._rest()

    def _make_readable(self) -> None:
        repairs = Repairs(self.app, self.engine)
        repairs.readable()
        with repairs.tries.of("engine"):
            self.engine.open()
        for mended in repairs.done:
            self.progress.note(mended)
        for failed in repairs.tries.failed:
            self.progress.note(f"cannot be mended: {failed}")

    def _rest(self) -> None:
        with contextlib.suppress(StateError):  # whoever needs the settings has said that they are damaged
            if self.app.settings.down:
                self.engine.rest()

    def _wait_in(self, place: contextlib.ExitStack) -> None:
        """Take one of the few places in the app's queue; BusyError where there is none."""
        for n in range(MOST_WAITING):
            path = self.app.root.runtime / f"waiting-{self.app.name}-{n}"
            with contextlib.suppress(BusyError):
                place.enter_context(locks.lock(path, purpose="waiting", timeout=0))
                return
        raise BusyError(
            f"{MOST_WAITING} other commands wait for {self.app.name} already",
            where=f"app {self.app.name}",
            hint="run it again once they have had their turn",
        )

    @property
    def url(self) -> str:
        """Where the app answers."""
        return self.certificates.url(self._live_release())

    # ---- prepare --------------------------------------------------------------------------------------------

    def prepare(self, commit: str) -> Release:
        """Seal a release of a commit. Nothing live is touched, and a failure leaves nothing behind."""
        number = self.journal.story().last + 1
        live = self._live_release()
        self.releases.all()  # StateError where one of those that are kept is damaged
        commit = git.resolve(self.app.repository, commit)
        try:
            self.journal.append("prepare", number, commit=commit)
            with self._step("prepare", f"release {number} from {commit[:7]}", number) as step:
                release = self.sealing.seal(number, commit, said=live.notes if live else ())
                step.detail = f"release {number} from {commit[:7]} “{release.subject}”"
            return release
        except FAILURES as e:
            with signals.uninterrupted(), self._left_for_later():
                self._discard(number)
                self.journal.append("failed", number, step="prepare", why=str(e))
                self.engine.prune(self.app)
            raise

    # ---- promote --------------------------------------------------------------------------------------------

    def promote(
        self,
        release: Release,
        *,
        fresh: bool = True,
        migrate: bool = True,
        on_live: Callable[[], None] = lambda: None,
    ) -> None:
        """Make a sealed release live, then retire the one before. `fresh` is false for one that was live before."""
        previous = self.journal.story().live
        programs = _one_shots(release) if migrate else []
        try:
            self.journal.append(
                "promote", release.number, previous=previous, fresh=fresh, commit=release.commit
            )
            self._plan(release, programs)
            self._stores(release)
            self._run_once(release, programs)
            self._start(release, previous)
            self._ready(release)
            switch = self._serve(release)
            with signals.uninterrupted():
                self.journal.append("live", release.number, commit=release.commit)
                on_live()
        except FAILURES as e:
            if isinstance(e, PushrodError):
                scripts.explain(e, release.services, self.app.checkout(release.number))
                self.engine.explain(self.app, e)
            with signals.uninterrupted(), self._left_for_later():
                self._undo(release.number, previous, fresh=fresh, why=str(e))
            raise
        with signals.uninterrupted():
            self._finish(release, previous, switch, fresh=fresh)
        if self.certificates.due(release):
            try:
                self._certify(release)
            except (PushrodError, OSError) as e:  # the release is live, and stays
                self.progress.note(f"no new certificate: {e}{_next_time(e)}")

    def _certify(self, release: Release, *, force: bool = False) -> Kept:
        names = ", ".join(certificates.names_for(release))
        with self._step("tls", names) as step:
            kept = self.certificates.obtain(release, self.engine.edge, force=force)
            self._show(release, kept)
            self.certificates.put(kept, self.engine.edge)
            step.detail = f"{names}, until {kept.certificate.ends[:10]}"
        return kept

    def _show(self, release: Release, kept: Kept) -> None:
        """Have the edge serve a certificate, and look whether it does; if not, it serves what it did before."""
        edge = self.engine.edge
        before, site = edge.sites().get(self.app.name), self._site(release, kept)
        edge.switch({self.app.name: site})
        if site.tls is None or (shown := edge.serves(site)) == kept.certificate.fingerprint:
            return
        edge.switch({self.app.name: before})
        error = EdgeError(
            f"the edge shows {'another' if shown else 'no'} certificate after the switch",
            where=f"port {site.tls.port}, {', '.join(site.tls.names)}",
            hint=f"see which: openssl s_client -connect 127.0.0.1:{site.tls.port}; another server may have the port",
        )
        self.certificates.failed(release, error)
        raise error

    def _plan(self, release: Release, programs: Sequence[_OneShot]) -> None:
        with self._step("plan", "") as step:
            claims.take(self.app, self._names(release), self._may_push)  # both before anything is touched
            self.engine.edge.check({self.app.name: self._site(release)})
            images = {name: image.id for name, image in release.images.items()}
            live = self._known_live()
            changes = plan.compare(live, release.services, release.stores, images)
            step.detail = plan.summary(changes, [p.shown for p in programs])
            if not step.detail:
                same = live is not None and live.commit == release.commit
                step.detail = "nothing changes" if same else "nothing changes but the commit"

    def _stores(self, release: Release) -> None:
        if not release.stores:
            return
        names = ", ".join(s.name for s in release.stores)
        with self._step("stores", names, release.number) as step:
            ddl = not any(s.release for s in release.services)
            with self._redacted():
                step.detail = self.engine.ensure_stores(self.app, release, ddl=ddl)

    def _run_once(self, release: Release, programs: Sequence[_OneShot]) -> None:
        """Run each job and each release command once, from the new images, as the migrating role."""
        for program in programs:
            with self._step("release", program.told, release.number) as step:
                before = self.engine.schema(self.app, release.stores)
                self._run(release, program)
                step.migrated = before != self.engine.schema(self.app, release.stores)

    def _run(self, release: Release, program: _OneShot) -> None:
        lines: list[str] = []
        service = program.service
        environment = self.secrets.sealed(release.number)[f"{service.name}:release"]

        def say(line: str) -> None:
            shown = self.secrets.redact(line)
            lines.append(shown)
            self.progress.line(shown)

        def waits() -> Sequence[str]:
            return [self.secrets.redact(line) for line in self.engine.waits(self.app, release.stores)]

        begun = now()
        try:
            with told(waits, self.progress.note):
                status = self.engine.run(self.app, release, service, program.argv, environment, say)
        finally:
            self._end_migrations(release, begun)
        if status != 0:
            raise ReleaseCommandError(
                f"the {program.kind} `{program.shown}` ended with status {status}",
                where=f"service {service.name}",
                hint="what was live still is; mend the command, commit and push again",
                log=tuple(lines[-50:]),
            )

    def _end_migrations(self, release: Release | None, since: str) -> None:
        """A database goes on with the statement of a client that is gone, and has all others wait for its locks."""
        if release and release.stores and _one_shots(release):
            with signals.uninterrupted(), contextlib.suppress(PushrodError, OSError):
                self.engine.end_migrations(self.app, release.stores, since)

    def _start(self, release: Release, previous: int) -> None:
        with self._step("start", plan.count(release.instances), release.number):
            before = self._known(previous) if previous != release.number else None
            if before and (first := _stops_first(release)):
                names = [i.name for i in before.instances if i.service in first]
                self._note(self.engine.stop_instances(self.app, before, names))
            with self._redacted():
                self.engine.start(self.app, release, self.secrets.sealed(release.number))

    @contextlib.contextmanager
    def _redacted(self) -> Iterator[None]:
        """What an app has printed is shown without its secrets."""
        try:
            yield
        except PushrodError as e:
            e.what, e.log = self.secrets.redact(e.what), tuple(self.secrets.redact(line) for line in e.log)
            e.args = (e.what,)
            raise

    def _ready(self, release: Release) -> None:
        with self._step("ready", plan.count(release.instances), release.number) as step:
            with self._redacted():
                notes = self.engine.ready(self.app, release)
            step.detail = f"{len(release.instances)} of {len(release.instances)} healthy"
        self._note(notes)

    def _note(self, notes: Sequence[str]) -> None:
        """Say what an engine has to say."""
        for note in notes:
            self.progress.note(self.secrets.redact(note))

    def _serve(self, release: Release) -> Switch:
        with self._step("switch", f"edge → release {release.number}", release.number) as step:
            switch = self._switch(release)
            step.detail = f"edge → release {release.number}, confirmed by its new workers"
        return switch

    def _switch(self, release: Release | None) -> Switch:
        kept = [*self.releases.numbers(), *([release.number] if release else [])]
        self.sealing.static.pool(kept)
        return self.engine.edge.switch({self.app.name: self._site(release) if release else None})

    def _names(self, release: Release) -> tuple[str, ...]:
        return claims.wanted(release.domains, self.app.settings.port)

    def _site(self, release: Release, kept: Kept | None = None) -> Site:
        return Site(
            app=self.app.name,
            release=release.number,
            port=self.app.settings.port,
            backends=_addresses(release, release.entry),
            domains=release.domains,
            tls=self.certificates.tls(release, kept),
            challenges=release.tls.source == "acme",
            entry=release.entry,
            others={s: _addresses(release, s) for s in release.routing.services if s != release.entry},
            routing=release.routing,
            passwords=release.passwords,
            maintenance=self.app.settings.maintenance,
            present=self.engine.present(self.app, release.number),
        )

    # ---- what follows ---------------------------------------------------------------------------------------

    def _finish(self, release: Release, previous: int, switch: Switch | None, *, fresh: bool) -> None:
        """All that follows the commit point. The release is live whatever becomes of it: what fails is said once."""
        tries = Attempts()
        with tries.of("live"):
            self._follow(release, tries)
        with tries.of("drain"):
            self._stop_others(release, switch)
        with tries.of("prune"):  # first, so that what it removes is part of the record
            self._prune(release)
        with tries.of("record"), self._step("record", "") as step:
            step.detail = self._record(release, previous, fresh=fresh)
        if tries.failed:
            self.progress.note(
                f"release {release.number} is live, but not all that follows could be done ({tries}); "
                "`pushrod doctor --repair` tries again"
            )
        with contextlib.suppress(OSError):  # it stays open, and the next command goes on with it
            self.journal.append("done", release.number, left=str(tries))

    def _follow(self, release: Release, tries: Attempts) -> None:
        """The journal has said that a release is live: the pointer, the branch and the settings follow."""
        with self._step("live", f"release {release.number} at {self.certificates.url(release)}"):
            with tries.of("the live pointer"):
                self.releases.point(release.number)
            with tries.of("names"):
                claims.settle(self.app, self._names(release))
            with tries.of("boot"):
                self.engine.at_boot(self.app, wanted=True)
            with tries.of("the branch"):
                git.move_branch(self.app.repository, release.commit)
            with tries.of("settings"):
                if self.app.settings.down:
                    self.app.save(msgspec.structs.replace(self.app.settings, down=False))
        if self.app.settings.maintenance:
            self.progress.note("it is closed for maintenance: `pushrod maintenance off` opens it")

    # ---- retire ---------------------------------------------------------------------------------------------

    def _stop_others(self, release: Release, switch: Switch | None) -> None:
        """Stop what served before, once its requests have ended; nothing where the edge may still lead to it."""
        others = [n for n in self.engine.running(self.app) if n != release.number]
        if others and switch:
            names = ", ".join(f"release {n}" for n in others)
            with self._step("drain", f"{names} finishes its requests", release.number):
                with self._workers_stopping(others):
                    self.engine.edge.drained(switch, DRAIN)
                for number in others:
                    self._note(self.engine.stop(self.app, number))

    @contextlib.contextmanager
    def _workers_stopping(self, others: Sequence[int]) -> Iterator[None]:
        """While the requests of other releases finish, end those of their instances that get none: a scheduler, or a
        queue's worker, must not run beside the new one for as long as somebody's download takes.

        Each has its own grace, so it must not hold up those that answer requests.
        """
        older = [before for before in map(self._known, others) if before]
        with ThreadPoolExecutor(max_workers=1) as pool:
            with signals.signals_held():
                stopping = [pool.submit(self._stop_workers, before) for before in older]
            yield
            for stopped in stopping:
                self._note(stopped.result())

    def _stop_workers(self, release: Release) -> Sequence[str]:
        return self.engine.stop_instances(self.app, release, self.engine.workers(self.app, release))

    def _record(self, release: Release, previous: int, *, fresh: bool) -> str:
        """Who, what, when and how long, as a commit of the state; a new release also as a tag on its commit."""
        steps = [e for e in self.journal.entries() if e.release == release.number and e.event == "step"]
        message = (
            f"{self.app.name}: release {release.number} is live\n\n"
            f"commit: {release.commit}\nsubject: {release.subject}\nbefore: {previous or 'nothing'}\n"
            f"by: {accounts.user_name()}\nat: {now()}\n"
            f"took: {', '.join(f'{e.step} {e.took:g} s' for e in steps)}\n"
        )
        self.releases.record(message)
        if not fresh:
            return "in the state repository"
        git.tag(self.app.repository, f"release/{release.number}", release.commit, message)
        return f"tag release/{release.number}"

    def _prune(self, release: Release) -> None:
        numbers = self.releases.numbers()
        older, drop = [n for n in numbers if n != release.number], max(0, len(numbers) - release.keep)
        whole, damaged = self.releases.whole()
        kept = [r for r in whole if r.number in older[drop:]]
        if excess := self.engine.excess(self.app, kept, release):
            left = len(kept) - excess + 1
            self.progress.note(
                f"{left} releases are kept instead of {len(kept) + 1}: more is not the app's share"
            )
        for number in (*older[:drop], *(r.number for r in kept[:excess])):
            self.sealing.discard(number)
        self._tell_of_damaged([n for n in damaged if n in older[drop:]])
        self.engine.prune(self.app)
        self._forget()

    def _forget(self) -> None:
        """Let records of long ago go, so that the thousandth deployment finds no more of them than the hundredth."""
        story, entries = self.journal.story(), self.journal.entries()
        first = min([story.last - HISTORY, story.live, *self.releases.numbers()])
        if entries and first - entries[0].release >= HISTORY:
            self.journal.shorten(first)
            git.shorten(self.app.state, HISTORY)

    def _tell_of_damaged(self, numbers: Sequence[int]) -> None:
        if numbers:
            self.progress.note(
                f"{self.app.name}: release {', '.join(map(str, numbers))} cannot be read, and stays with all that it "
                "may need; `pushrod doctor --repair` mends it"
            )

    # ---- undo and recovery ----------------------------------------------------------------------------------

    def _undo(self, number: int, previous: int, *, fresh: bool, why: str, last_try: bool = False) -> None:
        """Put everything back as it was before the promotion; frees space before it needs any.

        What the edge may still lead to is left alone. What cannot be undone stays open in the journal, and the next
        command undoes it; with `last_try` that is said, and the promotion is closed.
        """
        tries, stopped = Attempts(), False
        release, opened = self._known(number), self.journal.story().open
        begun = opened.at if opened else now()
        self._end_migrations(release, begun)
        with tries.of("settings"):
            stopped = self.app.settings.down
        with tries.of("edge"):
            self._lead_back(previous if not stopped else 0)
        if (number != previous or stopped) and self._served() not in (number, None):
            with tries.of("stop"):
                self._note(self.engine.stop(self.app, number))
            self._end_migrations(release, begun)  # once more: what has just been stopped may have gone on
            before = self._known(previous)
            if before or not previous:
                with tries.of("stores"):
                    self.engine.restore(self.app, before, number, running=not stopped)
                with tries.of("names"):
                    claims.settle(self.app, self._names(before) if before else ())
            if before and not stopped and release and _stops_first(release):
                with tries.of("start again"):
                    self._start_again(before)
            if stopped:
                with tries.of("stores"):
                    self._note(self.engine.stop_stores(self.app))
            if fresh:
                with tries.of("remove"):
                    self._discard(number)
        if tries.failed:
            self.progress.note(
                f"not everything could be undone ({tries}); "
                + ("`pushrod doctor` says what is wrong" if last_try else "the next command goes on with it")
            )
            if not last_try:
                return
        with self._left_for_later():
            self.journal.append("failed", number, why=why, left=str(tries))
            self.engine.prune(self.app)

    def _lead_back(self, previous: int) -> None:
        """Have the edge lead to the release of before, or nowhere; nothing to do where it never led elsewhere."""
        if previous and self._served() == previous and self._known(previous) is None:
            return
        before = self.releases.read(previous) if previous else None
        self.engine.edge.drained(self._switch(before), DRAIN)

    def _served(self) -> int | None:
        """The release that the edge leads to (0: none); None where that cannot be told."""
        try:
            site = self.engine.edge.sites().get(self.app.name)
        except PushrodError:
            return None
        return site.release if site else 0

    def _start_again(self, release: Release) -> None:
        """What was stopped to make room for a release that did not go live. One that is not well is the watch's."""
        self.engine.start(self.app, release, self.secrets.sealed(release.number))
        try:
            self.engine.ready(self.app, release)
        except PushrodError as e:
            self.progress.note(f"release {release.number} was started again, and is not healthy: {e}")

    def _discard(self, number: int) -> None:
        """Take away all of a release that was never live."""
        self.sealing.discard(number)
        self.engine.discard(self.app, number)

    @contextlib.contextmanager
    def _left_for_later(self) -> Iterator[None]:
        """What cannot be undone now (a full disk) stays open in the journal, and the next command undoes it."""
        try:
            yield
        except (PushrodError, OSError) as e:
            self.progress.note(f"not everything could be undone ({e}); the next command goes on with it")

    def recover(self, *, rescue: bool = False) -> None:
        """Finish or undo what a killed command left open. Needs the lock.

        What cannot be done of it is said once and closed: it stops no command that can do without. StateError if the
        live release itself is missing, but for `rescue`.
        """
        try:
            story = self.journal.story()
        except StateError:
            if not rescue:
                raise
            return  # it has been said that the journal cannot be mended
        if story.open is None:
            self._agree(story, rescue=rescue)
            return
        opened = story.open
        with signals.uninterrupted():
            if story.reached_live:
                self.progress.note(
                    f"release {opened.release} went live before its command was cut off: finishing"
                )
                self._finish_later(opened)
            elif opened.event == "prepare":
                self.progress.note(f"release {opened.release} was cut off while it was prepared: removed")
                tries = Attempts()
                with tries.of("remove"):
                    self._discard(opened.release)
                with self._left_for_later():
                    self.journal.append(
                        "failed", opened.release, step="prepare", why="interrupted", left=str(tries)
                    )
            else:
                self.progress.note(f"release {opened.release} was cut off before it was live: undone")
                self._undo(
                    opened.release, opened.previous, fresh=opened.fresh, why="interrupted", last_try=True
                )

    def _finish_later(self, opened: Entry) -> None:
        """Finish a promotion that reached its commit point in a command that was cut off."""
        release, tries = self._known(opened.release), Attempts()
        if release is None:
            left = f"release {opened.release} cannot be read"
            self.progress.note(
                f"{left}: `pushrod doctor --repair` gets it back, `pushrod rollback` does without"
            )
            with self._left_for_later():
                self.journal.append("done", opened.release, left=left)
            return
        switch = None
        with tries.of("edge"):
            switch = self._switch(release)
        for failed in tries.failed:
            self.progress.note(failed)
        self._finish(release, opened.previous, switch, fresh=opened.fresh)

    def _agree(self, story: Story, *, rescue: bool) -> None:
        """Pointer and branch follow the journal; StateError if the live release itself is missing."""
        if story.live and story.live not in self.releases.numbers() and not rescue:
            path = self.releases.directory / str(story.live)
            raise StateError(
                f"the journal says release {story.live} is live, but it is not in the state repository",
                where=str(self.releases.directory),
                hint=f"`pushrod doctor --repair`, or {restoring(self.app, path)}",
            )
        tries = Attempts()
        with tries.of("the live pointer"):
            if self.releases.pointed() != story.live:
                self.releases.point(story.live)
        live = self._known_live()
        with tries.of("the branch"):
            moved = live is not None and git.branch_commit(self.app.repository) != live.commit
            if live and moved and git.is_commit(self.app.repository, live.commit):
                git.move_branch(self.app.repository, live.commit)
        if tries.failed and not story.left:
            self.progress.note(f"{tries}; `pushrod doctor --repair` mends it")
            with self._left_for_later():
                self.journal.append("done", story.live, left=str(tries))

    # ---- small things ---------------------------------------------------------------------------------------

    def _check_moved(self, commit: str, replacing: str | None) -> None:
        """A push that waited may find that another has gone live: only one that builds on it may follow."""
        current = git.branch_commit(self.app.repository)
        if replacing is None or current in ("", replacing, commit):
            return
        if not git.is_ancestor(self.app.repository, current, commit):
            raise RepositoryError(
                f"{current[:7]} went live while this push waited, and {commit[:7]} is not built on it",
                where=f"app {self.app.name}",
                hint="git fetch pushrod, merge or rebase onto pushrod/main, and push again",
            )

    def _set_replicas(self, replicas: dict[str, int]) -> None:
        if replicas != self.app.settings.replicas:
            self.app.save(msgspec.structs.replace(self.app.settings, replicas=replicas))

    def _checked(self, replicas: Mapping[str, int], live: Release) -> Mapping[str, int]:
        """The counts, if each is for a service of the live release."""
        known = [s.name for s in live.services if s.role != "job"]
        for name in replicas:
            if name not in known:
                raise UnknownNameError(
                    f"no service `{name}` to scale", hint=f"services with instances: {', '.join(known)}"
                )
        return replicas

    def _runs(self, live: Release) -> bool:
        """Whether all of the live release is up: after a power cut its processes have only just been started, and
        the edge may have had to leave it out."""
        states = [s.state for s in self.engine.states(self.app)]
        up = live.number in self.engine.running(self.app) and all(state == "running" for state in states)
        return up and self.engine.edge.sites().get(self.app.name) == self._site(live)

    def _live_release(self) -> Release | None:
        live = self.journal.story().live
        return self.releases.read(live) if live else None

    def _known_live(self) -> Release | None:
        """The live release, if there is one that can be read."""
        return self._known(self.journal.story().live)

    def _known(self, number: int) -> Release | None:
        try:
            return self.releases.read(number) if number else None
        except PushrodError:
            return None

    def _previous(self, live: int) -> int:
        older = [n for n in self.releases.numbers() if n < live and self._known(n)]
        if not older:
            raise UnknownNameError(
                f"{self.app.name} has no release before {live or 'the first'}",
                hint="`pushrod releases` shows what is kept",
            )
        return older[-1]
