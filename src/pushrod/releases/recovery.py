"""Undo a promotion that failed before its commit point; finish or undo one that was interrupted."""

from pushrod.adapters import git
from pushrod.core.attempts import Attempts
from pushrod.core.errors import PushrodError, StateError
from pushrod.core.times import now
from pushrod.core.values import Release
from pushrod.ingress import claims
from pushrod.releases.context import Context
from pushrod.releases.one_shots import OneShots
from pushrod.releases.promotion import stops_first
from pushrod.releases.repairs import Repairs
from pushrod.releases.retirement import Retirement
from pushrod.releases.serving import Serving
from pushrod.state import places
from pushrod.state.journal import Entry, Story
from pushrod.state.releases import restoring
from pushrod.system import signals


class Recovery:
    """Restores one app's state to order. The caller must hold its lock."""

    def __init__(
        self, context: Context, serving: Serving, one_shots: OneShots, retirement: Retirement
    ) -> None:
        self._context = context
        self._app, self._engine, self._progress = context.app, context.engine, context.progress
        self._journal, self._releases = context.journal, context.releases
        self._serving = serving
        self._one_shots = one_shots
        self._retirement = retirement

    # ---- undo -----------------------------------------------------------------------------------------------

    def undo(self, number: int, previous: int, *, fresh: bool, why: str, last_try: bool = False) -> None:
        """Restore everything as it was before the promotion; frees disk space before it needs any.

        Leaves alone whatever the edge may still send requests to. What cannot be undone stays open in the journal,
        and the next command tries again; with `last_try` it is reported and the promotion is closed.
        """
        tries, stopped = Attempts(), False
        release, opened = self._context.readable(number), self._journal.story().open
        begun = opened.at if opened else now()
        self._one_shots.end_sessions(release, begun)
        with tries.of("settings"):
            stopped = self._app.settings.down
        with tries.of("edge"):
            self._serving.lead_back(previous if not stopped else 0)
        if (number != previous or stopped) and self._serving.served() not in (number, None):
            with tries.of("stop"):
                self._context.note(self._engine.runtime.stop(self._app, number))
            # the stopped program may have continued in the database
            self._one_shots.end_sessions(release, begun)
            before = self._context.readable(previous)
            if before or not previous:
                with tries.of("stores"):
                    self._engine.stores.restore(self._app, before, number, running=not stopped)
                with tries.of("names"):
                    claims.settle(self._app, self._serving.names(before) if before else ())
            if before and not stopped and release and stops_first(release):
                with tries.of("start again"):
                    self._start_again(before)
            if stopped:
                with tries.of("stores"):
                    self._context.note(self._engine.stores.stop(self._app))
            if fresh:
                with tries.of("remove"):
                    self._context.discard(number)
        if tries.failed:
            self._progress.note(
                f"not everything could be undone ({tries}); "
                + ("`pushrod doctor` shows what is wrong" if last_try else "the next command tries again")
            )
            if not last_try:
                return
        with self._context.left_for_later():
            self._journal.append("failed", number, why=why, left=str(tries))
            self._engine.resources.remove_unused(self._app)

    def _start_again(self, release: Release) -> None:
        """Start what was stopped to make room for a release that did not go live. The watchdog handles unhealthy
        instances.
        """
        self._engine.runtime.start(self._app, release, self._context.secrets.sealed(release.number))
        try:
            self._engine.runtime.ready(self._app, release)
        except PushrodError as e:
            self._progress.note(f"release {release.number} was started again, and is not healthy: {e}")

    # ---- interrupted commands -------------------------------------------------------------------------------

    def recover(self, *, rescue: bool = False) -> None:
        """Finish or undo what a killed command left open.

        What fails is reported once and closed, so that it blocks no command that can do without. Raises StateError if
        the live release itself is missing, unless `rescue` is set.
        """
        try:
            story = places.story(self._app, self._journal)
        except StateError:
            if not rescue:
                raise
            return  # it was already reported that the journal cannot be repaired
        if story.open is None:
            self._agree(story, rescue=rescue)
            return
        opened = story.open
        with signals.uninterrupted():
            if story.reached_live:
                self._progress.note(
                    f"release {opened.release} went live before its command was interrupted: finishing it"
                )
                self._finish(opened)
            elif opened.event == "prepare":
                self._progress.note(f"release {opened.release} was interrupted during prepare: removed")
                tries = Attempts()
                with tries.of("remove"):
                    self._context.discard(opened.release)
                with self._context.left_for_later():
                    self._journal.append(
                        "failed", opened.release, step="prepare", why="interrupted", left=str(tries)
                    )
            else:
                self._progress.note(f"release {opened.release} was interrupted before it was live: undone")
                self.undo(
                    opened.release, opened.previous, fresh=opened.fresh, why="interrupted", last_try=True
                )

    def _finish(self, opened: Entry) -> None:
        """Finish an interrupted promotion that had reached its commit point."""
        release, tries = self._context.readable(opened.release), Attempts()
        if release is None:
            left = f"release {opened.release} cannot be read"
            self._progress.note(
                f"{left}: `pushrod doctor --repair` restores it, `pushrod rollback` replaces it"
            )
            with self._context.left_for_later():
                self._journal.append("done", opened.release, left=left)
            return
        switch = None
        with tries.of("edge"):
            switch = self._serving.switch(release)
        for failed in tries.failed:
            self._progress.note(failed)
        self._retirement.finish(release, opened.previous, switch, fresh=opened.fresh)

    def _agree(self, story: Story, *, rescue: bool) -> None:
        """Make pointer and branch follow the journal. Raises StateError if the live release itself is missing."""
        if story.live and story.live not in self._releases.numbers() and not rescue:
            path = self._releases.directory / str(story.live)
            raise StateError(
                f"the journal says release {story.live} is live, but it is not in the state repository",
                where=str(self._releases.directory),
                hint=f"`pushrod doctor --repair`, or {restoring(self._app, path)}",
            )
        tries = Attempts()
        with tries.of("the live pointer"):
            if self._releases.pointed() != story.live:
                self._releases.point(story.live)
        live = self._context.readable_live()
        with tries.of("the branch"):
            moved = live is not None and git.branch_commit(self._app.repository) != live.commit
            if live and moved and git.is_commit(self._app.repository, live.commit):
                git.move_branch(self._app.repository, live.commit)
        if tries.failed and not story.left:
            self._progress.note(f"{tries}; `pushrod doctor --repair` fixes it")
            with self._context.left_for_later():
                self._journal.append("done", story.live, left=str(tries))

    # ---- damaged state --------------------------------------------------------------------------------------

    def make_ready(self, *, rescue: bool) -> None:
        """Restore sealed files to their recorded content, open the engine, and report repairs.

        With `rescue`, repair whatever commands must be able to read; report and skip what cannot be repaired.
        """
        repairs = Repairs(self._app, self._engine)
        if rescue:
            repairs.readable()
            with repairs.tries.of("engine"):
                self._engine.platform.open()
        else:
            repairs.sealed()
            self._engine.platform.open()
        for repair in repairs.done:
            self._progress.note(repair)
        for failed in repairs.tries.failed:
            self._progress.note(f"cannot be repaired: {failed}")

    def repair(self) -> Repairs:
        """Repair the app's state as far as possible, and finish or undo interrupted commands."""
        repairs = Repairs(self._app, self._engine)
        repairs.all()
        repairs.repository()
        with repairs.tries.of("engine"):
            self._engine.platform.open()
        with repairs.tries.of("interrupted commands"):
            self.recover(rescue=True)
        live, left = self._context.readable_live(), self._journal.story().left
        if live:
            repairs.branch(live.commit)
            with repairs.tries.of("its files"):
                repairs.done += filter(None, [self._context.sealing.complete(live)])
            with repairs.tries.of("the remaining steps"):
                self._settle(live, repairs)
        if left and not repairs.tries.failed:
            self._journal.append("done", self._journal.story().live)
            repairs.done.append(f"the remaining steps were done ({left})")
        return repairs

    def _settle(self, live: Release, repairs: Repairs) -> None:
        """Repeat everything that follows a release's going live."""
        app, engine = self._app, self._engine
        self._releases.point(live.number)
        if not app.settings.down:
            if engine.runtime.set_autostart(app, enabled=True):
                repairs.done.append("it starts with the machine again")
            if live.number in engine.runtime.running(app):
                if not self._serving.agrees(live):
                    self._serving.switch(live)
                    repairs.done.append(f"the edge serves release {live.number} again")
                for number in engine.runtime.running(app):
                    if number != live.number:
                        self._context.note(engine.runtime.stop(app, number))
        self._releases.record(f"{app.name}: repaired\n\nlive: release {live.number}\nat: {now()}\n")
