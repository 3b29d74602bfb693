"""New passwords for the roles of an app's databases, without a failed request.

A role has one password, and the instances of two releases run at the same time. So new releases log in by another
role with another password, which has the rights of the first; when the old instances have ended, the first role loses
its password. The next rotation goes the other way round. Every step can be repeated: a rotation that was interrupted
goes on with the next call, and until then both passwords work.
"""

from collections.abc import Mapping

from pushrod.core.errors import StoreError
from pushrod.core.progress import Progress
from pushrod.core.values import Release
from pushrod.engines.protocols import Engine
from pushrod.releases.pipeline import Pipeline
from pushrod.releases.steps import Steps
from pushrod.state import releases
from pushrod.state.apps import App
from pushrod.state.journal import Journal
from pushrod.state.releases import Releases
from pushrod.state.secrets import Secrets
from pushrod.stores.kinds import Server


class Rotation:
    """The rotation of an app's passwords."""

    def __init__(self, app: App, engine: Engine, pipeline: Pipeline, progress: Progress) -> None:
        self._app, self._engine, self._pipeline = app, engine, pipeline
        self._secrets = Secrets(app)
        self._step = Steps(progress, Journal(app.journal)).step

    def run(self) -> list[str]:
        """Rotate them; returns the stores. Raises StoreError if the app has no such store, or is down; any error of a
        deployment leaves both passwords valid.
        """
        with self._pipeline.locked("rotating passwords"):
            live = releases.running(self._app)
            stores = [n for n, s in self._engine.stores.servers(self._app, live.stores).items() if s.rotates]
            if not stores:
                raise StoreError(
                    "the app has no store whose passwords can be rotated: only PostgreSQL's can",
                    where=f"app {self._app.name}",
                )
            with self._step("rotate", f"new passwords for {', '.join(stores)}"):
                for store in stores:
                    self._secrets.begin_rotation(store)
                self._ensure(live)
                # no instance logs in as the migrating role, so it has one password at a time
                for store in stores:
                    self._replace(self._secrets.rotated(store))
        if not self._has_new(live, stores):
            self._pipeline.renew()
        with self._pipeline.locked("ending a rotation of passwords"):
            live = releases.running(self._app)
            if not self._has_new(live, stores):
                raise StoreError(
                    f"release {live.number}, which is live, has the old passwords",
                    where=f"app {self._app.name}",
                    hint="both work; run this again",
                )
            with self._step("rotate", "the old passwords are no longer valid"):
                servers = self._engine.stores.servers(self._app, live.stores)
                for store in stores:
                    self._replace_sealed(store, servers[store])
                    self._secrets.end_rotation(store)
                self._ensure(live)
        return stores

    def _ensure(self, release: Release) -> None:
        self._engine.stores.ensure(self._app, release, ddl=release.migrates_itself)

    def _has_new(self, release: Release, stores: list[str]) -> bool:
        """Whether the release has the new passwords, and no old one."""
        values = "\n".join(v for e in self._secrets.sealed(release.number).values() for v in e.values())
        for store in stores:
            _, before = self._secrets.begin_rotation(store)
            if self._secrets.password(f"{store}/{before}") in values:
                return False
        return True

    def _replace_sealed(self, store: str, server: Server) -> None:
        """Give the older releases the new passwords, for a rollback."""
        new, before = self._secrets.begin_rotation(store)
        self._replace({**server.replacements(before, new), **self._secrets.rotated(store)})

    def _replace(self, texts: Mapping[str, str]) -> None:
        for number in Releases(self._app).numbers():
            self._secrets.replace_sealed(number, texts)
