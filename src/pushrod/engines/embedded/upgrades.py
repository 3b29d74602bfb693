"""Upgrading a PostgreSQL of the embedded engine to the major version of its programs here."""

import os

from pushrod.adapters.binaries import Parts
from pushrod.core.upgrades import Carried, UpgradePlan
from pushrod.engines.embedded.context import Context
from pushrod.engines.embedded.stores import group_of
from pushrod.state.apps import App
from pushrod.stores.postgres_clusters import PROGRAMS, LocalUpgrade


class Upgrade:
    """One upgrade, as it was planned. Its steps are in the order in which they are called."""

    def __init__(self, context: Context, app: App, plan: UpgradePlan) -> None:
        self._context = context
        self._plan = plan
        self._group = group_of(app, plan.store)
        self._steps = LocalUpgrade(context.stores(app).local(plan.store), plan)

    def rehearse(self) -> Carried:
        """With the running server, or one that is started for it."""
        return self._steps.rehearse(runs=self._group in self._context.supervisor.groups())

    def prepare(self) -> None:
        """In a directory beside the data."""
        self._steps.prepare()

    def copy(self) -> Carried:
        """With the old server started apart from everybody."""
        self._context.supervisor.remove(self._group)
        return self._steps.copy()

    def switch(self) -> None:
        """By two renames."""
        self._steps.switch()

    def back(self) -> None:
        """By the same renames; from now on this process runs the old version's programs."""
        self._context.supervisor.remove(self._group)
        self._steps.back()
        self._context.parts = Parts({**os.environ, PROGRAMS: self._plan.programs})

    def finish(self) -> None:
        """On the running server."""
        self._steps.finish()
