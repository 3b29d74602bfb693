"""PostgreSQL, and images of PostgreSQL with extensions.

The contract is that of the official image (https://hub.docker.com/_/postgres). Bitnami's images are different ones
with the same names: they run as they are, and the app gets no roles in them.
"""

import itertools
import re
from collections.abc import Mapping
from typing import Literal

from pushrod.core.patterns import lazy
from pushrod.core.values import Service
from pushrod.stores import spring
from pushrod.stores.kinds import Access, ContainerStore, Embedded, Endpoint, Kind, Password, Server

_PORT = 5432
_VERSIONED = 18  # the first version whose official image has its volume one directory higher
_SUPERUSER = "postgres"  # the official image's default of POSTGRES_USER
_DATABASE = lazy(r"[a-z][a-z0-9_-]{0,62}")
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
    servers = ("postgres",)
    lock_timeout = "canceling statement due to lock timeout"
    keys = ("settings",)
    embeddable = True
    exporter = "postgres"
    first_scripts = True

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

    def first_environment(self, store: Service) -> dict[str, str]:
        """Data checksums, which older images do not switch on."""
        return {"POSTGRES_INITDB_ARGS": "--data-checksums"} if takes_roles(store) else {}

    def overrides(self, store: Service) -> dict[str, str]:
        """`-c name=value`."""
        from pushrod.adapters.postgres import settings

        return settings.of_command([*store.entrypoint, *store.command])

    def endpoint(
        self, store: Service, app: str, password: Password, *, ours: bool, login: str = "app"
    ) -> Endpoint | None:
        """Its service's name, with a role of the app's."""
        from pushrod.stores import postgres_driver

        name = database(store, app)
        if not name:
            return None
        place = postgres_driver.Place(store.name, _PORT, name, host=store.name)
        return postgres_driver.endpoint(place, app, password, adopts=ours, login=login)

    def exported_command(self, store: Service, memory: int) -> list[str]:
        """The manifest's settings as options of the server."""
        settings = [
            word for name, value in sorted(store.settings.items()) for word in ("-c", f"{name}={value}")
        ]
        return ["postgres", *settings] if settings else []

    def place(self, store: Service) -> tuple[int, str]:
        """As in the official image, which since 18 has a directory for each version in its volume."""
        from pushrod.adapters.postgres import settings

        major = re.match(r"[0-9]+", store.image.partition("@")[0].rpartition(":")[2])
        whole = major is not None and int(major[0]) >= _VERSIONED
        port = settings.of_command([*store.entrypoint, *store.command]).get("port", "")
        path = "/var/lib/postgresql" if whole else "/var/lib/postgresql/data"
        return int(port) if port.isdecimal() else _PORT, path if takes_roles(store) else ""

    def scripts(
        self, store: Service, app: str, password: Password, *, ddl: bool, login: str = "app"
    ) -> dict[str, str]:
        """The script that also ensures them in a running server."""
        if not (name := database(store, app)):
            return {}
        from pushrod.adapters import postgres

        passwords = {whose: password(whose) for whose in (*postgres.LOGINS, login)}
        return {"10-pushrod.sql": postgres.initial_sql(app, name, passwords, ddl=ddl)}

    def users(self, app: str) -> Mapping[str, str]:
        """Both roles of instances, and the one that migrates."""
        from pushrod.adapters.postgres import Roles

        roles = Roles.of(app)
        return {roles.app: "app", roles.app2: "app2", roles.migrator: "migrator"}

    def spring_variables(self, given: str, url: str) -> dict[str, str]:
        """`spring.datasource`."""
        return spring.datasource(given, url, self.jdbc[0])

    def check(self, store: Service) -> list[str]:
        """By PostgreSQL's own program."""
        return ["CMD", *_ANSWERS]

    def series(self, store: Service, image: Mapping[str, str]) -> str:
        """Another major version cannot read the data."""
        return f"PostgreSQL {image['PG_MAJOR']}" if image.get("PG_MAJOR") else ""

    def upgrade_hint(self, before: str, after: str) -> str:
        """By `pushrod db upgrade`, which carries data to newer versions alone."""
        old, new = before.rpartition(" ")[2], after.rpartition(" ")[2]
        if not (old.isdecimal() and new.isdecimal()) or int(new) < int(old):
            return ""
        return f"`pushrod db upgrade --to {new}` upgrades the data; then push again"

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

    def access(self, store: Service, app: str) -> Access:
        """The port, user, password and database as the official image would set them up; without a password, or with
        a name that pushrod's own roles have, no user.
        """
        given = store.environment
        words = [*store.entrypoint, *store.command]
        port = next((b for a, b in itertools.pairwise(words) if a in ("-p", "--port")), "")
        number = int(port) if re.fullmatch(r"[0-9]{1,5}", port) else _PORT
        user = given.get("POSTGRES_USER") or _SUPERUSER
        password = given.get("POSTGRES_PASSWORD") or None
        name = database(store, _SUPERUSER if password else app)
        ours = user in (f"{app}_{role}" for role in ("owner", "migrator", "app", "app2", "readonly"))
        if not name or ours or not _DATABASE.fullmatch(user) or not (password or "").isascii():
            password = None
        return Access(number, user if password else "", name, password)

    def embedded(self) -> Embedded:
        """A cluster of its own for each store."""
        from pushrod.stores import postgres_driver

        return postgres_driver.Cluster()


KIND = Postgres()
