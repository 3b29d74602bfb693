"""MariaDB and MySQL, on Docker: two kinds, because data, images and JDBC drivers of one do not fit the other.

The contract of the images is in their documentation (https://hub.docker.com/_/mariadb,
https://hub.docker.com/_/mysql). If the manifest sets no root password, pushrod generates one and names the database.
If it sets one, the app has accounts in the database that the manifest names. Otherwise pushrod does not know the root
password, or which database is the app's: the store runs as it is.
"""

import re
from collections.abc import Mapping
from typing import Literal

from pushrod.core.patterns import lazy
from pushrod.core.values import Service
from pushrod.stores import spring
from pushrod.stores.kinds import ContainerStore, Endpoint, Kind, Password, Server

_PORT = 3306
_DATABASE = lazy(r"[A-Za-z0-9_-]{1,64}")
_OF_ROOT = (
    "ROOT_PASSWORD",
    "ROOT_PASSWORD_HASH",
    "ALLOW_EMPTY_ROOT_PASSWORD",
    "ALLOW_EMPTY_PASSWORD",
    "RANDOM_ROOT_PASSWORD",
)
_OTHER_IMAGES = ("bitnami", "linuxserver")  # the same names, other variables or accounts
# Over TCP: while an image initialises a data directory, its server listens on the socket only. `ping` succeeds if the
# password is refused; with the right one the server logs nothing.
_ANSWERS = """\
p=${MARIADB_ROOT_PASSWORD:-$MYSQL_ROOT_PASSWORD}
f=${MARIADB_ROOT_PASSWORD_FILE:-$MYSQL_ROOT_PASSWORD_FILE}
[ -z "$f" ] || p=$(cat "$f")
export MYSQL_PWD="$p"
if command -v mariadb-admin >/dev/null; then set -- mariadb-admin --skip-ssl; else set -- mysqladmin; fi
exec "$@" --user=root --protocol=tcp --host=127.0.0.1 --port=PORT --connect-timeout=3 --silent ping"""


