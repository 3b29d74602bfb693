"""The protocols between the pipeline and an engine: one narrow protocol for each concern.

Every call is idempotent: repeated, it completes what is missing. Each may raise the PushrodError of its kind; after
any failure, `Runtime.stop` can remove what a release has started.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pushrod.core.errors import PushrodError
from pushrod.core.plan import Change, Need
from pushrod.core.traits import EngineTraits
from pushrod.core.upgrades import Carried, UpgradePlan
from pushrod.core.values import (
    Diagnostic,
    Image,
    Line,
    Manifest,
    Placement,
    ProcessState,
    Program,
    Release,
    Route,
    Service,
)
from pushrod.ingress.protocol import Ingress
from pushrod.state.apps import App, Root
from pushrod.stores.backup_drivers import Archive
from pushrod.stores.kinds import Endpoint, Server

if TYPE_CHECKING:
    from pushrod.manifest import policy

OnLine = Callable[[str], None]
Document = Mapping[str, Any]


class Platform(Protocol):
    """The engine's own parts, and the conditions they set for apps."""

    def open(self) -> None:
        """Start what the engine itself needs (its supervisor, the front gate)."""

    def start_at_boot(self, enabled: bool, *, metrics: bool = False) -> str:
        """Have the operating system start the engine and its apps at boot, or no longer; returns the unit that does.
        With `metrics` it also writes metrics regularly.

        Raises HostError if that is not possible here.
        """

    def stop_if_idle(self) -> None:
        """Stop the engine's own parts, if it started them, unless an app of the root is up or being worked on."""

    def examine(self) -> Iterator[Diagnostic]:
        """Diagnostics of the engine's own parts and the front gate, for `pushrod doctor`; changes nothing."""

    def check_name(self, name: str) -> None:
        """Raise UnknownNameError for a name that a new app must not have on this engine."""

    def choose_port(self, port: int = 0) -> AbstractContextManager[int]:
        """A port at the front gate for an app, reserved until it is written down; with 0 the engine chooses it.

        Raises HostError if the port is taken.
        """

    def terms(self, app: App, checkout: Path) -> "policy.Terms":
        """What an app may ask for on this engine and this machine."""

    def check(self, app: App, document: Document, manifest: Manifest, checkout: Path) -> None:
        """Raise ManifestError or BuildError for what this engine must not or cannot run for this app."""

    def explain(self, app: App, error: PushrodError) -> None:
        """Add to the hint of an error which rights this engine withholds from the app's programs."""


class Images(Protocol):
    """The images of services."""

    def needed(self, manifest: Manifest) -> Sequence[Service]:
        """The services whose images this engine builds or fetches."""

    def build(self, app: App, commit: str, service: Service, checkout: Path, on_line: OnLine) -> Image:
        """Build or fetch a service's image, or reuse it. `on_line` receives the output of long work."""

    def identify(self, app: App, commit: str, service: Service, checkout: Path) -> str:
        """The identity `build` would give a service's image, without building it; empty if only building shows it."""

    def preview(
        self, app: App, commit: str, document: Document, manifest: Manifest, checkout: Path
    ) -> tuple[list[Change], list[Need]]:
        """What deploying will do to images and stores, and what it requires of the machine, as far as that is
        known.
        """

    def file_routes(self, app: App, manifest: Manifest, checkout: Path) -> Sequence[Route]:
        """Routes to the files that a web server replaced by the front gate would have served by its configuration."""

    def makes(self, directory: str, checkout: Path) -> bool:
        """Whether this engine builds a directory for the edge to serve that is not in the commit.

        Raises BuildError if it should and lacks the tools.
        """

    def make(self, directory: str, checkout: Path, on_line: OnLine) -> None:
        """Build such a directory and put it into the checkout. `on_line` receives the output of long work."""

    def notes(
        self,
        app: App,
        document: Document,
        manifest: Manifest,
        checkout: Path,
        images: Mapping[str, str],
    ) -> Sequence[str]:
        """Notes on rights that services seem to need and this engine withholds. `images` are the names of their
        images, which may not exist yet.
        """


class Resources(Protocol):
    """Resources of the machine that releases and apps use, except processes."""

    def place(
        self, app: App, number: int, manifest: Manifest, images: Mapping[str, Image]
    ) -> AbstractContextManager[Placement]:
        """The instances of a new release and their addresses, reserved until the release is sealed."""

    def render(self, app: App, release: Release, document: Document, manifest: Manifest) -> dict[str, str]:
        """The plain files to seal beside `release.json`, by name. They contain no values of secrets."""

    def excess(self, app: App, older: Sequence[Release], live: Release) -> int:
        """How many of the older kept releases, oldest first, must be removed so that the app stays within its share,
        with room for its next release.
        """

    def remove_unused(self, app: App) -> None:
        """Remove the app's images and logs that no kept release needs."""

    def remove_stale_builds(self) -> list[PushrodError]:
        """Remove old leftovers of any app's builds; returns the errors of failed removals."""

    def remove_release_volumes(self, app: App, number: int) -> None:
        """Remove the volumes that were created for a release which was never live."""

    def remove_directory(self, app: App, directory: Path) -> None:
        """Remove a directory tree of an app, including files its instances left there."""

    def remove_app(self, app: App) -> None:
        """Remove what the engine keeps of an app that is down outside the app's own directory, including its data."""


