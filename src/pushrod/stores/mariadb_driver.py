"""Code that speaks to a running MariaDB or MySQL in its container: the app's accounts and database, and their
backups.
"""

from collections.abc import Sequence

from pushrod.adapters import docker, mariadb
from pushrod.adapters.mariadb_dumps import Copy
from pushrod.core.errors import StoreError
from pushrod.stores.backup_drivers import Archive, Dumps
from pushrod.stores.kinds import ContainerStore, Server


def in_container(store: ContainerStore, database: str, password: str, file: str) -> Server:
    """The database on the server in a container, queried as root. If `file` is set, it is the container's file with
    root's password.
    """

    def root() -> str:
        return _read(store, file) if file else password

    return _Database(store, database, mariadb.Server(store.container, root))


def _read(store: ContainerStore, path: str) -> str:
    done = docker.execute(store.container, ["cat", path])
    if done.status != 0:
        raise StoreError(
            f"the password of root cannot be read: {done.stderr.strip()}",
            where=f"container {store.container}",
            hint="check whether it runs: pushrod status",
        )
    return done.stdout.rstrip("\n")


_TAKEN = """
select coalesce(sum(data_length + index_length), 0) from information_schema.tables where table_schema = @database@;
"""


class _Database(Server):
    """The app's database on a server in a container."""

    def __init__(self, store: ContainerStore, name: str, server: mariadb.Server) -> None:
        self._store = store
        self._name = name
        self._server = server

    def ensure(self, *, ddl: bool) -> str:
        """The two accounts, the database and the rights in it."""
        passwords = {whose: self._store.password(whose) for whose in ("migrator", "app")}
        try:
            mariadb.ensure(self._server, self._store.app, self._name, passwords, ddl=ddl)
        except StoreError as e:
            if not mariadb.is_denied(e) or self._is_ours():
                raise
            # The data is older than the manifest's current password; the app has its own account.
            return "without accounts: its root password is not the one in the manifest"
        return ""

    def _is_ours(self) -> bool:
        """Whether pushrod generated root's password."""
        return self._store.password("superuser") in self._store.service.environment.values()

    def schema(self, *, mark: str = "", ending: str = "") -> str:
        """The digest of a dump without rows; its log has no named moments."""
        if ending:
            self.end_migrations(ending)
        return Copy(self._server, self._name).schema()

    def taken(self) -> int | None:
        """The app's database, as the server estimates it."""
        ((count,),) = self._server.query(_TAKEN.replace("@database@", mariadb.text(self._name)))
        return int(count)

    def waits(self) -> Sequence[str]:
        """What the migrating account waits for."""
        return mariadb.waiting(self._server, self._store.app)

    def end_migrations(self, since: str) -> None:
        """End the statements of the migrating account that began since then."""
        mariadb.end_sessions(self._server, self._store.app, since)

    def archive(self, *, ddl: bool) -> Archive:
        """The database, dumped by the server's own program."""
        return Dumps(self._store.service.name, "sql.gz", Copy(self._server, self._name))
