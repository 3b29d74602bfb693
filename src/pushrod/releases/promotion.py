"""The steps that make a sealed release live, up to the switch. Each is idempotent, and each failure is undone."""

from collections.abc import Sequence

from pushrod.core import plan
from pushrod.core.values import Release
from pushrod.ingress import claims
from pushrod.ingress.protocol import Drain
from pushrod.releases.context import Context
from pushrod.releases.one_shots import OneShot, OneShots
from pushrod.releases.serving import Serving


def stops_first(release: Release) -> frozenset[str]:
    """The services whose old instances must stop before the new ones start."""
    return frozenset(s.name for s in release.services if s.stop_first)


class Promotion:
    """The steps of a promotion, in their order."""

    def __init__(self, context: Context, serving: Serving, one_shots: OneShots) -> None:
        self._context = context
        self._app, self._engine, self._step = context.app, context.engine, context.step
        self._serving = serving
        self._one_shots = one_shots

    def plan(self, release: Release, programs: Sequence[OneShot]) -> None:
        """Print what changes, and check the names and the edge's tree before anything is touched."""
        with self._step("plan", "") as step:
            claims.take(self._app, self._serving.names(release), self._context.may_push)
            self._engine.ingress.check(self._serving.site(release))
            images = {name: image.id for name, image in release.images.items()}
            live = self._context.readable_live()
            changes = plan.compare(live, release.services, release.stores, images)
            step.detail = plan.summary(changes, [p.shown for p in programs])
            if not step.detail:
                same = live is not None and live.commit == release.commit
                step.detail = "nothing changes" if same else "only the commit changes"

    def stores(self, release: Release) -> None:
        """Start the stores, wait for their health, and ensure the app's roles and databases."""
        if not release.stores:
            return
        names = ", ".join(s.name for s in release.stores)
        with self._step("stores", names, release.number) as step, self._context.redacted():
            step.detail = self._engine.stores.ensure(self._app, release, ddl=release.migrates_itself)

    def run_once(self, release: Release, programs: Sequence[OneShot]) -> None:
        """Run the jobs and the release commands."""
        self._one_shots.run(release, programs)

    def start(self, release: Release, previous: int) -> None:
        """Start the new instances beside the old ones; old instances that may not overlap stop first."""
        with self._step("start", plan.count(release.instances), release.number):
            before = self._context.readable(previous) if previous != release.number else None
            if before and (first := stops_first(release)):
                names = [i.name for i in before.instances if i.service in first]
                self._context.note(self._engine.runtime.stop_instances(self._app, before, names))
            with self._context.redacted():
                self._engine.runtime.start(self._app, release, self._context.secrets.sealed(release.number))

    def ready(self, release: Release) -> None:
        """Wait until each new instance has proved its health."""
        with self._step("ready", plan.count(release.instances), release.number) as step:
            with self._context.redacted():
                notes = self._engine.runtime.ready(self._app, release)
            step.detail = f"{len(release.instances)} of {len(release.instances)} healthy"
        self._context.note(notes)

    def serve(self, release: Release) -> Drain:
        """Switch the edge to the new instances."""
        with self._step("switch", f"edge → release {release.number}", release.number) as step:
            switch = self._serving.switch(release)
            step.detail = f"edge → release {release.number}, confirmed by its new workers"
        return switch
