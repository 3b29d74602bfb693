"""The life of a push. `deploy` is the table of contents; the steps are in the modules beside this one.

    prepare   commit → checkout → images → configuration → sealed release    nothing live is touched  (`prepare`)
    promote   plan → stores → release → start → ready → switch → live        `live`: the commit point (`promotion`)
    retire    drain → stop the old instances → prune → record                                         (`retirement`)

Before `live` a failure, a signal or a crash is undone and the old release goes on serving; after it, everything
left to do is finished, by this process or by the next one that takes the app's lock (`recovery`).
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping

import msgspec

from pushrod.adapters import git
from pushrod.core import plan
from pushrod.core.attempts import Attempts
from pushrod.core.errors import Interrupted, PushrodError, RepositoryError, StateError, UnknownNameError
from pushrod.core.progress import Progress
from pushrod.core.site import DRAIN_BUDGET
from pushrod.core.values import Maintenance, Release
from pushrod.engines import scripts
from pushrod.engines.protocols import Engine
from pushrod.ingress.certificates import Kept
from pushrod.releases import queue
from pushrod.releases.context import Context
from pushrod.releases.one_shots import OneShots, one_shots
from pushrod.releases.promotion import Promotion
from pushrod.releases.pruning import Pruning
from pushrod.releases.recovery import Recovery
from pushrod.releases.repairs import Repairs
from pushrod.releases.retirement import Retirement
from pushrod.releases.serving import Serving
from pushrod.releases.steps import FAILURES
from pushrod.state.apps import App, seconds_since
from pushrod.system import locks, signals

_SETTLING = 60.0
"""Seconds within which what was started again may not be healthy yet."""

_ROUNDING = 5.0  # seconds by which the start of a process and a record's time may differ


def _next_time(error: Exception) -> str:
    """What is said of a certificate that could not be had when the release went live."""
    if isinstance(error, Interrupted):
        return "; the release is live, and the timer sees to the certificate"
    hint = f" ({error.hint})" if isinstance(error, PushrodError) and error.hint else ""
    return f"{hint}; the timer, or `pushrod cert renew`, tries again"


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
        self.context = Context(app, engine, progress, may_push)
        self.journal = self.context.journal
        self.releases = self.context.releases
        self.sealing = self.context.sealing
        self.serving = Serving(self.context)
        self.pruning = Pruning(self.context)
        programs = OneShots(self.context)
        self.promotion = Promotion(self.context, self.serving, programs)
        self.retirement = Retirement(self.context, self.serving, self.pruning)
        self.recovery = Recovery(self.context, self.serving, programs, self.retirement)
        self._step = self.context.step

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
            live = self.context.live()
            if live and (live.commit, live.inputs) == (commit, self.sealing.inputs()):
                if self.app.settings.down or not self._runs(live):
                    self._complete(live)
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
            live = self.context.live()
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
            self._complete(release)
            self.promote(release, fresh=False, migrate=False)
            return release

    def _complete(self, release: Release) -> None:
        if made := self.sealing.complete(release):
            self.progress.note(made)

    def certify(self, *, force: bool = False, timeout: float = queue.LOCK_TIMEOUT) -> Kept | None:
        """See to the live release's certificate: get it, renew it where it is time or with `force`, put it in place.

        Returns what is in place then; None for an app that wants none, or does not run. Raises HostError and
        StateError where none can be had, EdgeError where the edge does not serve it; what was served still is then.
        """
        with self.locked("seeing to the certificate", timeout=timeout):
            release = self.context.live()
            if release is None or self.app.settings.down or release.tls.source == "off":
                return None
            return self.serving.certify(release, force=force)

    def maintain(self, wanted: Maintenance | None) -> None:
        """Close the app for maintenance, or open it again (None): the edge answers in its place, its instances go on.

        It holds for later releases, too. Once it has closed, the requests that were under way have ended: by
        themselves, or after DRAIN_BUDGET. Raises EdgeError, and leaves everything as it was, where the edge refuses.
        """
        with self.locked("closing for maintenance" if wanted else "opening after maintenance"):
            before = self.app.settings
            self.app.save(msgspec.structs.replace(before, maintenance=wanted))
            live = None if before.down else self.context.live()
            if live is None:
                return
            try:
                with self._step("edge", "answers in its place" if wanted else f"→ release {live.number}"):
                    switch = self.engine.ingress.switch(self.app.name, self.serving.site(live))
            except FAILURES:
                with signals.uninterrupted():
                    self.app.save(before)
                raise
            if wanted:
                with signals.uninterrupted(), self._step("drain", "requests that were under way finish"):
                    switch.wait(DRAIN_BUDGET)

    def down(self) -> None:
        """Stop everything of the app, the edge first, then its instances, then its stores; data stays.

        Each is tried whatever has become of the others. Raises StateError where instances or stores may still run.
        """
        with self.locked("stopping", rescue=True):
            tries, stopping = Attempts(), Attempts()
            with tries.of("settings"):
                self.app.save(msgspec.structs.replace(self.app.settings, down=True))
            with tries.of("boot"):
                self.engine.runtime.set_autostart(self.app, enabled=False)
            with tries.of("edge"), self._step("edge", "no longer answers for the app"):
                self.serving.drain(self.serving.switch(None))
            with stopping.of("stop"), self._step("stop", "instances, then stores; the data stays"):
                for number in self.engine.runtime.running(self.app):
                    self.context.note(self.engine.runtime.stop(self.app, number))
                self.context.note(self.engine.stores.stop(self.app))
            if tries.failed:
                self.progress.note(f"not all could be done ({tries}); `pushrod doctor --repair` mends it")
            if stopping.failed:
                raise StateError(
                    f"not all of it could be stopped: {stopping}",
                    where=f"app {self.app.name}",
                    hint="`pushrod status` shows what runs; fix that, then run the command again",
                )

    def repair(self) -> list[str]:
        """Mend the app's state as far as it can be, finish or undo what was cut off, and say what was done.

        Raises StateError where something is still damaged after that.
        """
        with locks.lock(self.app.lock, purpose="repairing", timeout=60):
            repairs = self.recovery.repair()
            live = self.context.readable_live()
            if live and not (repairs.tries.failed or self.app.settings.down or self._runs(live)):
                self._raise(live, repairs)
        with repairs.tries.of("engine"):
            self._rest()
        if repairs.tries.failed:
            raise StateError(
                f"not all could be mended: {repairs.tries}",
                where=f"app {self.app.name}",
                hint="`pushrod rollback`, or another push, makes a whole release live",
            )
        return repairs.done

    def _raise(self, live: Release, repairs: Repairs) -> None:
        """Have the live release run again where it does not. That it cannot is none of the damage."""
        try:
            self.promote(live, fresh=False, migrate=False)
            repairs.done.append(f"release {live.number} runs again")
        except (PushrodError, OSError) as e:
            self.progress.note(f"release {live.number} does not run: {e}")

    def plan(self, commit: str, file: str = "") -> plan.Plan:
        """What deploying a commit would change, and what it takes; with `file` in the place of the app's own compose
        file. Builds and changes nothing."""
        checkout = self.app.checkouts / f"plan-{os.getpid()}"
        try:
            document, wanted = self.sealing.load(commit, checkout, planned=True, file=file)
            images = {
                s.name: self.engine.images.identify(self.app, commit, s, checkout)
                for s in self.engine.images.needed(wanted)
            }
            changes = plan.compare(self.context.live(), wanted.stateless, wanted.stores, images)
            foreseen, needs = self.engine.images.preview(self.app, commit, document, wanted, checkout)
            lacking = self.sealing.lacking(document, wanted, checkout, file)
            remarks = self.engine.images.notes(self.app, document, wanted, checkout, images)
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
            live = self.context.readable(story.live) if story.open is None else None
            if live:
                self.pruning.prune(live)
            else:
                self.pruning.prune_without_live()
            git.tidy(self.app.repository)

    @contextlib.contextmanager
    def locked(
        self, purpose: str, *, timeout: float = queue.LOCK_TIMEOUT, rescue: bool = False
    ) -> Iterator[None]:
        """Hold the app's lock, open the engine, and finish or undo what an interrupted command left.

        With `rescue`, for what must be possible whatever state an app is in, damage is mended or passed over.
        Raises BusyError if another command holds the lock for `timeout` seconds.
        """
        try:
            with queue.turn(self.app, purpose, timeout, self.progress.note):
                self.recovery.make_ready(rescue=rescue)
                self.recovery.recover(rescue=rescue)
                yield
        finally:
            self._rest()

    def _rest(self) -> None:
        with contextlib.suppress(StateError):  # whoever needs the settings has said that they are damaged
            if self.app.settings.down:
                self.engine.platform.stop_if_idle()

    @property
    def url(self) -> str:
        """Where the app answers."""
        return self.context.certificates.url(self.context.live())

    # ---- prepare --------------------------------------------------------------------------------------------

    def prepare(self, commit: str) -> Release:
        """Seal a release of a commit. Nothing live is touched, and a failure leaves nothing behind."""
        number = self.journal.story().last + 1
        live = self.context.live()
        self.releases.all()  # StateError where one of those that are kept is damaged
        commit = git.resolve(self.app.repository, commit)
        try:
            self.journal.append("prepare", number, commit=commit)
            with self._step("prepare", f"release {number} from {commit[:7]}", number) as step:
                release = self.sealing.seal(number, commit, said=live.notes if live else ())
                step.detail = f"release {number} from {commit[:7]} “{release.subject}”"
            return release
        except FAILURES as e:
            with signals.uninterrupted(), self.context.left_for_later():
                self.context.discard(number)
                self.journal.append("failed", number, step="prepare", why=str(e))
                self.engine.resources.remove_unused(self.app)
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
        programs = one_shots(release) if migrate else []
        try:
            self.journal.append(
                "promote", release.number, previous=previous, fresh=fresh, commit=release.commit
            )
            self.promotion.plan(release, programs)
            self.promotion.stores(release)
            self.promotion.run_once(release, programs)
            self.promotion.start(release, previous)
            self.promotion.ready(release)
            switch = self.promotion.serve(release)
            with signals.uninterrupted():
                self.journal.append("live", release.number, commit=release.commit)
                on_live()
        except FAILURES as e:
            if isinstance(e, PushrodError):
                scripts.explain(e, release.services, self.app.checkout(release.number))
                self.engine.platform.explain(self.app, e)
            with signals.uninterrupted(), self.context.left_for_later():
                self.recovery.undo(release.number, previous, fresh=fresh, why=str(e))
            raise
        with signals.uninterrupted():
            self.retirement.finish(release, previous, switch, fresh=fresh)
        if self.context.certificates.due(release):
            try:
                self.serving.certify(release)
            except (PushrodError, OSError) as e:  # the release is live, and stays
                self.progress.note(f"no new certificate: {e}{_next_time(e)}")

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
        states, proved = self.engine.runtime.states(self.app), self._since_live(live) - _ROUNDING
        up = live.number in self.engine.runtime.running(self.app) and all(
            s.state == "running" or (s.state == "starting" and s.since > proved) for s in states
        )
        # What was started again just now has not been seen healthy by anybody; the edge has its mark.
        restarted = any(s.group != "edge" and s.since < min(_SETTLING, proved) for s in states)
        return up and not restarted and self.serving.agrees(live)

    def _since_live(self, live: Release) -> float:
        """How many seconds ago all of the live release had proved its health: Docker may say so only after its own
        first check."""
        went = (e for e in self.journal.entries() if (e.event, e.release) == ("live", live.number))
        return min((seconds_since(e.at) for e in went), default=0.0)

    def _previous(self, live: int) -> int:
        older = [n for n in self.releases.numbers() if n < live and self.context.readable(n)]
        if not older:
            raise UnknownNameError(
                f"{self.app.name} has no release before {live or 'the first'}",
                hint="`pushrod releases` shows what is kept",
            )
        return older[-1]
