"""Upgrading a store to another major version: rehearsed, done while the edge answers for the app, and undone unless
the app is healthy on the new data.

 prepare   an empty cluster of the new version                      the app runs
 stop      the edge answers instead of the app; instances end       ── downtime begins
 copy      all data is carried, and compared
 start     the app on the new data, healthy                         ══ live: the commit point
 open      the edge lets requests through                           ── downtime ends
 finish    statistics

Before `live`, a failure, a signal or a crash is undone: the app runs on its old data, which nothing has changed.
After it, the rest is completed. A crash is dealt with by the process that
`pushrod db upgrade` leaves waiting for its end, or by the next command.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import msgspec

from pushrod.core.attempts import Attempts
from pushrod.core.errors import PushrodError, StateError
from pushrod.core.progress import Progress
from pushrod.core.times import now
from pushrod.core.upgrades import Carried, UpgradePlan
from pushrod.core.values import Maintenance, Release
from pushrod.engines.protocols import Engine
from pushrod.releases.context import Context
from pushrod.releases.serving import Serving
from pushrod.releases.steps import FAILURES
from pushrod.state import releases, upgrades
from pushrod.state.apps import App
from pushrod.state.upgrades import Marker
from pushrod.stores.registry import products
from pushrod.system import signals

_CLOSED = Maintenance(retry_after=60)


class Pipeline(Protocol):
    """What an upgrade needs of the app's pipeline, which settles interrupted upgrades itself."""

    engine: Engine
    progress: Progress
    context: Context
    serving: Serving

    def locked(self, purpose: str) -> AbstractContextManager[None]: ...

    def promote(
        self, release: Release, *, fresh: bool, migrate: bool, on_live: Callable[[], None] = ...
    ) -> None: ...


class Done(NamedTuple):
    """A finished upgrade, and how long the edge answered for the app, in seconds."""

    plan: UpgradePlan
    carried: Carried
    down: float


class Upgrading:
    """Upgrades of one app's stores."""

    def __init__(self, app: App, pipeline: Pipeline) -> None:
        self.app = app
        self.engine = pipeline.engine
        self.progress = pipeline.progress
        self._pipeline = pipeline
        self._step = pipeline.context.step

    def rehearse(self, store: str, after: str, given: str) -> tuple[UpgradePlan, Carried]:
        """Carry a copy of the data, which is removed again; the app keeps running."""
        with self._pipeline.locked("rehearsing an upgrade"):
            release = releases.running(self.app)
            plan, product = self._planned(release, store, after, given), products(release.stores)[store]
            with self._step("rehearse", f"{store} on {product} {after}, beside the running one") as step:
                carried = self.engine.upgrades.steps(self.app, release, plan).rehearse()
                step.detail = f"{store} on {product} {after}: {carried.rows} rows"
            return plan, carried

    def run(self, store: str, after: str, given: str) -> Done:
        """Upgrade a store. Raises the error of a step that failed, after everything was undone."""
        with self._pipeline.locked("upgrading a store"):
            release = releases.running(self.app)
            plan = self._planned(release, store, after, given)
            upgrade = self.engine.upgrades.steps(self.app, release, plan)
            marker = Marker(plan, release.number, now(), maintenance=self.app.settings.maintenance)
            upgrades.write(self.app, marker)
            try:
                with self._step("prepare", f"an empty {products(release.stores)[store]} {after}"):
                    upgrade.prepare()
                began = time.monotonic()
                self._stop(release)
                with self._step("copy", f"all databases of {store}") as step:
                    carried = upgrade.copy()
                    step.detail = f"{carried.rows} rows, the same as before"
                upgrade.switch()
                proved = msgspec.structs.replace(marker, state="live")
                self._pipeline.promote(
                    release, fresh=False, migrate=False, on_live=lambda: upgrades.write(self.app, proved)
                )
            except FAILURES as e:
                with signals.uninterrupted():
                    self.progress.note(f"the upgrade failed, and is undone: {e}")
                    self._undo(marker)
                raise
            with signals.uninterrupted():
                self._open(marker)
                down = time.monotonic() - began
                self._finish(marker)
            return Done(plan, carried, down)

    def remove_old(self, store: str) -> Iterator[str]:
        """Remove what earlier upgrades have kept; yields what it was."""
        with self._pipeline.locked("removing an old cluster"):
            yield from self.engine.upgrades.remove_old(self.app, store)

    def settle(self) -> None:
        """Undo or finish an upgrade whose command ended halfway. The caller holds the app's lock."""
        marker = upgrades.read(self.app)
        if marker is None:
            return
        with signals.uninterrupted():
            if marker.state == "live":
                self.progress.note(f"the upgrade of {marker.plan.store} was interrupted: finishing it")
                self._open(marker)
                self._finish(marker)
            else:
                self.progress.note(f"the upgrade of {marker.plan.store} was interrupted: undone")
                self._undo(marker)

    # ---- steps ----------------------------------------------------------------------------------------------

    def _planned(self, release: Release, store: str, after: str, given: str) -> UpgradePlan:
        service = next(s for s in release.stores if s.name == store)
        return self.engine.upgrades.plan(
            self.app, release, service, after, given, lambda line: self.progress.note(line)
        )

    def _stop(self, release: Release) -> None:
        """The edge answers for the app, requests in progress end, and so do its instances."""
        with self._step("close", "the edge answers for the app"):
            self._close(_CLOSED)
            self._pipeline.serving.drain(self._pipeline.serving.switch(release))
        with self._step("stop", "its instances"):
            for number in self.engine.runtime.running(self.app):
                self._pipeline.context.note(self.engine.runtime.stop(self.app, number))

    def _close(self, maintenance: Maintenance | None) -> None:
        self.app.save(msgspec.structs.replace(self.app.settings, maintenance=maintenance))

    def _open(self, marker: Marker) -> None:
        self._close(marker.maintenance)
        if not self.app.settings.down and (live := self._pipeline.context.live()):
            with self._step("open", "the edge lets requests through"):
                self._pipeline.serving.switch(live)

    def _finish(self, marker: Marker) -> None:
        """What fails here costs plans of queries, not data."""
        tries, release = Attempts(), self._pipeline.context.live()
        if release and not self.app.settings.down:
            with tries.of("statistics"), self._step("statistics", "rebuilt in stages, while the app runs"):
                self.engine.upgrades.steps(self.app, release, marker.plan).finish()
        upgrades.remove(self.app)
        if tries.failed:
            self.progress.note(f"{tries}")

    def _undo(self, marker: Marker) -> None:
        """The old data first: until the store is on it again, the marker stays."""
        release = self._pipeline.context.live()
        if release is None:
            raise StateError(
                "no release is live", where=f"app {self.app.name}", hint="`pushrod doctor --repair`"
            )
        with self._step("back", f"{marker.plan.store} to its old data"):
            for number in self.engine.runtime.running(self.app):
                self._pipeline.context.note(self.engine.runtime.stop(self.app, number))
            self.engine.upgrades.steps(self.app, release, marker.plan).back()
        self._close(marker.maintenance)
        upgrades.remove(self.app)
        if self.app.settings.down:
            return
        try:
            self._pipeline.promote(release, fresh=False, migrate=False)
        except (PushrodError, OSError) as e:
            self.progress.note(
                f"release {release.number} does not run on its old data: {e}; `pushrod doctor`"
            )
