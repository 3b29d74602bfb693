"""The stores of apps on Docker: containers updated in place, on the networks of their app's releases."""

from collections.abc import Iterator, Mapping, Sequence

from pushrod.adapters import docker
from pushrod.core.upgrades import UpgradePlan
from pushrod.core.values import Manifest, Release, Service
from pushrod.engines.docker import names, stopping
from pushrod.engines.docker.stores import Stores
from pushrod.engines.protocols import OnLine, Upgrade
from pushrod.state.apps import App
from pushrod.stores.backup_drivers import Archive
from pushrod.stores.kinds import Endpoint, Server
from pushrod.system import files


class Storage:
    """The stores of a host's apps."""

    def versions(self) -> dict[str, str]:
        """None: the manifest's image determines the version."""
        return {}

    def endpoints(self, app: App, manifest: Manifest) -> list[Endpoint]:
        """The address of each store for this app: its service's name."""
        return Stores(app).endpoints(manifest)

    def at(self, app: App, host: str, port: int) -> str:
        """By the service's name, which is the host name in the releases' networks."""
        return host if names.store_environment(app, host).exists() else ""

    def ensure(self, app: App, release: Release, *, ddl: bool) -> str:
        """Bring the stores up in place, wait until they answer, ensure roles and databases."""
        return Stores(app).ensure(release, ddl=ddl)

    def archives(self, app: App, release: Release, *, ddl: bool) -> Sequence[Archive]:
        """The app's databases, snapshots of its Redis stores, volumes of others."""
        return Stores(app).archives(release.stores, ddl=ddl, volumes=release.backups.volumes)

    def servers(self, app: App, stores: Sequence[Service]) -> Mapping[str, Server]:
        """Each in its container."""
        return Stores(app).servers(stores)

    def restore(self, app: App, release: Release | None, failed: int, *, running: bool) -> None:
        """Restore the stores to the live release's definition; close the gate if nothing is live."""
        Stores(app).restore(release, failed, running=running)
        if release is None:
            files.remove_tree(names.GATES / app.name)

    def stop(self, app: App) -> Sequence[str]:
        """End their clients, and stop the stores, each within its grace period; their data stays."""
        docker.remove(docker.container_ids({docker.CLIENT: app.name}))
        containers = [c for c in docker.containers({docker.APP: app.name}) if docker.RELEASE not in c.labels]
        return stopping.stop(app, containers)


class Upgrades:
    """Upgrades of the stores of a host's apps. What does them is imported when one does."""

    def plan(
        self, app: App, release: Release, store: Service, after: str, given: str, on_line: OnLine
    ) -> UpgradePlan:
        """By an image of the new version; `given` is its name."""
        from pushrod.engines.docker import upgrades

        return upgrades.plan(app, release, store, after, given, on_line)

    def steps(self, app: App, release: Release, plan: UpgradePlan) -> Upgrade:
        """By containers of both versions."""
        from pushrod.engines.docker import upgrades

        return upgrades.Upgrade(app, release, plan)

    def remove_old(self, app: App, store: str) -> Iterator[str]:
        """Their volumes."""
        from pushrod.engines.docker import upgrades

        return upgrades.remove_old(app, store)
