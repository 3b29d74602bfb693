"""The stores of apps on the embedded engine: servers under the supervisor."""

from collections.abc import Sequence

from pushrod.core.values import Manifest, Release, Service
from pushrod.engines.embedded.context import Context
from pushrod.engines.embedded.ports import store_records
from pushrod.engines.embedded.stores import group_of
from pushrod.state.apps import App
from pushrod.stores.backup_drivers import Archive
from pushrod.stores.kinds import Endpoint


class Storage:
    """The stores of a root's apps."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def versions(self) -> dict[str, str]:
        """The versions of the stores this engine has."""
        return self._context.parts.store_versions()

    def endpoints(self, app: App, manifest: Manifest) -> list[Endpoint]:
        """The address of each future store; decided once, before it exists."""
        return self._context.stores(app).endpoints(manifest.stores)

    def at(self, app: App, host: str, port: int) -> str:
        """By its port, which is unique."""
        return next((r.name for r in store_records(app) if host == "127.0.0.1" and r.port == port), "")

    def ensure(self, app: App, release: Release, *, ddl: bool) -> str:
        """Initialise new stores, start all, wait until each answers, ensure roles, databases and ACLs."""
        own, names = self._context.stores(app), {s.name for s in release.stores}
        for record in own.locked_out(names):
            self._context.supervisor.remove(group_of(app, record.name))
            own.let_in(record)
        running = self._context.supervisor.groups()
        for process, changed in own.prepare(names):
            self._context.supervisor.apply(process.group, (process,))
            if changed and process.group in running:  # a server reads its configuration when it starts
                self._context.supervisor.restart(process.group, process.name)
        return own.ensure(names, ddl=ddl)

    def schema(self, app: App, stores: Sequence[Service]) -> str:
        """A digest of the schemas of the app's databases."""
        return self._context.stores(app).schema({s.name for s in stores})

    def blockers(self, app: App, stores: Sequence[Service]) -> Sequence[str]:
        """In the app's databases."""
        return self._context.stores(app).waits({s.name for s in stores})

    def end_migrations(self, app: App, stores: Sequence[Service], since: str) -> None:
        """In the app's databases."""
        self._context.stores(app).end_migrations({s.name for s in stores}, since)

    def archives(self, app: App, release: Release, *, ddl: bool) -> Sequence[Archive]:
        """The app's databases, and snapshots of its Valkeys."""
        return self._context.stores(app).archives({s.name for s in release.stores}, ddl=ddl)

    def restore(self, app: App, release: Release | None, failed: int, *, running: bool) -> None:
        """Stop the stores that the live release does not have; as always, their data stays."""
        kept = {s.name for s in release.stores} if release else set()
        for record in store_records(app):
            if record.name not in kept:
                self._context.supervisor.remove(group_of(app, record.name))

    def stop(self, app: App) -> Sequence[str]:
        """Stop the stores: PostgreSQL by a fast shutdown, Valkey after writing its file."""
        for group in self._context.supervisor.groups():  # not by their records, which may be damaged
            if group.startswith(group_of(app, "")):
                self._context.supervisor.remove(group)
        return ()
