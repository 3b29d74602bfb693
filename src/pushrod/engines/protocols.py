"""The narrow protocols between the pipeline and whatever runs services: an engine is one part for each concern.

Every call is idempotent: asked again, it finishes what is missing. Each may raise the PushrodError of its kind; none
of them leaves a release half changed in a way that `Runtime.stop` does not clean up.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pushrod.core.errors import PushrodError
from pushrod.core.plan import Change, Need
from pushrod.core.traits import EngineTraits
from pushrod.core.values import (
    Diagnostic,
    Image,
    Line,
    Manifest,
    Placement,
    ProcessState,
    Program,
    Release,
    Service,
)
from pushrod.ingress.protocol import Ingress
from pushrod.state.apps import App, Root
from pushrod.stores.backup_drivers import Archive
from pushrod.stores.kinds import Endpoint

if TYPE_CHECKING:
    from pushrod.manifest import policy

Say = Callable[[str], None]
Document = Mapping[str, Any]


class Platform(Protocol):
    """The engine's own parts, and what they let an app be."""

    def open(self) -> None:
        """Make what the engine itself needs (its supervisor, the front gate) run."""

    def start_at_boot(self, enabled: bool) -> str:
        """Have the operating system start the engine and its apps at boot, or no longer; returns the unit that does.

        Raises HostError if that is not possible here.
        """

    def stop_if_idle(self) -> None:
        """Stop the engine's own parts, where it started them, if no app of the root is up or being worked on."""

    def examine(self) -> Iterator[Diagnostic]:
        """Look at the engine's own parts and the front gate, for `pushrod doctor`; changes nothing."""

    def check_name(self, name: str) -> None:
        """Refuse, as UnknownNameError, a name that a new app must not have on this engine."""

    def choose_port(self, port: int = 0) -> AbstractContextManager[int]:
        """A port at the front gate for an app, held until it is written down; 0 leaves the choice to the engine.

        Raises HostError if it cannot be had.
        """

    def terms(self, app: App, checkout: Path) -> "policy.Terms":
        """What an app may ask for on this engine and this machine."""

    def check(self, app: App, document: Document, manifest: Manifest, checkout: Path) -> None:
        """Refuse, as ManifestError or BuildError, what this engine must not or cannot run for this app."""

    def explain(self, app: App, error: PushrodError) -> None:
        """Add to the hint of an error of the app's own programs what this engine keeps from them."""


class Images(Protocol):
    """What services run from."""

    def needed(self, manifest: Manifest) -> Sequence[Service]:
        """The services whose images this engine builds or fetches."""

    def build(self, app: App, commit: str, service: Service, checkout: Path, say: Say) -> Image:
        """Build or fetch a service's image, or reuse it. `say` receives the output of long work."""

    def identify(self, app: App, commit: str, service: Service, checkout: Path) -> str:
        """The identity `build` would give a service's image, without building it; empty where only building tells."""

    def preview(
        self, app: App, commit: str, document: Document, manifest: Manifest, checkout: Path
    ) -> tuple[list[Change], list[Need]]:
        """What deploying will do to images and stores, and what it takes of the machine, where that can be told."""

    def notes(
        self,
        app: App,
        document: Document,
        manifest: Manifest,
        checkout: Path,
        images: Mapping[str, str],
    ) -> Sequence[str]:
        """What services seem to need and this engine does not give them. `images` are the names of those of their
        images that may be there."""


class Resources(Protocol):
    """What releases and apps take of the machine besides processes, and give back."""

    def place(
        self, app: App, number: int, manifest: Manifest, images: Mapping[str, Image]
    ) -> AbstractContextManager[Placement]:
        """The instances of a new release and their addresses, held until the release is sealed."""

    def render(self, app: App, release: Release, document: Document, manifest: Manifest) -> dict[str, str]:
        """The plain files that are sealed beside `release.json`, by name. They hold no values of secrets."""

    def excess(self, app: App, older: Sequence[Release], live: Release) -> int:
        """How many of the older kept releases, the oldest first, must go so that an app holds no more than its share
        of what all apps have together, with room for its next release."""

    def remove_unused(self, app: App) -> None:
        """Remove the app's images and logs that no kept release needs."""

    def remove_stale_builds(self) -> list[PushrodError]:
        """Remove what builds of any app have left, and none has used for long; the errors of those that failed."""

    def remove_release_volumes(self, app: App, number: int) -> None:
        """Remove the volumes that were made for a release which was never live."""

    def remove_directory(self, app: App, directory: Path) -> None:
        """Remove a directory of an app and all below it, also what its instances have left there."""

    def remove_app(self, app: App) -> None:
        """Remove what the engine keeps of an app that is down outside the app's own directory, its data too."""


