"""After the commit point: update the pointer and the branch, drain and stop the old release, record the new one.

The release stays live whatever happens here: a failure is reported once, and kept in the journal.
"""

import contextlib
from collections.abc import Iterator, Sequence

import msgspec

from pushrod.adapters import git
from pushrod.core.attempts import Attempts
from pushrod.core.times import now
from pushrod.core.values import Release
from pushrod.ingress import claims
from pushrod.ingress.protocol import Drain
from pushrod.releases.context import Context
from pushrod.releases.pruning import Pruning
from pushrod.releases.serving import Serving
from pushrod.system import accounts, signals


class Retirement:
    """Finishes promotions of one app."""

    def __init__(self, context: Context, serving: Serving, pruning: Pruning) -> None:
        self._context = context
        self._app, self._engine, self._step = context.app, context.engine, context.step
        self._serving = serving
        self._pruning = pruning

    def finish(self, release: Release, previous: int, switch: Drain | None, *, fresh: bool) -> None:
        """Do everything that follows the commit point. `switch` is None if the edge may still send requests to the
        old release.
        """
        tries = Attempts()
        with tries.of("live"):
            self._follow(release, tries)
        with tries.of("drain"):
            self._stop_others(release, switch)
        with tries.of("prune"):  # first, so that the removal is part of the record
            self._pruning.prune(release)
        with tries.of("record"), self._step("record", "") as step:
            step.detail = self._record(release, previous, fresh=fresh)
        if tries.failed:
            self._context.progress.note(
                f"release {release.number} is live, but some of the remaining steps failed ({tries}); "
                "`pushrod doctor --repair` tries again"
            )
        with contextlib.suppress(OSError):  # it stays open, and the next command tries again
            self._context.journal.append("done", release.number, left=str(tries))

    def _follow(self, release: Release, tries: Attempts) -> None:
        """Make the pointer, the branch and the settings follow the journal."""
        app = self._app
        with self._step("live", f"release {release.number} at {self._context.certificates.url(release)}"):
            with tries.of("the live pointer"):
                self._context.releases.point(release.number)
            with tries.of("names"):
                claims.settle(app, self._serving.names(release))
            with tries.of("boot"):
                self._engine.runtime.set_autostart(app, enabled=True)
            with tries.of("the branch"):
                git.move_branch(app.repository, release.commit)
            with tries.of("settings"):
                if app.settings.down:
                    app.save(msgspec.structs.replace(app.settings, down=False))
        if app.settings.maintenance:
            self._context.progress.note("it is closed for maintenance: `pushrod maintenance off` opens it")

    def _stop_others(self, release: Release, switch: Drain | None) -> None:
        """Stop older releases once their requests have ended. Stops nothing if the edge may still send requests to
        them.
        """
        others = [n for n in self._engine.runtime.running(self._app) if n != release.number]
        if others and switch:
            names = ", ".join(f"release {n}" for n in others)
            with self._step("drain", f"{names} finishes its requests", release.number):
                with self._workers_stopping(others):
                    self._serving.drain(switch)
                for number in others:
                    self._context.note(self._engine.runtime.stop(self._app, number))

    @contextlib.contextmanager
    def _workers_stopping(self, others: Sequence[int]) -> Iterator[None]:
        """While the old releases' requests finish, stop their instances that receive none: a scheduler, or a queue's
        worker, must not run beside the new one for the length of somebody's download.

        Each has its own grace period, so it must not delay instances that answer requests.
        """
        from concurrent.futures import ThreadPoolExecutor

        older = [before for before in map(self._context.readable, others) if before]
        with ThreadPoolExecutor(max_workers=1) as pool:
            with signals.signals_held():
                stopping = [pool.submit(self._stop_workers, before) for before in older]
            yield
            for stopped in stopping:
                self._context.note(stopped.result())

    def _stop_workers(self, release: Release) -> Sequence[str]:
        return self._engine.runtime.stop_instances(
            self._app, release, self._engine.runtime.workers(self._app, release)
        )

    def _record(self, release: Release, previous: int, *, fresh: bool) -> str:
        """Commit who, what, when and how long to the state repository, and tag the commit of a new release."""
        entries = self._context.journal.entries()
        steps = [e for e in entries if e.release == release.number and e.event == "step"]
        message = (
            f"{self._app.name}: release {release.number} is live\n\n"
            f"commit: {release.commit}\nsubject: {release.subject}\nbefore: {previous or 'nothing'}\n"
            f"by: {accounts.user_name()}\nat: {now()}\n"
            f"took: {', '.join(f'{e.step} {e.took:g} s' for e in steps)}\n"
        )
        self._context.releases.record(message)
        if not fresh:
            return "in the state repository"
        git.tag(self._app.repository, f"release/{release.number}", release.commit, message)
        return f"tag release/{release.number}"