class _Family(Kind):
    """What MariaDB and MySQL have in common. `prefixes` begin the names of an image's variables, its own first."""

    prefixes: tuple[str, ...] = ()
    variable = "DATABASE_URL"
    servers = ("mariadbd", "mysqld")
    lock_timeout = "Lock wait timeout exceeded"
    spring = spring.DATASOURCE

    # ---- what a manifest gives --------------------------------------------------------------------------------

    def _given(self, store: Service, what: str) -> str:
        values = (store.environment.get(f"{prefix}_{what}") for prefix in self.prefixes)
        return next(filter(None, values), "")

    def _has_root(self, store: Service) -> bool:
        """Whether the manifest sets root's password, or disables it."""
        return any(self._given(store, f"{what}{end}") for what in _OF_ROOT for end in ("", "_FILE"))

    def _speaks(self, store: Service) -> bool:
        """Whether its image reads these variables."""
        return not any(word in store.image for word in _OTHER_IMAGES)

    def _unknown(self, store: Service) -> str:
        """Why pushrod leaves a store alone; empty if it does not."""
        if not self._speaks(store):
            return "its image has other variables than the official one"
        if not self._has_root(store):
            return ""
        if self._given(store, "RANDOM_ROOT_PASSWORD") or self._given(store, "ROOT_PASSWORD_HASH"):
            return "its root password is not in the manifest"
        if not _DATABASE.fullmatch(self._given(store, "DATABASE")):
            return f"`{self.prefixes[0]}_DATABASE` names no database"
        return ""

    def period(self, store: Service) -> Literal["day", "never"]:
        """Every day, if pushrod can query it."""
        return "never" if self._unknown(store) else "day"

    def remark(self, store: Service) -> str:
        """Why pushrod leaves it alone."""
        why = self._unknown(store)
        return f"pushrod gives it no accounts, no address and no backups: {why}" if why else ""

    # ---- environment and addresses ----------------------------------------------------------------------------

    def environment(self, store: Service, app: str, password: Password) -> dict[str, str]:
        """The manifest's own; without a root password, also a generated one and the app's database."""
        given, prefix = super().environment(store, app, password), self.prefixes[0]
        if not self._speaks(store) or self._has_root(store):
            return given
        database = {} if self._given(store, "DATABASE") else {f"{prefix}_DATABASE": app}
        return given | {f"{prefix}_ROOT_PASSWORD": password("superuser")} | database

    def endpoint(
        self, store: Service, app: str, password: Password, *, ours: bool, login: str = "app"
    ) -> Endpoint | None:
        """Its service's name, with an account of the app's. Addresses in the manifest stay as they are if the
        manifest has accounts of its own.
        """
        if self._unknown(store):
            return None
        from pushrod.adapters import mariadb

        roles, name = mariadb.Roles.of(app), self._given(store, "DATABASE") or app
        made = not self._has_root(store)

        def url(role: str, whose: str) -> str:
            return mariadb.url(role, password(whose), store.name, _port(store), name)

        app_url, migrating = url(roles.app, "app"), url(roles.migrator, "migrator")
        return Endpoint(store.name, self.name, app_url, migrating, adopts=ours and made, spring=made)

    def place(self, store: Service) -> tuple[int, str]:
        """As in the official images."""
        return _port(store), "/var/lib/mysql" if self._speaks(store) else ""

    def scripts(
        self, store: Service, app: str, password: Password, *, ddl: bool, login: str = "app"
    ) -> dict[str, str]:
        """The statements that make them in an empty server."""
        if self._unknown(store):
            return {}
        from pushrod.adapters import mariadb

        passwords = {whose: password(whose) for whose in ("migrator", "app")}
        name = self._given(store, "DATABASE") or app
        return {"10-pushrod.sql": mariadb.initial_sql(app, name, passwords, ddl=ddl)}

    def users(self, app: str) -> Mapping[str, str]:
        """The app's two accounts."""
        from pushrod.adapters import mariadb

        roles = mariadb.Roles.of(app)
        return {roles.app: "app", roles.migrator: "migrator"}

    def spring_variables(self, given: str, url: str) -> dict[str, str]:
        """`spring.datasource`."""
        return spring.datasource(given, url, self.jdbc[0])

    def check(self, store: Service) -> list[str]:
        """By the server's own program."""
        return ["CMD-SHELL", _answers(store)]

    def series(self, store: Service, image: Mapping[str, str]) -> str:
        """Data of another major version of MariaDB, or series of MySQL, is incompatible; with MARIADB_AUTO_UPGRADE
        the image upgrades it.
        """
        if "MARIADB_VERSION" in image:
            major = image["MARIADB_VERSION"].rpartition(":")[2].partition(".")[0]
            return "MariaDB" if self._given(store, "AUTO_UPGRADE") else f"MariaDB {major}"
        version = image.get("MYSQL_MAJOR") or ".".join(image.get("MYSQL_VERSION", "").split(".")[:2])
        return f"MySQL {version}" if version else ""

    def answers(self, store: ContainerStore) -> bool:
        """By its health check."""
        from pushrod.adapters import docker

        return docker.execute(store.container, ["sh", "-c", _answers(store.service)], timeout=15).status == 0

    def server(self, store: ContainerStore) -> Server:
        """Queried in its container, as root."""
        name = self._given(store.service, "DATABASE")
        if self._unknown(store.service) or not name:
            return Server()
        from pushrod.stores import mariadb_driver

        file = self._given(store.service, "ROOT_PASSWORD_FILE")
        return mariadb_driver.in_container(store, name, self._given(store.service, "ROOT_PASSWORD"), file)


def _port(store: Service) -> int:
    """The port in its command, else 3306."""
    words = re.findall(r"--port[= ](\d{1,5})\b", " ".join((*store.entrypoint, *store.command)))
    return int(words[-1]) if words else _PORT


def _answers(store: Service) -> str:
    return _ANSWERS.replace("--port=PORT", f"--port={_port(store)}")


class MariaDB(_Family):
    """MariaDB."""

    name = "mariadb"
    title = "MariaDB"
    images = {"mariadb": "MariaDB"}
    usual = ("mariadb", "db", "database")
    prefixes = ("MARIADB", "MYSQL")
    jdbc = ("jdbc:mariadb:", "jdbc:mysql:")


class MySQL(_Family):
    """MySQL."""

    name = "mysql"
    title = "MySQL"
    images = {"mysql": "MySQL", "mysql-server": "MySQL"}
    usual = ("mysql", "db", "database")
    prefixes = ("MYSQL",)
    jdbc = ("jdbc:mysql:", "jdbc:mariadb:")


KINDS = (MariaDB(), MySQL())
