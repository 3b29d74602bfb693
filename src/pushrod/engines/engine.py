"""The narrow protocol between the pipeline and whatever runs services."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from pushrod.apps import App
from pushrod.configuration import Endpoint
from pushrod.gears.nginx import Edge
from pushrod.values import EngineName, Image, Instance, ProcessState, Release, Service

Say = Callable[[str], None]


class Engine(Protocol):
    """What the pipeline asks of an engine. Every call is idempotent: asked again, it finishes what is missing.

    Each may raise the PushrodError of its kind; none of them leaves a release half changed in a way that `stop`
    does not clean up.
    """

    name: EngineName

    @property
    def edge(self) -> Edge:
        """The machine's one nginx."""

    def open(self) -> None:
        """Make what the engine itself needs (its supervisor, the edge) run."""

    def store_versions(self) -> dict[str, str]:
        """The version this engine has of each kind of store, where it has only one."""

    def build(self, service: Service, checkout: Path, say: Say) -> Image:
        """Build a service's image from a checkout, or reuse it. `say` receives the output of long work."""

    def identify(self, service: Service, checkout: Path) -> str:
        """The identity `build` would give a service's image, without building it."""

    def endpoints(self, app: App, stores: Sequence[Service]) -> list[Endpoint]:
        """Where each store will be for this app; decided once, before it exists."""

    def place(self, services: Sequence[Service]) -> AbstractContextManager[tuple[Instance, ...]]:
        """The instances of a new release and their addresses, held until the release is sealed."""

    def ensure_stores(self, app: App, stores: Sequence[Service], *, ddl: bool) -> str:
        """Bring the stores up and prove them healthy; roles and databases ensured. Says what is there.

        `ddl` lets the app's own role change the schema, for a manifest without a release command.
        """

    def schema(self, app: App, stores: Sequence[Service]) -> str:
        """A digest of the databases' schemas, to tell whether a release command migrated."""

    def run(
        self,
        app: App,
        release: Release,
        service: Service,
        argv: Sequence[str],
        environment: dict[str, str],
        say: Say,
    ) -> int:
        """Run a one-shot program from a release's image; returns its exit status."""

    def start(self, app: App, release: Release, environments: dict[str, dict[str, str]]) -> None:
        """Start a release's instances beside whatever runs; does not wait for them."""

    def ready(self, app: App, release: Release) -> None:
        """Wait until every instance is healthy; ReadyError as soon as one cannot be any more."""

    def stop(self, app: App, number: int) -> None:
        """Stop a release's instances, each within its grace, and forget them."""

    def stop_stores(self, app: App) -> None:
        """Stop an app's stores in order; their data stays."""

    def states(self, app: App) -> list[ProcessState]:
        """What runs for an app now."""

    def log_files(self, app: App, service: str = "", release: int = 0) -> list[Path]:
        """The log files of an app's processes: of one service, of one release, also one that has failed."""

    def running(self, app: App) -> list[int]:
        """The releases of an app that have instances now."""

    def rest(self) -> None:
        """Stop the engine's own parts if no app of the root is up or being worked on."""

    def prune(self, app: App) -> None:
        """Remove what no kept release needs: images, logs."""
