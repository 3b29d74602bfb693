"""The stores of apps on the embedded engine: servers under the supervisor."""

from collections.abc import Iterator, Mapping, Sequence

from pushrod.core.errors import StateError
from pushrod.core.upgrades import UpgradePlan
from pushrod.core.values import Manifest, Release, Service
from pushrod.engines.embedded import first_scripts
from pushrod.engines.embedded.context import Context
from pushrod.engines.embedded.ports import store_records
from pushrod.engines.embedded.stores import Stores, group_of
from pushrod.engines.protocols import OnLine, Upgrade
from pushrod.state import releases
from pushrod.state.apps import App
from pushrod.stores.backup_drivers import Archive
from pushrod.stores.kinds import Endpoint, Server


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
        """By its address and port."""
        return next((r.name for r in store_records(app) if host == r.address and r.port == port), "")

    def ensure(self, app: App, release: Release, *, ddl: bool) -> str:
        """Initialise new stores, start all, wait until each answers, ensure roles, databases and ACLs."""
        own, names = self._context.stores(app), {s.name for s in release.stores}
        for record, role in own.locked_out(names).items():
            self._context.supervisor.remove(group_of(app, record.name))
            own.let_in(record, role)
        own.settle(release.stores, _live_stores(app))
        self._apply(own, release.stores, release.services)
        remarks = [own.ensure(release.stores, release.services, ddl=ddl)]
        checkout = app.checkout(release.number)
        for store in release.stores:
            if scripts := first_scripts.of(store, checkout):
                server = own.servers({store.name})[store.name]
                remarks.append(first_scripts.run(server, scripts, app.stores / store.name, checkout))
        return ", ".join(filter(None, remarks))

    def _apply(self, own: Stores, stores: Sequence[Service], services: Sequence[Service]) -> set[str]:
        """Have the stores run as configured; returns which of them were restarted, and may not answer yet."""
        running, restarted = self._context.supervisor.groups(), set()
        for process, changed in own.prepare(stores, services):
            self._context.supervisor.apply(process.group, (process,))
            if changed and process.group in running:  # a server reads its configuration when it starts
                self._context.supervisor.restart(process.group, process.name)
                restarted.add(process.name)
        return restarted

    def archives(self, app: App, release: Release, *, ddl: bool) -> Sequence[Archive]:
        """The app's databases, and snapshots of its Valkeys."""
        return self._context.stores(app).archives({s.name for s in release.stores}, ddl=ddl)

    def servers(self, app: App, stores: Sequence[Service]) -> Mapping[str, Server]:
        """Each on its port of this machine."""
        return self._context.stores(app).servers({s.name for s in stores})

    def restore(self, app: App, release: Release | None, failed: int, *, running: bool) -> None:
        """Stop the stores that the live release does not have; as always, their data stays. Those that the failed
        release opened are closed again, and accept connections when this returns.
        """
        kept = {s.name for s in release.stores} if release else set()
        for record in store_records(app):
            if record.name not in kept:
                self._context.supervisor.remove(group_of(app, record.name))
        if release:
            own, groups = self._context.stores(app), self._context.supervisor.groups()
            own.settle(release.stores, ())
            present = [s for s in release.stores if group_of(app, s.name) in groups]
            own.wait(self._apply(own, present, release.services))

    def stop(self, app: App) -> Sequence[str]:
        """Stop the stores: PostgreSQL by a fast shutdown, Valkey after writing its file."""
        for group in self._context.supervisor.groups():  # not by their records, which may be damaged
            if group.startswith(group_of(app, "")):
                self._context.supervisor.remove(group)
        return ()


class Upgrades:
    """Upgrades of the stores of a root's apps. What does them is imported when one does."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def plan(
        self, app: App, release: Release, store: Service, after: str, given: str, on_line: OnLine
    ) -> UpgradePlan:
        """By the programs here; `given` is the directory of the programs that have served the data so far."""
        from pushrod.stores import postgres_clusters

        return postgres_clusters.plan(self._context.stores(app).local(store.name), after, given)

    def steps(self, app: App, release: Release, plan: UpgradePlan) -> Upgrade:
        """By servers that listen to nobody else."""
        from pushrod.engines.embedded import upgrades

        return upgrades.Upgrade(self._context, app, plan)

    def remove_old(self, app: App, store: str) -> Iterator[str]:
        """Their directories."""
        from pushrod.stores import postgres_clusters

        return postgres_clusters.remove_old(self._context.stores(app).local(store))


def _live_stores(app: App) -> Sequence[Service]:
    """The stores of the live release; none if it cannot be read."""
    try:
        live = releases.live(app)
    except StateError:
        return ()
    return live.stores if live else ()
