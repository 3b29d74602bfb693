"""Code that speaks to a running PostgreSQL: its roles and database, its backups, and how the embedded engine runs
it.
"""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec
import psutil

from pushrod.adapters import postgres
from pushrod.adapters.logs import Log
from pushrod.adapters.postgres import settings
from pushrod.adapters.postgres import tuning as tuning_of
from pushrod.adapters.postgres.programs import environment
from pushrod.core.errors import StoreError
from pushrod.core.modules import later
from pushrod.core.values import Program
from pushrod.stores import shells
from pushrod.stores.administration import Administration, Imported, Login
from pushrod.stores.backup_drivers import Archive, Dumps
from pushrod.stores.kinds import ContainerStore, Endpoint, Figures, LocalStore, Password, Server, Tuning
from pushrod.system import files, processes
from pushrod.system.streams import Source

if TYPE_CHECKING:
    from pushrod.adapters.postgres import dumps, recovery, wal
else:
    dumps, recovery, wal = (later(f"pushrod.adapters.postgres.{n}") for n in ("dumps", "recovery", "wal"))

_PORT = 5432
_SUPERUSER = "superuser"  # the name of its password

Places = Callable[[], "AbstractContextManager[tuple[recovery.Place, str]]"]
"""Where a cluster is recovered, and the path of its directory there."""


class Client(Protocol):
    """How psql runs, with these words and variables."""

    def __call__(self, words: Sequence[str], variables: Mapping[str, str], *, terminal: bool) -> Program: ...


