"""A kind of store: everything that differs by kind, as one value. `registry` lists them.

A kind is used three times: when a manifest is read (its images, notes), when a release is sealed (the store's
environment, its address for the app), and while the store runs, as a `Server`. Methods that a kind does not override
apply to a store of unknown kind: it runs as it is, and pushrod never speaks to it.

Most commands only need the list of kinds. So a kind's module imports the code that speaks to a running store, its
driver, only in the methods that need it.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from pushrod.core.values import Service, StoreKind, Value
from pushrod.stores.backup_drivers import Archive
from pushrod.system.accounts import Account

if TYPE_CHECKING:
    from pushrod.adapters.binaries import Parts
    from pushrod.stores.administration import Administration, Inspection

Password = Callable[[str], str]
"""A store's passwords, by role. Each is generated at first use, and kept."""


class Endpoint(Value, frozen=True):
    """The address of a store for this app. `url` is for its instances, `migrating_url` for the release command.

    With `adopts`, an address in the manifest with the store's name, or one of its `aliases`, as its host becomes this
    one. With `spring`, it is also set in the variables of Spring Boot.
    """

    store: str
    kind: StoreKind
    url: str
    migrating_url: str
    adopts: bool = True
    spring: bool = True
    aliases: tuple[str, ...] = ()

    def is_at(self, *hosts: str | None) -> bool:
        """Whether one of these is a name of the store."""
        names = {name.lower() for name in (self.store, *self.aliases)}
        return any(host is not None and host.lower() in names for host in hosts)


class Tuning(NamedTuple):
    """What decides a server's settings: the instances of one release of the app, what the manifest overrides, and the
    memory it may use in bytes (0: as much as is usual on this machine). `profile` is that of the manifest.
    """

    instances: int = 0
    overrides: Mapping[str, str] = {}
    memory: int = 0
    profile: str = ""


class ContainerStore(NamedTuple):
    """An app's store in its container; `service` has the environment that it runs with. `notes` is a file in which
    its driver may keep what it has changed; `logins` are the roles by which instances log in, that of new ones first.
    `memory` is the container's limit in bytes (0: none); None if it has not been asked for.
    """

    app: str
    service: Service
    container: str
    password: Password
    notes: Path = Path()
    logins: tuple[str, ...] = ("app",)
    memory: int | None = None


class Access(NamedTuple):
    """How the manifest says that clients reach a store: its port, and the user with a password that its image would
    create. `password` None means no such user; empty, that none is needed. `database` empty is the app's name.
    """

    port: int
    user: str = ""
    database: str = ""
    password: str | None = None


class Figures(NamedTuple):
    """How an exporter of figures for Prometheus reaches a store: its port, and a user who may read nothing else."""

    port: int
    user: str


class LocalStore(NamedTuple):
    """An app's store as a process of this machine: the path of its files, and the account it runs as. `user` and
    `given` are the manifest's own user and password, `given` None if there are none.
    """

    app: str
    name: str
    port: int
    directory: Path
    log: Path
    parts: "Parts"
    account: Account | None
    password: Password
    address: str = "127.0.0.1"
    user: str = ""
    database: str = ""
    given: str | None = None
    tuning: Tuning = Tuning()
    logins: tuple[str, ...] = ("app",)


class Server:
    """A running store that can be queried. Every method may raise StoreError."""

    def ensure(self, *, ddl: bool) -> str:
        """Ensure the app's roles and its database; with `ddl` the app's own role may change the schema. Returns a
        remark, empty if there is none.
        """
        return ""

    def tune(self, tuning: Tuning) -> Sequence[str]:
        """Give the server its settings; returns those that it takes only when it starts next."""
        return ()

    def settle(self, tuning: Tuning, *, ddl: bool) -> tuple[str, Sequence[str]]:
        """`ensure`, then `tune`; a kind may ask in one query what both need, because each costs a client's start."""
        return self.ensure(ddl=ddl), self.tune(tuning)

    def waiting(self, tuning: Tuning) -> Sequence[str]:
        """The settings that it would take only when it starts next; changes nothing."""
        return ()

    def schema(self, *, mark: str = "", ending: str = "") -> str:
        """A digest of the database's schema, which shows whether a release command migrated.

        In the same query, because each costs a client's start: with `mark`, first name this moment in the write-ahead
        log, so that the data can be restored to it; with `ending`, a time (ISO 8601), first `end_migrations`.
        """
        return ""

    def waits(self) -> Sequence[str]:
        """What the release command waits for, one sentence for each session."""
        return ()

    def end_migrations(self, since: str) -> None:
        """End what a release command has left behind since a time (ISO 8601)."""

    def archive(self, *, ddl: bool) -> Archive | None:
        """What can be backed up; None if pushrod cannot query the store."""
        return None

    @property
    def rotates(self) -> bool:
        """Whether the passwords of its roles can be rotated."""
        return False

    def replacements(self, before: str, new: str) -> Mapping[str, str]:
        """What replaces the role `before` and its password by `new` in a sealed environment: texts, in order."""
        return {}

    def administration(self) -> "Administration | None":
        """What an administrator can do with its database; None if pushrod has no tools for its kind."""
        return None

    def inspection(self) -> "Inspection | None":
        """What an administrator can do with a store of keys and values; None as for `administration`."""
        return None

    def taken(self) -> int | None:
        """The bytes that its data takes, by its own count; None if pushrod cannot query it."""
        return None

    def watch(self, password: str) -> Figures | None:
        """Ensure the user with which an exporter reads figures; None if there is no exporter for its kind."""
        return None

    def unwatch(self) -> None:
        """Remove that user, if there is one."""


