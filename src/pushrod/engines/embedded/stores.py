"""The stores of an app on the embedded engine: PostgreSQL clusters and Valkey servers under the supervisor."""

import functools
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pushrod.adapters import postgres, redis
from pushrod.core.errors import StoreError
from pushrod.core.values import Process, Service
from pushrod.engines.embedded import ports
from pushrod.engines.embedded.ports import StoreRecord, store_records
from pushrod.state.apps import App
from pushrod.state.secrets import Secrets
from pushrod.stores.backup_drivers import Archive, PostgresArchive, RedisArchive
from pushrod.stores.variables import Endpoint
from pushrod.system import accounts, files, network, waits

PRIORITY = 10  # the supervisor starts stores first and stops them last
_SNAPSHOT = 3600.0  # seconds for writing all of a Valkey's data into a file
_DEADLINE = 60.0  # seconds until a store must answer; recovery after a power cut is part of it


def group_of(app: App, store: str) -> str:
    """A store's group in the supervisor, one for each so that a new one leaves the others alone.

    `_` cannot be in an app's name, so no release's group is called that.
    """
    return f"{app.name}_{store.replace('.', '-')}"


class Stores:
    """One app's stores. A store is decided once, by `endpoints`, and lives until the app is destroyed."""

    def __init__(
        self,
        app: App,
        programs: postgres.Programs,
        valkey: Path,
        account: accounts.Account | None,
        base: dict[str, str],
    ) -> None:
        self.app = app
        self._secrets = Secrets(app)
        self._programs = programs
        self._valkey = valkey
        self._account = account
        self._base = base

    def endpoints(self, stores: Sequence[Service]) -> list[Endpoint]:
        """Ports and passwords of the stores; made on first use, then for good."""
        with ports.choosing(self.app.root):
            records = [self._record(s) for s in stores]
        return [self._endpoint(r) for r in records]

    def prepare(self, names: set[str]) -> list[tuple[Process, bool]]:
        """What the supervisor runs for each store, and whether its configuration has just changed.

        Data directories are made where they are missing.
        """
        return [self._prepare(r) for r in store_records(self.app) if r.name in names]

    def ensure(self, names: set[str], *, ddl: bool) -> str:
        """Wait until each store answers, and make its roles, database and rights what they should be."""
        return ", ".join(self._ensure(r, ddl=ddl) for r in store_records(self.app) if r.name in names)

    def schema(self, names: set[str]) -> str:
        """A digest over the schemas of the PostgreSQL stores."""
        return "".join(postgres.schema_digest(s, self.app.name) for s in self._databases(names))

    def waits(self, names: set[str]) -> list[str]:
        """Whom the migrating role waits for."""
        return [told for s in self._databases(names) for told in postgres.waiting(s, self.app.name)]

    def end_migrations(self, names: set[str], since: str) -> None:
        """End the sessions of the migrating role that were opened since then."""
        for server in self._databases(names):
            postgres.end_sessions(server, self.app.name, since)

    def _databases(self, names: set[str]) -> list[postgres.Server]:
        records = [r for r in store_records(self.app) if r.kind == "postgres" and r.name in names]
        return [self._server(r) for r in records]

    def archives(self, names: set[str], *, ddl: bool) -> list[Archive]:
        """What is backed up of each store."""
        return [self._archive(r, ddl=ddl) for r in store_records(self.app) if r.name in names]

    def _archive(self, record: StoreRecord, *, ddl: bool) -> Archive:
        if record.kind == "postgres":
            server = self._server(record)
            ensure = functools.partial(self._ensure_roles, record, ddl=ddl)
            return PostgresArchive(record.name, postgres.Copy(server, self.app.name, ensure))
        directory, password = self.app.stores / record.name, self._password(record, redis.HEALTH_USER)

        def snapshot(file: Path) -> None:
            redis.snapshot(directory, record.port, redis.HEALTH_USER, password, file, _SNAPSHOT)

        return RedisArchive(record.name, lambda: redis.version(self._valkey), snapshot)

    def log(self, record: StoreRecord) -> Path:
        """A store's log."""
        return self.app.logs / "stores" / f"{record.name}.log"

    def _record(self, store: Service) -> StoreRecord:
        records = store_records(self.app)
        for record in records:
            if record.name == store.name:
                return record
        if store.store is None:
            raise AssertionError("manifest.read lets only known kinds of stores through")
        if len(records) >= ports.MOST_STORES:
            raise StoreError(
                f"an app has at most {ports.MOST_STORES} stores here, those that no release has any more among them",
                where=f"services.{store.name}",
                hint="make another app for it",
            )
        record = StoreRecord(store.name, store.store, ports.free(self.app.root, ports.STORES))
        encoded = msgspec.json.format(msgspec.json.encode([*records, record]), indent=2)
        files.write(self.app.stores / "stores.json", encoded)
        return record

    def _endpoint(self, record: StoreRecord) -> Endpoint:
        if record.kind == "redis":
            url = redis.url(redis.APP_USER, self._password(record, redis.APP_USER), record.port)
            return Endpoint(record.name, "redis", url, url)
        roles = postgres.Roles.of(self.app.name)

        def url_of(role: str, key: str) -> str:
            return postgres.url(role, self._password(record, key), record.port, self.app.name)

        return Endpoint(record.name, "postgres", url_of(roles.app, "app"), url_of(roles.migrator, "migrator"))

    def _prepare(self, record: StoreRecord) -> tuple[Process, bool]:
        directory = files.make_open(self.app.stores / record.name)
        prepare = self._postgres if record.kind == "postgres" else self._redis
        argv, stop, changed = prepare(record, directory)
        process = Process(
            group=group_of(self.app, record.name),
            name=record.name,
            argv=argv,
            cwd=str(directory),
            environment=self._base,
            log=str(self.log(record)),
            priority=PRIORITY,
            stop_signal=stop,
            stop_grace=60,
            death_signal=stop,
        )
        return process, changed

    def _postgres(self, record: StoreRecord, directory: Path) -> tuple[tuple[str, ...], str, bool]:
        data = directory / "data"
        postgres.initialise(self._programs, data, self._password(record, "superuser"), self._account)
        changed = postgres.configure(data, record.port)
        return postgres.server_argv(self._programs, data), postgres.STOP_SIGNAL, changed

    def _redis(self, record: StoreRecord, directory: Path) -> tuple[tuple[str, ...], str, bool]:
        users = {u: self._password(record, u) for u in (redis.APP_USER, redis.HEALTH_USER)}
        changed = redis.configure(directory, record.port, users, self._account)
        return redis.server_argv(self._valkey, directory), redis.STOP_SIGNAL, changed

    def _ensure(self, record: StoreRecord, *, ddl: bool) -> str:
        self._check_listener(record)
        if record.kind == "redis":
            password = self._password(record, redis.HEALTH_USER)
            redis.ready(record.port, redis.HEALTH_USER, password, _DEADLINE, self.log(record))
            return f"{record.name} {redis.version(self._valkey)}"
        server = self._server(record)
        postgres.ready(server, _DEADLINE, self.log(record))
        self._ensure_roles(record, self.app.name, ddl=ddl)
        return f"{record.name} {self._programs.version()}"

    def _check_listener(self, record: StoreRecord) -> None:
        """Refuse a store whose port another user of this machine has taken: they would be told its password."""
        own = self._account.uid if self._account else os.geteuid()
        waits.wait_until(lambda: network.accepts(record.port), _DEADLINE)
        if (who := network.listener(record.port)) not in (None, own):
            raise StoreError(
                f"port {record.port} is taken by a process of user {who}",
                where=f"store {record.name}",
                hint=f"end that process (`ss -ltnp sport = :{record.port}` as root shows it), then run this again",
            )

    def _ensure_roles(self, record: StoreRecord, database: str, *, ddl: bool) -> None:
        passwords = {r: self._password(record, r) for r in ("migrator", "app")}
        postgres.ensure(self._server(record), self.app.name, database, passwords, ddl=ddl)

    def _server(self, record: StoreRecord) -> postgres.Server:
        return postgres.Server(self._programs, record.port, self._password(record, "superuser"))

    def _password(self, record: StoreRecord, whose: str) -> str:
        return self._secrets.password(f"{record.name}/{whose}")