class Runtime(Protocol):
    """The instances of releases."""

    def start(self, app: App, release: Release, environments: dict[str, dict[str, str]]) -> None:
        """Start a release's instances beside whatever runs; does not wait for them."""

    def ready(self, app: App, release: Release) -> Sequence[str]:
        """Wait until every instance is healthy; returns notes. Raises ReadyError as soon as one cannot become
        healthy.
        """

    def stop(self, app: App, number: int) -> Sequence[str]:
        """Stop a release's instances, each within its grace period, and remove them; returns notes, like other
        stops.
        """

    def stop_instances(self, app: App, release: Release, instances: Collection[str]) -> Sequence[str]:
        """Stop some of a release's instances, each within its grace period. Others keep running; `start` starts all
        again.
        """

    def workers(self, app: App, release: Release) -> Collection[str]:
        """The running instances of a release that receive no requests: no service of theirs gets any, and they have
        no TCP port open to others.
        """

    def running(self, app: App) -> list[int]:
        """The releases of an app that have instances now."""

    def states(self, apps: Sequence[App]) -> Mapping[str, list[ProcessState]]:
        """The state of everything that runs for each of these apps, by app, from one listing."""

    def logs(
        self, app: App, service: str = "", release: int = 0, *, lines: int = 50, follow: bool = False
    ) -> Iterator[Line]:
        """The last `lines` of each of an app's processes: of one service, of one release, even a failed one.

        With `follow` new output follows, of new releases too, without end. Raises UnknownNameError if there is no
        such process.
        """

    def reached(self, app: App, release: Release) -> bool:
        """Whether the networks and files through which requests reach the running instances exist."""

    def set_autostart(self, app: App, enabled: bool) -> bool:
        """Set whether the app's live release starts at boot; returns whether that is a change."""


class Programs(Protocol):
    """Programs that run once, from a release's images."""

    def run(
        self,
        app: App,
        release: Release,
        service: Service,
        argv: Sequence[str],
        environment: dict[str, str],
        on_line: OnLine,
        *,
        timeout: float,
    ) -> int:
        """Run a program to its end and return its exit status; without argv, the image's own. `on_line` receives its
        output. After `timeout` seconds it is ended; raises TimedOutError.
        """

    def run_program(
        self, app: App, release: Release, service: Service, argv: Sequence[str], environment: dict[str, str]
    ) -> Program:
        """How to run a program apart from the instances, on the user's terminal."""

    def exec(
        self, app: App, release: Release, service: Service, argv: Sequence[str], environment: dict[str, str]
    ) -> Program:
        """How to run a program inside an instance of a service, on the user's terminal."""

    def has_environment(self, app: App, release: Release) -> bool:
        """Whether the files exist in which this engine gives programs a release's environment."""

    def write_environment(self, app: App, release: Release, manifest: Manifest) -> None:
        """Write those files again, from the sealed environment."""


class Stores(Protocol):
    """The stores of apps: their servers, roles, databases and data."""

    def versions(self) -> dict[str, str]:
        """The engine's version of each kind of store, if it has only one."""

    def at(self, app: App, host: str, port: int) -> str:
        """The name of the app's store at an address; empty if the address is another server's."""

    def endpoints(self, app: App, manifest: Manifest) -> list[Endpoint]:
        """The address of each store for this app; decided once, before it exists."""

    def ensure(self, app: App, release: Release, *, ddl: bool) -> str:
        """Bring a release's stores up, prove them healthy, and ensure roles and databases; returns a summary.

        `ddl` lets the app's own role change the schema, for a manifest without a release command.
        """

    def archives(self, app: App, release: Release, *, ddl: bool) -> Sequence[Archive]:
        """What can be backed up of a release's stores, which must run. `ddl` is as for `ensure`."""

    def servers(self, app: App, stores: Sequence[Service]) -> Mapping[str, Server]:
        """The running servers of these stores, by the store's name."""

    def restore(self, app: App, release: Release | None, failed: int, *, running: bool) -> None:
        """Undo what a failed release has created or changed besides its instances, which are stopped.

        The stores return to what they are in `release`, the live one (None: no release is live), and run if it is
        `running`.
        """

    def stop(self, app: App) -> Sequence[str]:
        """Stop an app's stores in order; their data stays."""


class Upgrades(Protocol):
    """Upgrades of stores to other major versions."""

    def plan(
        self, app: App, release: Release, store: Service, after: str, given: str, on_line: OnLine
    ) -> UpgradePlan:
        """Decide about an upgrade of a store's data to the major version `after`. `given` is the image, or where the
        programs of the old version are, if the user names one. Changes no data.

        Raises UnknownNameError, StoreError or BuildError if it cannot be done.
        """

    def steps(self, app: App, release: Release, plan: UpgradePlan) -> "Upgrade":
        """The steps of an upgrade that was planned."""

    def remove_old(self, app: App, store: str) -> Iterator[str]:
        """Remove what upgrades of a store have kept; yields what it was."""


class Upgrade(Protocol):
    """The steps of one upgrade, in their order. The app's instances are stopped between `prepare` and `switch`."""

    def rehearse(self) -> Carried:
        """Carry a copy of the data while the app runs, and remove it again."""

    def prepare(self) -> None:
        """Make an empty cluster of the new version, while the app runs."""

    def copy(self) -> Carried:
        """Close the old data to all clients, carry it, and compare; then neither server runs."""

    def switch(self) -> None:
        """Put the store, which does not run, on the new data."""

    def back(self) -> None:
        """Return the store, which then does not run, to the old data, from any of these states. Repeatable."""

    def finish(self) -> None:
        """The store stays on the new data: remove what is left over, rebuild statistics."""


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
    upgrades: Upgrades
    ingress: Ingress
