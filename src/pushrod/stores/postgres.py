"""PostgreSQL, and images that are a PostgreSQL with extensions.

What an image promises is from the official one's documentation (https://hub.docker.com/_/postgres). Bitnami's images
are other ones under the same names: they run as they are, and the app is given no roles in them.
"""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from pushrod.adapters import docker, postgres
from pushrod.core.values import Service
from pushrod.stores import spring
from pushrod.stores.backup_drivers import Archive, Rows
from pushrod.stores.kinds import ContainerStore, Endpoint, Kind, LocalStore, Password, Server
from pushrod.system.streams import Source

_PORT = 5432
_SUPERUSER = "postgres"  # the official image's default of POSTGRES_USER
_DATABASE = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_ANSWERS = ("pg_isready", "--quiet", "--host=127.0.0.1")


def takes_roles(store: Service) -> bool:
    """Whether an image reads `POSTGRES_USER` and the like, and trusts that user on its socket."""
    return "bitnami" not in store.image and not any(n.startswith("POSTGRESQL_") for n in store.environment)


def database(store: Service, default: str) -> str:
    """The database in which the app is given roles; empty where it is given none.

    The image makes POSTGRES_DB, by default named as its user; where the manifest names neither, it is `default`.
    """
    given = store.environment
    if not takes_roles(store) or {"POSTGRES_DB_FILE", "POSTGRES_USER_FILE"} & given.keys():
        return ""
    name = given.get("POSTGRES_DB") or given.get("POSTGRES_USER") or default
    return name if _DATABASE.fullmatch(name) else ""


class _Dumps:
    """The app's database."""

    suffix = "dump"

    def __init__(self, store: str, copy: postgres.Copy) -> None:
        self.store = store
        self._copy = copy
        self.version = copy.version
        self.save = copy.dump
        self.check = copy.check

    def rehearse(self, source: Source) -> Rows | None:
        """Restore it into a database of its own."""
        return self._copy.rehearse(source)

    def restore(self, source: Source) -> str | None:
        """Restore it beside the database, then swap the names."""
        return f"database {self._copy.restore(source)}"


class _Database(Server):
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
        """By the catalogue."""
        return postgres.schema_digest(self._server, self._name)

    def waits(self) -> Sequence[str]:
        """Whom the migrating role waits for."""
        return postgres.waiting(self._server, self._app)

    def end_migrations(self, since: str) -> None:
        """End the sessions of the migrating role that were opened since then."""
        postgres.end_sessions(self._server, self._app, since)

    def archive(self, *, ddl: bool) -> Archive:
        """The database, as pg_dump writes it."""
        copy = postgres.Copy(self._server, self._name, functools.partial(self._ensure, ddl=ddl))
        return _Dumps(self._store, copy)


def _endpoint(store: str, app: str, url: Callable[[str, str], str], *, adopts: bool) -> Endpoint:
    roles = postgres.Roles.of(app)
    return Endpoint(store, Postgres.name, url(roles.app, "app"), url(roles.migrator, "migrator"), adopts)


class _Embedded:
    """A cluster of its own for each store."""

    stop_signal = postgres.STOP_SIGNAL

    def endpoint(self, store: LocalStore) -> Endpoint:
        """On its port of 127.0.0.1."""

        def url(role: str, whose: str) -> str:
            return postgres.url(role, store.password(whose), store.port, store.app)

        return _endpoint(store.name, store.app, url, adopts=True)

    def prepare(self, store: LocalStore) -> tuple[tuple[str, ...], bool]:
        """Make the cluster where there is none, and write its configuration."""
        programs, data = postgres.Programs(store.parts.postgres), store.directory / "data"
        postgres.initialise(programs, data, store.password("superuser"), store.account)
        return postgres.server_argv(programs, data), postgres.configure(data, store.port)

    def ready(self, store: LocalStore, deadline: float) -> str:
        """Until it answers `select 1`."""
        server = self._server(store)
        postgres.ready(server, deadline, store.log)
        return server.programs.version()

    def server(self, store: LocalStore) -> Server:
        """Asked over TCP, as its superuser."""
        return _Database(store.name, store.app, store.app, self._server(store), store.password)

    def _server(self, store: LocalStore) -> postgres.Server:
        return postgres.Server(
            postgres.Programs(store.parts.postgres), store.port, store.password("superuser")
        )


class Postgres(Kind):
    """PostgreSQL."""

    name = "postgres"
    title = "PostgreSQL"
    images = dict.fromkeys(
        ("postgres", "postgresql", "postgis", "pgvector", "timescaledb", "timescaledb-ha"), title
    )
    extensions = {"postgis": "PostGIS", "timescaledb": "TimescaleDB", "timescaledb-ha": "TimescaleDB"}
    variable = "DATABASE_URL"
    usual = ("postgres", "postgresql", "db", "database")
    spring = spring.DATASOURCE
    jdbc = ("jdbc:postgresql:",)
    embedded = _Embedded()

    def period(self, store: Service) -> Literal["day", "never"]:
        """Every day."""
        return "day"

    def environment(self, store: Service, app: str, password: Password) -> dict[str, str]:
        """The manifest's own, and a password where the official image insists on one."""
        given = super().environment(store, app, password)
        trusts = given.get("POSTGRES_HOST_AUTH_METHOD") == "trust"
        if not takes_roles(store) or trusts or any(n.startswith("POSTGRES_PASSWORD") for n in given):
            return given
        return given | {"POSTGRES_PASSWORD": password("superuser")}

    def endpoint(self, store: Service, app: str, password: Password, *, ours: bool) -> Endpoint | None:
        """Under its service's name, as a role of the app's."""
        name = database(store, app)

        def url(role: str, whose: str) -> str:
            return postgres.url(role, password(whose), _PORT, name, host=store.name)

        return _endpoint(store.name, app, url, adopts=ours) if name else None

    def spring_variables(self, given: str, url: str) -> dict[str, str]:
        """`spring.datasource`."""
        return spring.datasource(given, url, self.jdbc[0])

    def check(self, store: Service) -> list[str]:
        """By PostgreSQL's own program."""
        return ["CMD", *_ANSWERS]

    def series(self, store: Service, image: Mapping[str, str]) -> str:
        """Data of one major version cannot be read by another."""
        return f"PostgreSQL {image['PG_MAJOR']}" if image.get("PG_MAJOR") else ""

    def answers(self, store: ContainerStore) -> bool:
        """Over TCP: while the official image initialises a new cluster, its server listens on the socket only."""
        return docker.execute(store.container, [*_ANSWERS, "--timeout=3"], timeout=15).status == 0

    def server(self, store: ContainerStore) -> Server:
        """Asked in its container, over the socket."""
        if not (name := database(store.service, store.app)):
            return Server()
        user = store.service.environment.get("POSTGRES_USER") or _SUPERUSER
        server = postgres.ContainerServer(store.container, user, docker.environment())
        return _Database(store.service.name, store.app, name, server, store.password)


KIND = Postgres()