def _here(
    store: LocalStore, words: Sequence[str], variables: Mapping[str, str], *, terminal: bool
) -> Program:
    """psql beside the server's program, as the account of the app's processes."""
    programs = postgres.Programs(store.parts.postgres)
    given = shells.terminal_variables() if terminal else {}
    encrypted = {"PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}
    argv = processes.as_account([programs.psql, *words], store.account)
    return Program(tuple(argv), "/", environment() | encrypted | given | dict(variables))


class Place(NamedTuple):
    """The location of the app's database."""

    store: str
    port: int
    database: str
    host: str = "127.0.0.1"


def endpoint(place: Place, app: str, password: Password, *, adopts: bool, login: str = "app") -> Endpoint:
    """The addresses of the database for the app's own role and for the migrating role."""
    roles = postgres.Roles.of(app)

    def url(role: str, whose: str) -> str:
        return postgres.url(role, password(whose), place.port, place.database, host=place.host)

    own, migrating = url(getattr(roles, login), login), url(roles.migrator, "migrator")
    return Endpoint(place.store, "postgres", own, migrating, adopts)


def in_container(store: ContainerStore, database: str, user: str) -> Server:
    """The database on the server in a container, queried over its socket as `user`."""
    from pushrod.adapters import docker

    server = postgres.ContainerServer(store.container, user, docker.environment())
    place = Place(store.service.name, _PORT, database, host=store.service.name)
    client = functools.partial(shells.apart, store, "psql")

    def places() -> "AbstractContextManager[tuple[recovery.Place, str]]":
        (running,) = docker.inspect([store.container])
        name = f"{store.container}-recovery"
        limits = [f"--cgroup-parent={running.slice}"] if running.slice else []
        return recovery.container_place(name, running.image, user, docker.environment(), _removed, limits)

    connection = Connection(place, store.app, server, store.password, client, places, store.logins)
    return _Contained(connection, store)


def _removed(container: str) -> None:
    """Remove a place, but no app's container, which may have any name."""
    from pushrod.adapters import docker

    docker.remove([c.name for c in docker.inspect([container]) if docker.APP not in c.labels])


class Connection(NamedTuple):
    """The database of an app, and how it is reached: `server` as its superuser, `client` by people. `places` is where
    it is recovered, `logins` are the roles of instances, `login` is a role of the manifest's own and its password.
    """

    place: Place
    app: str
    server: postgres.Database
    password: Password
    client: Client
    places: Places
    logins: Sequence[str]
    login: tuple[str, str] | None = None


class Database(Server):
    """The app's database on a server, wherever that runs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._app, self._server, self._password = connection.app, connection.server, connection.password
        self._name = self.database = connection.place.database

    def ensure(self, *, ddl: bool) -> str:
        """The four roles, the database and the rights in it."""
        self._ensure(self._name, ddl=ddl)
        return ""

    def _ensure(self, database: str, *, ddl: bool) -> None:
        self._ensure_asking("", database, ddl=ddl)

    def _ensure_asking(self, question: str, database: str, *, ddl: bool) -> list[postgres.Row]:
        passwords = {whose: self._password(whose) for whose in (*postgres.LOGINS, *self._connection.logins)}
        login = self._connection.login
        return postgres.ensure(
            self._server, self._app, database, passwords, ddl=ddl, login=login, question=question
        )

    def schema(self, *, mark: str = "", ending: str = "") -> str:
        """From the catalogue; `mark` is for `recovery_target_name`."""
        first = (postgres.restore_point(mark) if mark else "") + (
            postgres.session_end(self._app, ending) if ending else ""
        )
        return postgres.schema_digest(self._server, self._name, first)

    def taken(self) -> int | None:
        """The app's database."""
        ((count,),) = self._server.query("select pg_database_size(current_database());", self._name)
        return int(count)

    def waits(self) -> Sequence[str]:
        """What the migrating role waits for."""
        return postgres.waiting(self._server, self._app)

    def end_migrations(self, since: str) -> None:
        """End the migrating role's sessions that were opened since then."""
        self._server.query(postgres.session_end(self._app, since))

    def archive(self, *, ddl: bool) -> Archive:
        """The database, dumped by pg_dump."""
        copy = self._copy(ddl=ddl)
        store = self._connection.place.store
        logged = _Logged(store, self._name, self._server, copy, self._connection.places)
        return Dumps(store, "dump", copy, logged)

    @property
    def rotates(self) -> bool:
        """Always: an app has two roles that log in, each with a password of its own."""
        return True

    def replacements(self, before: str, new: str) -> Mapping[str, str]:
        """In addresses, in those of JDBC, and in Spring's variables."""
        roles = postgres.Roles.of(self._app)
        old_role, new_role = getattr(roles, before), getattr(roles, new)
        old, password = self._password(before), self._password(new)
        texts = {
            f"{old_role}:{old}@": f"{new_role}:{password}@",
            f"user={old_role}&password={old}": f"user={new_role}&password={password}",
            f"user={old_role}\\u0026password={old}": f"user={new_role}\\u0026password={password}",
        }
        for sign in ('":"', '="'):  # Spring has the role in a variable of its own
            texts[f'USERNAME{sign}{old_role}"'] = f'USERNAME{sign}{new_role}"'
        return {**texts, old: password}

    def administration(self) -> Administration:
        """By PostgreSQL's own programs."""
        return self

    def shell(self, *, read_only: bool, terminal: bool) -> Program:
        """psql, outside the server: its commands can start programs, which must not be the superuser's neighbours."""
        whose = "readonly" if read_only else "migrator"
        role = getattr(postgres.Roles.of(self._app), whose)
        at = (
            f"--host={self._connection.place.host}",
            f"--port={self._connection.place.port}",
            f"--username={role}",
        )
        words = ("--no-password", f"--dbname={self._name}", *at)
        variables = {
            "PGPASSWORD": self._password(whose),
            "PGAPPNAME": "pushrod db shell",
            "PGCONNECT_TIMEOUT": "10",
        }
        return self._connection.client(words, variables, terminal=terminal)

    def login(self, *, write: bool) -> Login:
        """At the server's own address."""
        whose = "migrator" if write else "readonly"
        role = getattr(postgres.Roles.of(self._app), whose)
        place = self._connection.place
        return Login(place.host, place.port, self._name, role, self._password(whose))

    def size(self, most: int) -> postgres.Size:
        """From its catalogue."""
        return postgres.size(self._server, self._name, most)

    def statements(self, most: int) -> list[postgres.Statement]:
        """From pg_stat_statements."""
        return postgres.statements(self._server, self._name, most)

    def load(self, dump: Source, *, ddl: bool) -> Imported:
        """By pg_restore, as the migrating role."""
        role = postgres.Roles.of(self._app).migrator
        loader = self._server.as_role(role, self._password("migrator"))
        return Imported(*self._copy(ddl=ddl).load(dump, loader))

    def _copy(self, *, ddl: bool) -> "dumps.Copy":
        return dumps.Copy(self._server, self._name, functools.partial(self._ensure, ddl=ddl))


class _Logged:
    """The app's database, recovered to a point in time."""

    def __init__(
        self, store: str, database: str, server: postgres.Database, copy: "dumps.Copy", places: Places
    ) -> None:
        self.store = store
        self.log: Log = wal.Log(server, f"store {store}")
        self.add = copy.restore_as
        self._database = database
        self._places = places

    @contextlib.contextmanager
    def recovered(self, base: Path, log: Iterable[tuple[str, Path]], until: str) -> Iterator[Archive]:
        """In a cluster of its own, from which the database is dumped."""
        with self._places() as (place, directory):
            server = recovery.recover(place, base, log, until, directory)
            yield Dumps(self.store, "dump", dumps.Copy(server, self._database, lambda _: None))


class _Local(Database):
    """The app's database on this machine, whose configuration pushrod writes."""

    def __init__(self, connection: Connection, store: LocalStore) -> None:
        super().__init__(connection)
        self._local = store

    def waiting(self, tuning: Tuning) -> Sequence[str]:
        """By the configuration that would be written, and what the server itself waits for."""
        store = self._local
        written = postgres.waiting_settings(
            store.directory / "data", store.port, store.address, Cluster.settings(store, tuning)
        )
        with suppress(StoreError):  # it does not run: it will take all of them
            written += [name for (name,) in self._server.query(_PENDING)]
        return sorted({*written})


_RELOAD = """
select pg_reload_conf() where (pg_stat_file('postgresql.conf')).modification > pg_conf_load_time();
"""

_PENDING = "select name from pg_settings where pending_restart;"


class _Contained(Database):
    """The app's database in a container, whose image has its own configuration."""

    def __init__(self, connection: Connection, store: ContainerStore) -> None:
        super().__init__(connection)
        self._placed = store

    def login(self, *, write: bool) -> Login:
        """At the container's address in the app's network, which this machine alone reaches."""
        from pushrod.adapters import docker

        containers = docker.inspect([self._placed.container])
        address = containers[0].networks.get(self._app, "") if containers else ""
        if not address:
            raise StoreError(
                "the store does not run",
                where=f"container {self._placed.container}",
                hint="`pushrod status` shows why",
            )
        return msgspec.structs.replace(super().login(write=write), host=address)

    def watch(self, password: str) -> Figures | None:
        """As a role in pg_monitor."""
        name = postgres.monitor(self._app)
        if name == self._placed.service.environment.get("POSTGRES_USER"):
            raise StoreError("the manifest's superuser has the name of the exporter's role", where=name)
        postgres.ensure_monitor(self._server, self._app, password)
        return Figures(self._connection.place.port, name)

    def unwatch(self) -> None:
        """By its superuser."""
        if postgres.monitor(self._app) != self._placed.service.environment.get("POSTGRES_USER"):
            postgres.remove_monitor(self._server, self._app)

    def tune(self, tuning: Tuning) -> Sequence[str]:
        """By ALTER SYSTEM; what is set is noted first."""
        return self._tune(self._server.query(tuning_of.question()), tuning)

    def settle(self, tuning: Tuning, *, ddl: bool) -> tuple[str, Sequence[str]]:
        """In one query, if there is nothing to change: each costs a `docker exec`."""
        return "", self._tune(self._ensure_asking(tuning_of.question(), self._name, ddl=ddl), tuning)

    def _tune(self, answer: Sequence[postgres.Row], tuning: Tuning) -> Sequence[str]:
        change = self._difference(answer, tuning)
        if change.set or change.reset:
            files.make_private(self._placed.notes.parent)
            noted = tuning_of.remembered(self._noted(), change.set)
            files.write(self._placed.notes, msgspec.json.encode(noted), mode=0o600)
            tuning_of.apply(self._server, change)
        return change.waiting

    def waiting(self, tuning: Tuning) -> Sequence[str]:
        """By what has been set so far."""
        return self._difference(self._server.query(tuning_of.question()), tuning).waiting

    def _difference(self, answer: Sequence[postgres.Row], tuning: Tuning) -> tuning_of.Difference:
        memory = self._placed.memory
        if memory is None:
            from pushrod.adapters import docker

            memory = next((c.memory for c in docker.inspect([self._placed.container])), 0)
        complete = settings.complete(memory or usual_memory(), tuning.instances, tuning.overrides)
        return tuning_of.difference(answer, complete, self._noted())

    def _noted(self) -> tuning_of.Ours:
        """What pushrod has set; if the file is missing or damaged, everything counts as somebody else's."""
        with suppress(OSError, msgspec.MsgspecError):
            return msgspec.json.decode(self._placed.notes.read_bytes(), type=tuning_of.Ours)
        return {}


def usual_memory() -> int:
    """The bytes that a server without a limit of its own may use: an eighth of the machine's, 256 MB to 1 GB, because
    it shares the machine with its app and with other apps.
    """
    return min(max(psutil.virtual_memory().total // 8, 256 << 20), 1 << 30)


class Cluster:
    """One cluster for each store."""

    stop_signal = postgres.STOP_SIGNAL
    configured = ("data/postgresql.conf", r"^port = (\d+)$")

    def endpoint(self, store: LocalStore) -> Endpoint:
        """On its port of this machine."""
        place = Place(store.name, store.port, store.database or store.app, store.address)
        return endpoint(place, store.app, store.password, adopts=True, login=store.logins[0])

    def prepare(self, store: LocalStore) -> tuple[tuple[str, ...], bool]:
        """Create the cluster if it is missing, and write its configuration."""
        programs, data = postgres.Programs(store.parts.postgres), store.directory / "data"
        superuser = self.superuser(store)
        postgres.initialise(programs, data, store.password(_SUPERUSER), store.account, superuser)
        changed = postgres.configure(
            data, store.port, store.address, superuser, self.settings(store, store.tuning)
        )
        return postgres.server_argv(programs, data), changed

    def lost(self, store: LocalStore, knows: Callable[[str], bool]) -> str:
        """The superuser of an existing cluster."""
        exists = (store.directory / "data" / "PG_VERSION").exists()
        return _SUPERUSER if exists and not knows(_SUPERUSER) else ""

    def set_password(self, store: LocalStore, role: str, password: str) -> None:
        """That of the superuser, in single-user mode."""
        programs, data = postgres.Programs(store.parts.postgres), store.directory / "data"
        postgres.set_password(programs, data, password, store.account, self.superuser(store))

    def ready(self, store: LocalStore, deadline: float) -> str:
        """Until it answers, and reads its configuration if that has changed since."""
        server = self._server(store)
        postgres.ready(server, deadline, store.log, _RELOAD)
        return server.programs.version()

    def server(self, store: LocalStore) -> Server:
        """Queried over TCP, as its superuser."""
        place = Place(store.name, store.port, store.database or store.app, store.address)
        login = (store.user, store.given) if store.user and store.given else None
        server, client = self._server(store), functools.partial(_here, store)

        def places() -> "AbstractContextManager[tuple[recovery.Place, str]]":
            at = store.directory / "recovery"
            return recovery.local_place(server.programs, at, store.account, self.superuser(store))

        connection = Connection(place, store.app, server, store.password, client, places, store.logins, login)
        return _Local(connection, store)

    @staticmethod
    def settings(store: LocalStore, tuning: Tuning) -> dict[str, str]:
        """Those that depend on memory and manifest, as far as this version has them."""
        programs = postgres.Programs(store.parts.postgres)
        complete = settings.complete(tuning.memory or usual_memory(), tuning.instances, tuning.overrides)
        if programs.has_library(postgres.LIBRARY):
            complete["shared_preload_libraries"] = postgres.LIBRARY
        return settings.known(complete, int(programs.major()))

    @staticmethod
    def superuser(store: LocalStore) -> str:
        """The name of pushrod's own superuser; `postgres` if that is not the manifest's user."""
        return "pushrod" if store.user == postgres.SUPERUSER else postgres.SUPERUSER

    def _server(self, store: LocalStore) -> postgres.Server:
        return postgres.Server(
            postgres.Programs(store.parts.postgres),
            store.port,
            store.password(_SUPERUSER),
            store.address,
            self.superuser(store),
        )