class Embedded(Protocol):
    """How the embedded engine runs a kind of store. `configured` is its configuration file, and a pattern of the line
    with its port.
    """

    stop_signal: str
    configured: tuple[str, str]

    def endpoint(self, store: LocalStore) -> Endpoint:
        """Its address for the app."""

    def prepare(self, store: LocalStore) -> tuple[tuple[str, ...], bool]:
        """Create its data directory and configuration; returns the server's argv, and whether the configuration
        changed.
        """

    def lost(self, store: LocalStore, knows: Callable[[str], bool]) -> str:
        """The role whose password is lost and must be set in the stopped store; empty if there is none. `knows` says
        whether the password of a role is known.
        """

    def set_password(self, store: LocalStore, role: str, password: str) -> None:
        """Set a role's password in the stopped store."""

    def ready(self, store: LocalStore, deadline: float) -> str:
        """Wait until it answers; returns the server's version. Raises StoreError after `deadline` seconds."""

    def server(self, store: LocalStore) -> Server:
        """The running store."""


class Kind:
    """One kind of store.

    `title` is its name for people. `images` maps the last parts of its images' names to their products; `extensions`
    are features of some of them that the embedded engine lacks. `variable` contains the address of the first such
    store; a service with one of the `usual` names counts as the first. `spring` are the variables of Spring Boot,
    beginning with that of the address, and `jdbc` is the prefix of such addresses. With `numbered` an address ends in
    the number of a database, which stays as written. `servers` are the names of its servers' programs, and
    `lock_timeout` is part of the message if a statement got no lock in time. `keys` are those of `x-pushrod` that
    only some kinds have. With `embeddable` the embedded engine can run it, and with `first_scripts` also the SQL
    files that its image would run at first. `exporter` is the job of its figures in Prometheus; empty if there is no
    exporter.
    """

    name: StoreKind = ""
    title: str = ""
    images: Mapping[str, str] = {}
    extensions: Mapping[str, str] = {}
    variable: str = ""
    usual: tuple[str, ...] = ()
    spring: tuple[str, ...] = ()
    jdbc: tuple[str, ...] = ()
    numbered: bool = False
    servers: tuple[str, ...] = ()
    lock_timeout: str = ""
    keys: tuple[str, ...] = ()
    embeddable: bool = False
    exporter: str = ""
    first_scripts: bool = False

    # ---- when a manifest is read ------------------------------------------------------------------------------

    def period(self, store: Service) -> Literal["day", "never"]:
        """How often it is backed up by default."""
        return "never"

    def remark(self, store: Service) -> str:
        """A note about such a store on Docker; empty if there is none."""
        return ""

    # ---- when a release is sealed -----------------------------------------------------------------------------

    def environment(self, store: Service, app: str, password: Password) -> dict[str, str]:
        """The environment of its container."""
        return {name: value for name, value in store.environment.items() if value is not None}

    def first_environment(self, store: Service) -> dict[str, str]:
        """What its container has in addition if it creates its data: it is not added to one that exists already."""
        return {}

    def first_command(self, store: Service, memory: int, before: Sequence[str] | None) -> list[str]:
        """The arguments for its image's own command; empty for none. `memory` is the container's limit in bytes, and
        `before` the command of the container that exists (None: there is none).
        """
        return []

    def exported_command(self, store: Service, memory: int) -> list[str]:
        """The same for a container that pushrod does not reach: it gets the settings of the manifest here."""
        return self.first_command(store, memory, None)

    def overrides(self, store: Service) -> dict[str, str]:
        """The settings in its command that the embedded engine, which runs another command, takes over."""
        return {}

    def endpoint(
        self, store: Service, app: str, password: Password, *, ours: bool, login: str = "app"
    ) -> Endpoint | None:
        """The address of its container for the app, None if pushrod does not know it. `ours` comes from the
        manifest; `login` is the role of its instances.
        """
        return None

    def place(self, store: Service) -> tuple[int, str]:
        """Where a container of its image listens, and the directory of its data; 0 and empty if unknown."""
        return store.port, ""

    def scripts(
        self, store: Service, app: str, password: Password, *, ddl: bool, login: str = "app"
    ) -> dict[str, str]:
        """Scripts by which its image itself makes the app's roles and database when it creates its data, by name;
        `ddl` and `login` are as for `ensure` and `endpoint`. For a container that pushrod does not reach.
        """
        return {}

    def users(self, app: str) -> Mapping[str, str]:
        """The users in such addresses, each with the role that its password is kept for."""
        return {}

    def spring_variables(self, given: str, url: str) -> dict[str, str]:
        """The variables of Spring Boot for an address; `given` is the manifest's address, or empty."""
        return {}

    def check(self, store: Service) -> list[str]:
        """The test of a health check for a container that has none, in Compose's form."""
        return []

    # ---- while its container runs -----------------------------------------------------------------------------

    def series(self, store: Service, image: Mapping[str, str]) -> str:
        """The version series of an image's data, from its environment: `PostgreSQL 17`. Empty if unknown."""
        return ""

    def upgrade_hint(self, before: str, after: str) -> str:
        """What to do if a manifest names the series `after` for data of `before`; empty if the data cannot be
        upgraded.
        """
        return ""

    def answers(self, store: ContainerStore) -> bool:
        """Whether it accepts connections: by default, whether it runs and is not unhealthy."""
        from pushrod.adapters import docker

        containers = docker.inspect([store.container])
        return bool(containers) and containers[0].running and containers[0].health in ("", "healthy")

    def server(self, store: ContainerStore) -> Server:
        """The running store."""
        return Server()

    # ---- while the embedded engine runs it --------------------------------------------------------------------

    def access(self, store: Service, app: str) -> Access:
        """How the manifest says that clients reach it."""
        return Access(store.port)

    def embedded(self) -> Embedded | None:
        """How the embedded engine runs it; None if it does not."""
        return None
