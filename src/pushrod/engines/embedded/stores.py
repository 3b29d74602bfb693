"""The stores of an app on the embedded engine: servers of this machine under the supervisor."""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pushrod.adapters.binaries import Parts
from pushrod.core.errors import StoreError
from pushrod.core.processes import Process
from pushrod.core.values import Manifest, Service, StoreKind
from pushrod.engines.embedded import ports
from pushrod.engines.embedded.ports import StoreRecord, store_records
from pushrod.state.apps import App
from pushrod.state.secrets import Secrets
from pushrod.stores import registry
from pushrod.stores.backup_drivers import Archive
from pushrod.stores.kinds import Embedded, Endpoint, LocalStore, Server, Tuning
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
            records = [self._remember(self._record(s), s) for s in stores]
        endpoints = [self._embedded(r).endpoint(self._local(r)) for r in records]
        aliases = {s.name: s.aliases for s in stores}
        return [msgspec.structs.replace(e, aliases=aliases[e.store]) for e in endpoints]

    def prepare(self, stores: Sequence[Service], services: Sequence[Service]) -> list[tuple[Process, bool]]:
        """The supervisor's processes for each store, and whether its configuration has just changed.

        Creates missing data directories.
        """
        tunings = {s.name: self.tuning(services, s) for s in stores}
        return [self._prepare(r, tunings[r.name]) for r in store_records(self.app) if r.name in tunings]

    def locked_out(self, names: set[str]) -> dict[StoreRecord, str]:
        """The existing stores with a lost password that pushrod cannot do without, each with its role."""
        lost = {r: self._lost(r) for r in store_records(self.app) if r.name in names}
        return {record: role for record, role in lost.items() if role}

    def _lost(self, record: StoreRecord) -> str:
        return self._embedded(record).lost(
            self._local(record), lambda role: self._secrets.knows(f"{record.name}/{role}")
        )

    def let_in(self, record: StoreRecord, role: str) -> None:
        """Set a new password of a role in a stopped store; remembered once it is set."""
        password = self._secrets.new_password()
        self._embedded(record).set_password(self._local(record), role, password)
        self._secrets.remember({f"{record.name}/{role}": password})

    def ensure(self, stores: Sequence[Service], services: Sequence[Service], *, ddl: bool) -> str:
        """Wait until each store answers, and ensure its settings, roles, database and rights."""
        tunings = {s.name: self.tuning(services, s) for s in stores}
        records = [r for r in store_records(self.app) if r.name in tunings]
        return ", ".join(self._ensure(r, tunings[r.name], ddl=ddl) for r in records)

    def wait(self, names: set[str]) -> None:
        """Wait until these accept connections. One that does not is reported by whoever needs it."""
        for record in store_records(self.app):
            if record.name in names:
                self._await_port(record)

    def waiting(self, manifest: Manifest) -> dict[str, Sequence[str]]:
        """The settings that each store would take only when it starts next."""
        servers = self.servers({s.name for s in manifest.stores})
        running = {s.name: s for s in manifest.stores if s.name in servers}
        return {
            name: servers[name].waiting(self.tuning(manifest.stateless, store))
            for name, store in running.items()
        }

    @staticmethod
    def tuning(services: Sequence[Service], store: Service) -> Tuning:
        """What decides the settings of a store of these services."""
        overrides = registry.of(store.store).overrides(store) | store.settings
        return Tuning(
            sum(s.replicas for s in services if s.role != "job"), overrides, store.memory, store.profile
        )

    def archives(self, names: set[str], *, ddl: bool) -> list[Archive]:
        """What can be backed up of each store."""
        drivers = (server.archive(ddl=ddl) for server in self.servers(names).values())
        return [archive for archive in drivers if archive is not None]

    def servers(self, names: set[str]) -> dict[str, Server]:
        """The running servers of these stores, by name, without those whose password is lost: to ask one of these
        would make up a password, and hide that the old one is lost.
        """
        lost = self.locked_out(names)
        records = [r for r in store_records(self.app) if r.name in names and r not in lost]
        return {r.name: self._embedded(r).server(self._local(r)) for r in records}

    def local(self, name: str) -> LocalStore:
        """The store of that name, which exists. Raises StoreError otherwise."""
        for record in store_records(self.app):
            if record.name == name:
                return self._local(record)
        raise StoreError("there is no such store", where=f"store {name}", hint="`pushrod status` lists them")

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
        record = self._new_record(store, store.store)
        encoded = msgspec.json.format(msgspec.json.encode([*records, record]), indent=2)
        files.write(self.app.stores / "stores.json", encoded)
        return record

    def _new_record(self, store: Service, kind: StoreKind) -> StoreRecord:
        """A store with an address of its own and the port that the manifest gives it; with another port if another
        program of this machine has that one at every address.
        """
        access = registry.of(kind).access(store, self.app.name)
        address = ports.address(self.app.root)
        port = access.port
        if not network.port_is_free(port, address):
            port = ports.free(self.app.root, ports.STORES)
        return StoreRecord(store.name, kind, port, address, access.user, access.database)

    def _remember(self, record: StoreRecord, store: Service) -> StoreRecord:
        """Keep the password that the manifest gives a store; not for one that was created without an address.

        Whether a store needs none is settled when it starts: a release that runs may not need what the next one does.
        """
        if record.address != ports.SHARED:
            access = registry.of(record.kind).access(store, self.app.name)
            if access.password != "":
                self._secrets.set_given(record.name, access.password)
        return record

    def settle(self, stores: Sequence[Service], live: Sequence[Service]) -> None:
        """Let clients into stores without a password where these stores or those of the live release need it, and
        nowhere else.
        """
        for record in store_records(self.app):
            needs = [self._is_open(record, s) for s in (*stores, *live) if s.name == record.name]
            if any(needs):
                self._secrets.set_given(record.name, "")
            elif needs and self._secrets.given(record.name) == "":
                self._secrets.set_given(record.name, None)

    def _is_open(self, record: StoreRecord, store: Service) -> bool:
        if store.closed or record.address == ports.SHARED:
            return False
        return registry.of(record.kind).access(store, self.app.name).password == ""

    def _prepare(self, record: StoreRecord, tuning: Tuning) -> tuple[Process, bool]:
        directory = files.make_open(self.app.stores / record.name)
        ports.write_record(directory, record)
        embedded = self._embedded(record)
        argv, changed = embedded.prepare(self._local(record)._replace(tuning=tuning))
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

    def _ensure(self, record: StoreRecord, tuning: Tuning, *, ddl: bool) -> str:
        self._check_listener(record)
        embedded, local = self._embedded(record), self._local(record)
        version = embedded.ready(local, _DEADLINE)
        server = embedded.server(local)
        server.tune(tuning)
        remark = server.ensure(ddl=ddl)
        return f"{record.name} {version}" + (f", {remark}" if remark else "")

    def _check_listener(self, record: StoreRecord) -> None:
        """Refuse a store whose port another user of this machine has taken: that user would receive its password."""
        own = self._account.uid if self._account else os.geteuid()
        self._await_port(record)
        if (user := network.listener(record.port, address=record.address)) not in (None, own):
            raise StoreError(
                f"port {record.port} of {record.address} is taken by a process of user {user}",
                where=f"store {record.name}",
                hint=f"end that process (`ss -ltnp sport = :{record.port}` as root shows it), then run this again",
            )

    def _await_port(self, record: StoreRecord) -> None:
        waits.wait_until(lambda: network.accepts(record.port, record.address), _DEADLINE)

    def _embedded(self, record: StoreRecord) -> Embedded:
        return registry.embedded(record.kind)

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
            address=record.address,
            user=record.user,
            database=record.database,
            given=self._secrets.given(record.name),
            logins=self._secrets.logins(record.name),
        )
