"""Code that speaks to a running PostgreSQL: its roles and database, its backups, and how the embedded engine runs
it.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

from pushrod.adapters import docker, postgres
from pushrod.stores.backup_drivers import Archive, Dumps
from pushrod.stores.kinds import ContainerStore, Endpoint, LocalStore, Password, Server


class Place(NamedTuple):
    """The location of the app's database."""

    store: str
    port: int
    database: str
    host: str = "127.0.0.1"


def endpoint(place: Place, app: str, password: Password, *, adopts: bool) -> Endpoint:
    """The addresses of the database for the app's own role and for the migrating role."""
    roles = postgres.Roles.of(app)

    def url(role: str, whose: str) -> str:
        return postgres.url(role, password(whose), place.port, place.database, host=place.host)

    own, migrating = url(roles.app, "app"), url(roles.migrator, "migrator")
    return Endpoint(place.store, "postgres", own, migrating, adopts)


def in_container(store: ContainerStore, database: str, user: str) -> Server:
    """The database on the server in a container, queried over its socket as `user`."""
    server = postgres.ContainerServer(store.container, user, docker.environment())
    return Database(store.service.name, store.app, database, server, store.password)


class Database(Server):
    """The app's database on a server, wherever that runs."""

    def __init__(
        self, store: str, app: str, database: str, server: postgres.Database, password: Password
    ) -> None:
        self._store = store
        self._app = app
        self._name = database
        self._server = server
        self._password = password

    def ensure(self, *, ddl: bool) -> str:
        """The three roles, the database and the rights in it."""
        self._ensure(self._name, ddl=ddl)
        return ""

    def _ensure(self, database: str, *, ddl: bool) -> None:
        passwords = {whose: self._password(whose) for whose in ("migrator", "app")}
        postgres.ensure(self._server, self._app, database, passwords, ddl=ddl)

    def schema(self) -> str:
        """From the catalogue."""
        return postgres.schema_digest(self._server, self._name)

    def waits(self) -> Sequence[str]:
        """What the migrating role waits for."""
        return postgres.waiting(self._server, self._app)

    def end_migrations(self, since: str) -> None:
        """End the migrating role's sessions that were opened since then."""
        postgres.end_sessions(self._server, self._app, since)

    def archive(self, *, ddl: bool) -> Archive:
        """The database, dumped by pg_dump."""
        copy = postgres.Copy(self._server, self._name, functools.partial(self._ensure, ddl=ddl))
        return Dumps(self._store, "dump", copy)


class Cluster:
    """One cluster for each store."""

    stop_signal = postgres.STOP_SIGNAL

    def endpoint(self, store: LocalStore) -> Endpoint:
        """On its port of 127.0.0.1."""
        return endpoint(Place(store.name, store.port, store.app), store.app, store.password, adopts=True)

    def prepare(self, store: LocalStore) -> tuple[tuple[str, ...], bool]:
        """Create the cluster if it is missing, and write its configuration."""
        programs, data = postgres.Programs(store.parts.postgres), store.directory / "data"
        postgres.initialise(programs, data, store.password("superuser"), store.account)
        return postgres.server_argv(programs, data), postgres.configure(data, store.port)

    def ready(self, store: LocalStore, deadline: float) -> str:
        """Until it answers `select 1`."""
        server = self._server(store)
        postgres.ready(server, deadline, store.log)
        return server.programs.version()

    def server(self, store: LocalStore) -> Server:
        """Queried over TCP, as its superuser."""
        return Database(store.name, store.app, store.app, self._server(store), store.password)

    def _server(self, store: LocalStore) -> postgres.Server:
        return postgres.Server(
            postgres.Programs(store.parts.postgres), store.port, store.password("superuser")
        )