class Runtime(Protocol):
    """The instances of releases."""

    def start(self, app: App, release: Release, environments: dict[str, dict[str, str]]) -> None:
        """Start a release's instances beside whatever runs; does not wait for them."""

    def ready(self, app: App, release: Release) -> Sequence[str]:
        """Wait until every instance is healthy; ReadyError as soon as one cannot be any more. Returns notes."""

    def stop(self, app: App, number: int) -> Sequence[str]:
        """Stop a release's instances, each within its grace, and forget them. Returns notes, as others that stop."""

    def stop_instances(self, app: App, release: Release, instances: Collection[str]) -> Sequence[str]:
        """Stop some of a release's instances, each within its grace. The rest goes on; `start` starts them again."""

    def workers(self, app: App, release: Release) -> Collection[str]:
        """Those of a release's running instances that answer nobody: of no service that requests go to, and with no
        TCP port open to others."""

    def running(self, app: App) -> list[int]:
        """The releases of an app that have instances now."""

    def states(self, app: App) -> list[ProcessState]:
        """What runs for an app now."""

    def logs(
        self, app: App, service: str = "", release: int = 0, *, lines: int = 50, follow: bool = False
    ) -> Iterator[Line]:
        """The last `lines` of each of an app's processes: of one service, of one release, also one that has failed.

        With `follow` it goes on with what is written from then on, by new releases too, and does not end.
        Raises UnknownNameError where there is no such process.
        """

    def set_autostart(self, app: App, enabled: bool) -> bool:
        """Have the app's live release come back when the machine starts, or not; returns whether that is a change."""


class Programs(Protocol):
    """Programs that run once, from a release's images."""

    def run(
        self,
        app: App,
        release: Release,
        service: Service,
        argv: Sequence[str],
        environment: dict[str, str],
        say: Say,
    ) -> int:
        """Run a program to its end, by default (no argv) the image's own; its exit status. `say` gets its output."""

    def run_program(
        self, app: App, release: Release, service: Service, argv: Sequence[str], environment: dict[str, str]
    ) -> Program:
        """How a program is run apart from the instances, on the user's terminal."""

    def exec(
        self, app: App, release: Release, service: Service, argv: Sequence[str], environment: dict[str, str]
    ) -> Program:
        """How a program is run where an instance of a service runs, on the user's terminal."""

    def has_environment(self, app: App, release: Release) -> bool:
        """Whether the files exist in which this engine gives programs a release's environment."""

    def write_environment(self, app: App, release: Release, manifest: Manifest) -> None:
        """Write those files again, from the sealed environment."""


class Stores(Protocol):
    """The stores of apps: their servers, roles, databases and data."""

    def versions(self) -> dict[str, str]:
        """The version this engine has of each kind of store, where it has only one."""

    def at(self, app: App, host: str, port: int) -> str:
        """The name of the app's store at an address; empty if the address is another server's."""

    def endpoints(self, app: App, manifest: Manifest) -> list[Endpoint]:
        """Where each store will be for this app; decided once, before it exists."""

    def ensure(self, app: App, release: Release, *, ddl: bool) -> str:
        """Bring a release's stores up and prove them healthy; roles and databases ensured. Says what is there.

        `ddl` lets the app's own role change the schema, for a manifest without a release command.
        """

    def schema(self, app: App, stores: Sequence[Service]) -> str:
        """A digest of the databases' schemas, to tell whether a release command migrated."""

    def blockers(self, app: App, stores: Sequence[Service]) -> Sequence[str]:
        """Which sessions the release command waits for in the app's databases, one sentence for each."""

    def end_migrations(self, app: App, stores: Sequence[Service], since: str) -> None:
        """End what a release command that began at a time (ISO 8601) has left behind in the app's databases."""

    def archives(self, app: App, release: Release, *, ddl: bool) -> Sequence[Archive]:
        """What can be backed up of a release's stores, which have to run. `ddl` is as for `ensure`."""

    def restore(self, app: App, release: Release | None, failed: int, *, running: bool) -> None:
        """Take back what a release that has failed has made or changed besides its instances, which are stopped.

        The stores are again what they are in `release`, the live one (None: nothing is), and run if it is `running`.
        """

    def stop(self, app: App) -> Sequence[str]:
        """Stop an app's stores in order; their data stays."""


@dataclass(frozen=True)
class Engine:
    """What runs the services of a root. Creating the value starts nothing."""

    root: Root
    traits: EngineTraits
    platform: Platform
    images: Images
    resources: Resources
    runtime: Runtime
    programs: Programs
    stores: Stores
    ingress: Ingress
