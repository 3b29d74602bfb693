"""What a kind of store is: all that differs by it, as one value. `registry` has the list of them.

A kind is asked three times: when a manifest is read (which images are of it, what has to be said), when a release is
sealed (what the store runs with, where the app finds it), and while the store runs, as a `Server`. What a kind does
not override holds for a store of no known kind: it runs as it is, and pushrod never speaks to it.

Most commands only need to know which kinds there are. So a kind's module imports what speaks to a running store, its
driver, in the methods that need it.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from pushrod.core.values import Service, StoreKind, Value
from pushrod.stores.backup_drivers import Archive
from pushrod.system.accounts import Account

if TYPE_CHECKING:
    from pushrod.adapters.binaries import Parts

Password = Callable[[str], str]
"""A store's passwords, by whose they are. Each is made on first use, and kept."""


class Endpoint(Value, frozen=True):
    """Where a store is for this app. `url` is for its instances, `migrating_url` for the release command.

    With `adopts` an address in the manifest that has the store's name as its host becomes this one. With `spring` it
    is also told in the variables of Spring Boot.
    """

    store: str
    kind: StoreKind
    url: str
    migrating_url: str
    adopts: bool = True
    spring: bool = True


class ContainerStore(NamedTuple):
    """A store of an app in its container; `service` has the environment that it runs with."""

    app: str
    service: Service
    container: str
    password: Password


class LocalStore(NamedTuple):
    """A store of an app as a process of this machine: where its files are, and as whom it runs."""

    app: str
    name: str
    port: int
    directory: Path
    log: Path
    parts: "Parts"
    account: Account | None
    password: Password


class Server:
    """A running store, as it is asked. Everything here may raise StoreError."""

    def ensure(self, *, ddl: bool) -> str:
        """Make the app's roles and its database what they should be; with `ddl` the app's own role changes the
        schema. Returns what has to be said of it, empty for nothing."""
        return ""

    def schema(self) -> str:
        """A digest of the database's schema, to tell whether a release command migrated."""
        return ""

    def waits(self) -> Sequence[str]:
        """Whom the release command waits for, one sentence for each."""
        return ()

    def end_migrations(self, since: str) -> None:
        """End what a release command that began at a time (ISO 8601) has left behind."""

    def archive(self, *, ddl: bool) -> Archive | None:
        """What is backed up of it; None where pushrod cannot ask it."""
        return None


class Embedded(Protocol):
    """How the embedded engine runs a kind of store."""

    stop_signal: str

    def endpoint(self, store: LocalStore) -> Endpoint:
        """Where the app finds it."""

    def prepare(self, store: LocalStore) -> tuple[tuple[str, ...], bool]:
        """Its data directory and configuration as they should be; the server's argv, and whether they changed."""

    def ready(self, store: LocalStore, deadline: float) -> str:
        """Wait until it answers; the server's version. StoreError after `deadline` seconds."""

    def server(self, store: LocalStore) -> Server:
        """The running store."""


class Kind:
    """One kind of store.

    `title` is what people call it. `images` are the last parts of the names of its images, each with its product;
    `extensions` is what some of them are chosen for and the embedded engine lacks. `variable` has the address of the
    first such store; a service with one of the `usual` names is taken for the first. `spring` are the variables of
    Spring Boot, that of the address first, and `jdbc` is how such addresses begin. With `numbered` an address ends in
    the number of a database, which stays as it is written. With `embeddable` the embedded engine runs it.
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
    embeddable: bool = False

    # ---- when a manifest is read ------------------------------------------------------------------------------

    def period(self, store: Service) -> Literal["day", "never"]:
        """How often it is backed up where the manifest says nothing."""
        return "never"

    def remark(self, store: Service) -> str:
        """What is said of such a store on Docker; empty for nothing."""
        return ""

    # ---- when a release is sealed -----------------------------------------------------------------------------

    def environment(self, store: Service, app: str, password: Password) -> dict[str, str]:
        """What its container runs with."""
        return {name: value for name, value in store.environment.items() if value is not None}

    def endpoint(self, store: Service, app: str, password: Password, *, ours: bool) -> Endpoint | None:
        """Where the app finds its container, None where pushrod cannot tell. `ours` is the manifest's."""
        return None

    def spring_variables(self, given: str, url: str) -> dict[str, str]:
        """What Spring Boot is told of an address; `given` is the one that the manifest has, or nothing."""
        return {}

    def check(self, store: Service) -> list[str]:
        """The test of a health check for a container that has none, as Compose writes it."""
        return []

    # ---- while its container runs -----------------------------------------------------------------------------

    def series(self, store: Service, image: Mapping[str, str]) -> str:
        """Of an image, by its environment, which data it can have: `PostgreSQL 17`. Empty where it does not say."""
        return ""

    def answers(self, store: ContainerStore) -> bool:
        """Whether it takes connections: here, whether it runs, and does not say that it is not well."""
        from pushrod.adapters import docker

        found = docker.inspect([store.container])
        return bool(found) and found[0].running and found[0].health in ("", "healthy")

    def server(self, store: ContainerStore) -> Server:
        """The running store."""
        return Server()

    # ---- while the embedded engine runs it --------------------------------------------------------------------

    def embedded(self) -> Embedded | None:
        """How the embedded engine runs it; None if it does not."""
        return None
