"""The stores of apps on Docker: containers updated in place, on the networks of their app's releases."""

from collections.abc import Sequence

from pushrod.adapters import docker
from pushrod.core.values import Manifest, Release, Service
from pushrod.engines.docker import names, stopping
from pushrod.engines.docker.stores import Stores
from pushrod.state.apps import App
from pushrod.stores.backup_drivers import Archive
from pushrod.stores.kinds import Endpoint
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

    def schema(self, app: App, stores: Sequence[Service]) -> str:
        """A digest of the schemas of the databases in which pushrod gives the app roles."""
        return Stores(app).schema(stores)

    def blockers(self, app: App, stores: Sequence[Service]) -> Sequence[str]:
        """In the databases in which pushrod gives the app roles."""
        return Stores(app).waits(stores)

    def end_migrations(self, app: App, stores: Sequence[Service], since: str) -> None:
        """In the databases in which pushrod gives the app roles. A release command's container is removed with its
        release.
        """
        Stores(app).end_migrations(stores, since)

    def archives(self, app: App, release: Release, *, ddl: bool) -> Sequence[Archive]:
        """The app's databases, and snapshots of its Redis stores."""
        return Stores(app).archives(release.stores, ddl=ddl)

    def restore(self, app: App, release: Release | None, failed: int, *, running: bool) -> None:
        """Restore the stores to the live release's definition; close the gate if nothing is live."""
        Stores(app).restore(release, failed, running=running)
        if release is None:
            files.remove_tree(names.GATES / app.name)

    def stop(self, app: App) -> Sequence[str]:
        """Stop the stores, each within its grace period; their data stays."""
        containers = [c for c in docker.containers({docker.APP: app.name}) if docker.RELEASE not in c.labels]
        return stopping.stop(app, containers)
