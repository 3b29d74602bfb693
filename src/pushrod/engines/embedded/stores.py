"""The stores of an app on the embedded engine: servers of this machine under the supervisor."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from pushrod.adapters.binaries import Parts
from pushrod.core.errors import StoreError
from pushrod.core.values import Process, Service
from pushrod.engines.embedded import ports
from pushrod.engines.embedded.ports import StoreRecord, store_records
from pushrod.state.apps import App
from pushrod.state.secrets import Secrets
from pushrod.stores import registry
from pushrod.stores.backup_drivers import Archive
from pushrod.stores.kinds import Embedded, Endpoint, LocalStore, Server
from pushrod.system import accounts, files, network, waits

PRIORITY = 10  # the supervisor starts stores first and stops them last
_DEADLINE = 60.0  # seconds until a store must answer; includes recovery after a power cut


def group_of(app: App, store: str) -> str:
    """A store's group in the supervisor: one for each, so that a new one leaves the others alone.

    An app's name cannot contain `_`, so no release's group has this name.
    """
    return f"{app.name}_{store.replace('.', '-')}"


class Stores:
    """One app's stores. `endpoints` decides a store once; it lives until the app is destroyed."""

    def __init__(
        self,
        app: App,
        parts: Parts,
        account: accounts.Account | None,
        base: dict[str, str],
    ) -> None:
        self.app = app
        self._secrets = Secrets(app)
        self._parts = parts
        self._account = account
        self._base = base

    def endpoints(self, stores: Sequence[Service]) -> list[Endpoint]:
        """Ports and passwords of the stores; decided at first use, then kept forever."""
        with ports.choosing(self.app.root):
            records = [self._record(s) for s in stores]
        return [self._embedded(r).endpoint(self._local(r)) for r in records]

    def prepare(self, names: set[str]) -> list[tuple[Process, bool]]:
        """The supervisor's processes for each store, and whether its configuration has just changed.

        Creates missing data directories.
        """
        return [self._prepare(r) for r in store_records(self.app) if r.name in names]

    def locked_out(self, names: set[str]) -> list[StoreRecord]:
        """The existing clusters whose superuser password is lost."""
        records = [r for r in store_records(self.app) if r.kind == "postgres" and r.name in names]
        return [
            r
            for r in records
            if (self.app.stores / r.name / "data" / "PG_VERSION").exists()
            and not self._secrets.knows(f"{r.name}/superuser")
        ]

    def let_in(self, record: StoreRecord) -> None:
        """Set a new superuser password in a stopped cluster; stored once it is set."""
        from pushrod.adapters import postgres

        password, data = self._secrets.new_password(), self.app.stores / record.name / "data"
        postgres.set_password(postgres.Programs(self._parts.postgres), data, password, self._account)
        self._secrets.remember({f"{record.name}/superuser": password})

    def ensure(self, names: set[str], *, ddl: bool) -> str:
        """Wait until each store answers, and ensure its roles, database and rights."""
        return ", ".join(self._ensure(r, ddl=ddl) for r in store_records(self.app) if r.name in names)

    def schema(self, names: set[str]) -> str:
        """A digest of the schemas of the stores."""
        return "".join(server.schema() for server in self._servers(names))

    def waits(self, names: set[str]) -> list[str]:
        """What the release command waits for, one sentence for each session."""
        return [blocker for server in self._servers(names) for blocker in server.waits()]

    def end_migrations(self, names: set[str], since: str) -> None:
        """End what a release command has left behind since a time (ISO 8601)."""
        for server in self._servers(names):
            server.end_migrations(since)

    def archives(self, names: set[str], *, ddl: bool) -> list[Archive]:
        """What can be backed up of each store."""
        drivers = (server.archive(ddl=ddl) for server in self._servers(names))
        return [archive for archive in drivers if archive is not None]

    def log(self, record: StoreRecord) -> Path:
        """A store's log."""
        return self.app.logs / "stores" / f"{record.name}.log"

    def _record(self, store: Service) -> StoreRecord:
        records = store_records(self.app)
        for record in records:
            if record.name == store.name:
                return record
        if store.store is None:
            raise AssertionError("manifest.read accepts only known kinds of stores")
        if len(records) >= ports.MOST_STORES:
            raise StoreError(
                f"an app has at most {ports.MOST_STORES} stores here, including stores that no release uses any more",
                where=f"services.{store.name}",
                hint="create another app for it",
            )
        record = StoreRecord(store.name, store.store, ports.free(self.app.root, ports.STORES))
        encoded = msgspec.json.format(msgspec.json.encode([*records, record]), indent=2)
        files.write(self.app.stores / "stores.json", encoded)
        return record

    def _prepare(self, record: StoreRecord) -> tuple[Process, bool]:
        directory = files.make_open(self.app.stores / record.name)
        embedded = self._embedded(record)
        argv, changed = embedded.prepare(self._local(record))
        process = Process(
            group=group_of(self.app, record.name),
            name=record.name,
            argv=argv,
            cwd=str(directory),
            environment=self._base,
            log=str(self.log(record)),
            priority=PRIORITY,
            stop_signal=embedded.stop_signal,
            stop_grace=60,
            death_signal=embedded.stop_signal,
        )
        return process, changed

    def _ensure(self, record: StoreRecord, *, ddl: bool) -> str:
        self._check_listener(record)
        embedded, local = self._embedded(record), self._local(record)
        version = embedded.ready(local, _DEADLINE)
        remark = embedded.server(local).ensure(ddl=ddl)
        return f"{record.name} {version}" + (f", {remark}" if remark else "")

    def _check_listener(self, record: StoreRecord) -> None:
        """Refuse a store whose port another user of this machine has taken: that user would receive its password."""
        own = self._account.uid if self._account else os.geteuid()
        waits.wait_until(lambda: network.accepts(record.port), _DEADLINE)
        if (user := network.listener(record.port)) not in (None, own):
            raise StoreError(
                f"port {record.port} is taken by a process of user {user}",
                where=f"store {record.name}",
                hint=f"end that process (`ss -ltnp sport = :{record.port}` as root shows it), then run this again",
            )

    def _servers(self, names: set[str]) -> Iterator[Server]:
        for record in store_records(self.app):
            if record.name in names:
                yield self._embedded(record).server(self._local(record))

    def _embedded(self, record: StoreRecord) -> Embedded:
        if (embedded := registry.of(record.kind).embedded()) is None:
            raise AssertionError("manifest.read accepts only kinds that the engine runs")
        return embedded

    def _local(self, record: StoreRecord) -> LocalStore:
        return LocalStore(
            app=self.app.name,
            name=record.name,
            port=record.port,
            directory=self.app.stores / record.name,
            log=self.log(record),
            parts=self._parts,
            account=self._account,
            password=lambda whose: self._secrets.password(f"{record.name}/{whose}"),
        )
