"""PostgreSQL, and images of PostgreSQL with extensions.

The contract is that of the official image (https://hub.docker.com/_/postgres). Bitnami's images are different ones
with the same names: they run as they are, and the app gets no roles in them.
"""

import re
from collections.abc import Mapping
from typing import Literal

from pushrod.core.values import Service
from pushrod.stores import spring
from pushrod.stores.kinds import ContainerStore, Embedded, Endpoint, Kind, Password, Server

_PORT = 5432
_SUPERUSER = "postgres"  # the official image's default of POSTGRES_USER
_DATABASE = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_ANSWERS = ("pg_isready", "--quiet", "--host=127.0.0.1")


def takes_roles(store: Service) -> bool:
    """Whether an image reads `POSTGRES_USER` and related variables, and trusts that user on its socket."""
    return "bitnami" not in store.image and not any(n.startswith("POSTGRESQL_") for n in store.environment)


def database(store: Service, default: str) -> str:
    """The database in which the app gets roles; empty if it gets none.

    The image creates POSTGRES_DB, by default named after its user; if the manifest sets neither, it is `default`.
    """
    given = store.environment
    if not takes_roles(store) or {"POSTGRES_DB_FILE", "POSTGRES_USER_FILE"} & given.keys():
        return ""
    name = given.get("POSTGRES_DB") or given.get("POSTGRES_USER") or default
    return name if _DATABASE.fullmatch(name) else ""


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
    embeddable = True

    def period(self, store: Service) -> Literal["day", "never"]:
        """Every day."""
        return "day"

    def environment(self, store: Service, app: str, password: Password) -> dict[str, str]:
        """The manifest's own, and a generated password if the official image requires one."""
        given = super().environment(store, app, password)
        trusts = given.get("POSTGRES_HOST_AUTH_METHOD") == "trust"
        if not takes_roles(store) or trusts or any(n.startswith("POSTGRES_PASSWORD") for n in given):
            return given
        return given | {"POSTGRES_PASSWORD": password("superuser")}

    def endpoint(self, store: Service, app: str, password: Password, *, ours: bool) -> Endpoint | None:
        """Its service's name, with a role of the app's."""
        from pushrod.stores import postgres_driver

        name = database(store, app)
        if not name:
            return None
        place = postgres_driver.Place(store.name, _PORT, name, host=store.name)
        return postgres_driver.endpoint(place, app, password, adopts=ours)

    def spring_variables(self, given: str, url: str) -> dict[str, str]:
        """`spring.datasource`."""
        return spring.datasource(given, url, self.jdbc[0])

    def check(self, store: Service) -> list[str]:
        """By PostgreSQL's own program."""
        return ["CMD", *_ANSWERS]

    def series(self, store: Service, image: Mapping[str, str]) -> str:
        """Another major version cannot read the data."""
        return f"PostgreSQL {image['PG_MAJOR']}" if image.get("PG_MAJOR") else ""

    def answers(self, store: ContainerStore) -> bool:
        """Over TCP: while the official image initialises a new cluster, its server listens on the socket only."""
        from pushrod.adapters import docker

        return docker.execute(store.container, [*_ANSWERS, "--timeout=3"], timeout=15).status == 0

    def server(self, store: ContainerStore) -> Server:
        """Queried in its container, over the socket."""
        if not (name := database(store.service, store.app)):
            return Server()
        from pushrod.stores import postgres_driver

        user = store.service.environment.get("POSTGRES_USER") or _SUPERUSER
        return postgres_driver.in_container(store, name, user)

    def embedded(self) -> Embedded:
        """A cluster of its own for each store."""
        from pushrod.stores import postgres_driver

        return postgres_driver.Cluster()


KIND = Postgres()
