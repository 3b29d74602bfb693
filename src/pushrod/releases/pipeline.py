"""The life of a push. `deploy` is the table of contents; the steps are in the modules beside this one.

 prepare   commit → checkout → images → configuration → sealed release    nothing live is touched  (`prepare`)
 promote   plan → stores → release → start → ready → switch → live        `live`: the commit point (`promotion`)
 retire    drain → stop the old instances → prune → record                                         (`retirement`)

Before `live`, a failure, a signal or a crash is undone and the old release continues to serve. After `live`, the
remaining steps are finished, by this process or by the next one that takes the app's lock (`recovery`).
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping

import msgspec

from pushrod.adapters import git
from pushrod.core.attempts import Attempts
from pushrod.core.errors import Interrupted, PushrodError, RepositoryError, StateError, UnknownNameError
from pushrod.core.progress import Progress
from pushrod.core.site import DRAIN_BUDGET
from pushrod.core.values import Maintenance, Release
from pushrod.engines import data_locks, scripts
from pushrod.engines.protocols import Engine
from pushrod.ingress.certificates import Kept
from pushrod.releases import inputs, liveness, queue
from pushrod.releases.context import Context
from pushrod.releases.one_shots import OneShots, one_shots
from pushrod.releases.promotion import Promotion
from pushrod.releases.pruning import Pruning
from pushrod.releases.recovery import Recovery
from pushrod.releases.repairs import Repairs
from pushrod.releases.retirement import Retirement
from pushrod.releases.serving import Serving
from pushrod.releases.steps import FAILURES
from pushrod.state import upgrades
from pushrod.state.apps import App
from pushrod.system import locks, signals


def _next_time(error: BaseException) -> str:
    """The end of the note when no certificate could be obtained for a release that is now live."""
    if isinstance(error, Interrupted):
        return "; the release is live, and the timer will obtain the certificate"
    hint = f" ({error.hint})" if isinstance(error, PushrodError) and error.hint else ""
    return f"{hint}; the timer, or `pushrod cert renew`, tries again"


def _nobody(_app: str) -> bool:
    return False


class Pipeline:
    """Deployments of one app on one engine. Every public verb takes the app's lock and first recovers.

    `may_push` returns whether the caller may also push the app of that name; `by` is the caller, for the journal.
    """

    def __init__(
        self,
        app: App,
        engine: Engine,
        progress: Progress,
        may_push: Callable[[str], bool] = _nobody,
        by: str = "",
    ) -> None:
        self.app = app
        self.by = by
        self.engine = engine
        self.progress = progress
        self.context = Context(app, engine, progress, may_push)
        self.journal = self.context.journal
        self.releases = self.context.releases
        self.serving = Serving(self.context)
        self.pruning = Pruning(self.context)
        programs = OneShots(self.context)
        self.promotion = Promotion(self.context, self.serving, programs)
        self.retirement = Retirement(self.context, self.serving, self.pruning)
        self.recovery = Recovery(self.context, self.serving, programs, self.retirement)
        self._step = self.context.step

    # ---- verbs ----------------------------------------------------------------------------------------------

    def deploy(
        self, commit: str, *, replacing: str | None = None, on_live: Callable[[], None] = lambda: None
    ) -> Release:
        """Make a commit live and return its release. If the commit is live already, return the live release
        unchanged.

        `replacing` is the commit that was live when the push connected. `on_live` is called at the commit point,
        after which nothing can undo the release.
        """
        with self.locked(f"deploying {commit[:7]}"):
            self._check_moved(commit, replacing)
            live = self.context.live()
            if live and (live.commit, live.inputs) == (commit, inputs.digest(self.app)):
                if self.app.settings.down or not liveness.runs(self.context, self.serving, live):
                    self._complete(live)
                    self.promote(live, fresh=False, migrate=False)
                return live
            self._report_last(commit)
            release = self.prepare(commit)
            self.promote(release, on_live=on_live)
            return release

    def _report_last(self, commit: str) -> None:
        """Report how the last release ended, if it was of this commit and may not have been reported."""
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

        The release command does not run, because the commit is the same. Later releases keep the counts.
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
        """Make an older sealed release live again, by default the previous one. Takes seconds and builds nothing."""
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
        if made := self.context.sealing.complete(release):
            self.progress.note(made)

    def certify(self, *, force: bool = False, timeout: float = queue.LOCK_TIMEOUT) -> Kept | None:
        """Obtain or renew the live release's certificate, if it is due or with `force`, and serve it.

        Returns the certificate in use; None for an app that needs none or is down. The edge's older processes have
        then ended, or were given time to: renewals in a loop must not pile them up. Raises HostError and StateError
        if it cannot be obtained, EdgeError if the edge does not serve it; the edge then continues to serve the
        previous one.
        """
        with self.locked("renewing the certificate", timeout=timeout):
            release = self.context.live()
            if release is None or self.app.settings.down or release.tls.source == "off":
                return None
            kept, switched = self.serving.certify(release, force=force)
            with signals.uninterrupted():
                self.serving.drain(switched)
            return kept

    def maintain(self, maintenance: Maintenance | None) -> None:
        """Close the app for maintenance, or reopen it (None). While closed, the edge answers for it; its instances
        keep running.

        Later releases stay closed. When this returns after closing, the requests in progress have finished or were
        given DRAIN_BUDGET to finish. Raises EdgeError, and changes nothing, if the edge refuses.
        """
        with self.locked("closing for maintenance" if maintenance else "opening after maintenance"):
            before = self.app.settings
            self.app.save(msgspec.structs.replace(before, maintenance=maintenance))
            live = None if before.down else self.context.live()
            if live is None:
                return
            try:
                with self._step("edge", "answers for the app" if maintenance else f"→ release {live.number}"):
                    switch = self.engine.ingress.switch(self.app.name, self.serving.site(live))
            except FAILURES:
                with signals.uninterrupted():
                    self.app.save(before)
                raise
            if maintenance:
                with signals.uninterrupted(), self._step("drain", "requests in progress finish"):
                    switch.wait(DRAIN_BUDGET)

    def down(self) -> None:
        """Stop everything of the app: first the edge stops serving it, then its instances and its stores stop. Data
        stays.

        Each step is tried even if others fail. Raises StateError if instances or stores may still run.
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
                self.progress.note(f"not everything succeeded ({tries}); `pushrod doctor --repair` fixes it")
            if stopping.failed:
                raise StateError(
                    f"some of it could not be stopped: {stopping}",
                    where=f"app {self.app.name}",
                    hint="`pushrod status` shows what runs; fix that, then run the command again",
                )

    def repair(self) -> list[str]:
        """Repair the app's state as far as possible, finish or undo interrupted commands, and report the repairs.

        Raises StateError if something is still damaged afterwards.
        """
        with locks.lock(self.app.lock, purpose="repairing", timeout=60):
            repairs = self.recovery.repair()
            with repairs.tries.of("an interrupted upgrade"):
                self._settle(rescue=False)
            live = self.context.readable_live()
            if live and not (
                repairs.tries.failed
                or self.app.settings.down
                or liveness.runs(self.context, self.serving, live)
            ):
                self._start_live(live, repairs)
        with repairs.tries.of("engine"):
            self._rest()
        if repairs.tries.failed:
            raise StateError(
                f"some damage could not be repaired: {repairs.tries}",
                where=f"app {self.app.name}",
                hint="`pushrod rollback`, or another push, makes an intact release live",
            )
        return repairs.done

    def _start_live(self, live: Release, repairs: Repairs) -> None:
        """Start the live release again if it does not run. A failure to start is not damage to the state."""
        try:
            self.promote(live, fresh=False, migrate=False)
            repairs.done.append(f"release {live.number} runs again")
        except (PushrodError, OSError) as e:
            self.progress.note(f"release {live.number} does not run: {e}")

    def prune(self) -> None:
        """Remove what no kept release needs, and releases beyond `keep` and the app's share.

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

        `rescue` is for verbs that must work whatever state an app is in: they repair damage or skip it. Raises
        BusyError if another command holds the lock for `timeout` seconds.
        """
        try:
            with queue.turn(self.app, purpose, timeout, self.progress.note):
                self.recovery.make_ready(rescue=rescue)
                self.recovery.recover(rescue=rescue)
                self._settle(rescue=rescue)
                yield
        finally:
            self._rest()

    def _settle(self, *, rescue: bool) -> None:
        """Finish or undo an upgrade of a store whose command ended halfway."""
        if not upgrades.pending(self.app):
            return
        from pushrod.releases.upgrading import Upgrading

        try:
            Upgrading(self.app, self).settle()
        except (PushrodError, OSError) as e:
            if not rescue:
                raise
            self.progress.note(f"an interrupted upgrade could not be undone: {e}")

    def _rest(self) -> None:
        with contextlib.suppress(StateError):  # commands that need the settings have reported the damage
            if self.app.settings.down:
                self.engine.platform.stop_if_idle()

    @property
    def url(self) -> str:
        """The app's address."""
        return self.context.certificates.url(self.context.live())

    # ---- prepare --------------------------------------------------------------------------------------------

    def prepare(self, commit: str) -> Release:
        """Seal a release of a commit. Touches nothing live, and leaves nothing behind if it fails."""
        number = self.journal.story().last + 1
        live = self.context.live()
        self.releases.all()  # StateError if a kept release is damaged
        commit = git.resolve(self.app.repository, commit)
        try:
            self.journal.append("prepare", number, commit=commit, by=self.by)
            with self._step("prepare", f"release {number} from {commit[:7]}", number) as step:
                release = self.context.sealing.seal(number, commit, known_notes=live.notes if live else ())
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
        """Make a sealed release live, then retire the previous one. `fresh` is false for a release that was live
        before.
        """
        previous = self.journal.story().live
        programs = one_shots(release) if migrate else []
        try:
            self.journal.append(
                "promote",
                release.number,
                previous=previous,
                fresh=fresh,
                commit=release.commit,
                by=self.by,
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
                data_locks.explain(e, release.services)
                self.engine.platform.explain(self.app, e)
            with signals.uninterrupted(), self.context.left_for_later():
                self.recovery.undo(release.number, previous, fresh=fresh, why=str(e))
            raise
        with signals.uninterrupted():
            self.retirement.finish(release, previous, switch, fresh=fresh)
        if self.context.certificates.due(release):
            try:
                self.serving.certify(release)
            except (PushrodError, OSError, Interrupted) as e:  # the release is live, and stays live
                self.progress.note(f"no new certificate: {e}{_next_time(e)}")

    # ---- helpers --------------------------------------------------------------------------------------------

    def _check_moved(self, commit: str, replacing: str | None) -> None:
        """Refuse a commit that does not build on the release that went live while its push waited."""
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

    def _previous(self, live: int) -> int:
        older = [n for n in self.releases.numbers() if n < live and self.context.readable(n)]
        if not older:
            raise UnknownNameError(
                f"{self.app.name} has no release before {live or 'the first'}",
                hint="`pushrod releases` shows what is kept",
            )
        return older[-1]
