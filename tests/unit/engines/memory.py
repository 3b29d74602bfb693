"""The smallest possible engine: it records calls in memory, and its front gate is not nginx.

It implements only the protocols, so a test fails if the pipeline uses anything beyond them.
"""

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pushrod.core.errors import EdgeError, PushrodError, ReadyError
from pushrod.core.plan import Change, Need
from pushrod.core.site import Request, Site
from pushrod.core.traits import EMBEDDED
from pushrod.core.upgrades import UpgradePlan
from pushrod.core.values import (
    Diagnostic,
    Image,
    Instance,
    Line,
    Manifest,
    Placement,
    ProcessState,
    Program,
    Release,
    Route,
    Service,
)
from pushrod.engines.protocols import Document, Engine, OnLine, Upgrade
from pushrod.ingress.protocol import Places
from pushrod.manifest.policy import Terms
from pushrod.state.apps import App, Root
from pushrod.stores.backup_drivers import Archive
from pushrod.stores.kinds import Endpoint, Server
from tests.unit.samples import LIMITS

Record = Callable[[str], None]


class Ticket:
    """A drain without nginx: it records when it is waited for."""

    def __init__(self, record: Record, of: str) -> None:
        self._record = record
        self._of = of

    def wait(self, seconds: float) -> bool:
        """As `Drain.wait`."""
        self._record(f"drained {self._of}")
        return True


class Gate:
    """A front gate that only records calls. `refused` are releases to which it refuses to switch."""

    def __init__(self, root: Root, record: Record) -> None:
        self._root = root
        self._record = record
        self.sites: dict[str, Site] = {}
        self.refused: set[int] = set()

    @property
    def places(self) -> Places:
        """As `Ingress.places`."""
        gate = self._root.path / "gate"
        return Places(gate / "static", gate / "passwords", gate / "challenges")

    def site(self, app: str) -> Site | None:
        """As `Ingress.site`."""
        return self.sites.get(app)

    def check(self, site: Site) -> None:
        """As `Ingress.check`."""

    def switch(self, app: str, site: Site | None) -> Ticket:
        """As `Ingress.switch`; records it, unless its release is refused."""
        if site and site.release in self.refused:
            raise EdgeError(f"release {site.release} is not led to")
        before = self.sites.pop(app, None)
        if site:
            self.sites[app] = site
        self._record(f"switched to {site.release if site else 'nothing'}")
        return Ticket(self._record, f"{before.release}" if before else "nothing")

    def certificate_shown(self, site: Site) -> str:
        """As `Ingress.certificate_shown`."""
        return ""

    def certificates_in_use(self, app: str, generations: Collection[str]) -> Collection[str]:
        """As `Ingress.certificates_in_use`."""
        return ()

    def requests(
        self, app: str, select: Callable[[Request], Request | None], *, lines: int, follow: bool
    ) -> Iterable[Request]:
        """As `Ingress.requests`."""
        return ()

    def ready_marker(self, app: App, number: int) -> str:
        """As `Ingress.ready_marker`."""
        return ""

    def repair_sites(self) -> bool:
        """As `Ingress.repair_sites`."""
        return False

    def remove_app(self, app: str) -> None:
        """As `Ingress.remove_app`."""


class Nothing:
    """Platform, images, resources and programs in one: needs, refuses, builds and leaves nothing."""

    def open(self) -> None:
        """As `Platform.open`."""

    def start_at_boot(self, enabled: bool, *, metrics: bool = False) -> str:
        """As `Platform.start_at_boot`."""
        return ""

    def stop_if_idle(self) -> None:
        """As `Platform.stop_if_idle`."""

    def examine(self) -> Iterator[Diagnostic]:
        """As `Platform.examine`."""
        return iter(())

    def has_environment(self, app: App, release: Release) -> bool:
        """As `Programs.has_environment`."""
        return True

    def write_environment(self, app: App, release: Release, manifest: Manifest) -> None:
        """As `Programs.write_environment`."""

    def check_name(self, name: str) -> None:
        """As `Platform.check_name`."""

    @contextlib.contextmanager
    def choose_port(self, port: int = 0) -> Iterator[int]:
        """As `Platform.choose_port`."""
        yield port or 8000

    def terms(self, app: App, checkout: Path) -> Terms:
        """As `Platform.terms`."""
        return Terms("embedded", LIMITS)

    def check(self, app: App, document: Document, manifest: Manifest, checkout: Path) -> None:
        """As `Platform.check`."""

    def explain(self, app: App, error: PushrodError) -> None:
        """As `Platform.explain`."""

    def needed(self, manifest: Manifest) -> Sequence[Service]:
        """As `Images.needed`."""
        return manifest.stateless

    def build(self, app: App, commit: str, service: Service, checkout: Path, on_line: OnLine) -> Image:
        """As `Images.build`."""
        return Image(id=f"{service.name}:{commit}")

    def identify(self, app: App, commit: str, service: Service, checkout: Path) -> str:
        """As `Images.identify`."""
        return f"{service.name}:{commit}"

    def preview(
        self, app: App, commit: str, document: Document, manifest: Manifest, checkout: Path
    ) -> tuple[list[Change], list[Need]]:
        """As `Images.preview`."""
        return [], []

    def file_routes(self, app: App, manifest: Manifest, checkout: Path) -> Sequence[Route]:
        """None."""
        return ()

    def makes(self, directory: str, checkout: Path) -> bool:
        """Nothing is built."""
        return False

    def make(self, directory: str, checkout: Path, on_line: OnLine) -> None:
        """Nothing to do."""

    def notes(
        self, app: App, document: Document, manifest: Manifest, checkout: Path, images: Mapping[str, str]
    ) -> Sequence[str]:
        """As `Images.notes`."""
        return ()

    @contextlib.contextmanager
    def place(
        self, app: App, number: int, manifest: Manifest, images: Mapping[str, Image]
    ) -> Iterator[Placement]:
        """As `Resources.place`; one instance for each service."""
        yield Placement(
            tuple(Instance(f"{s.name}-1", s.name, 20000 + n) for n, s in enumerate(manifest.stateless))
        )

    def render(self, app: App, release: Release, document: Document, manifest: Manifest) -> dict[str, str]:
        """As `Resources.render`."""
        return {}

    def excess(self, app: App, older: Sequence[Release], live: Release) -> int:
        """As `Resources.excess`; there is room for all."""
        return 0

    def remove_unused(self, app: App) -> None:
        """As `Resources.remove_unused`."""

    def remove_stale_builds(self) -> list[PushrodError]:
        """As `Resources.remove_stale_builds`."""
        return []

    def remove_release_volumes(self, app: App, number: int) -> None:
        """As `Resources.remove_release_volumes`."""

    def remove_directory(self, app: App, directory: Path) -> None:
        """As `Resources.remove_directory`."""

    def remove_app(self, app: App) -> None:
        """As `Resources.remove_app`."""

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
        """As `Programs.run`; reports what would run."""
        on_line(" ".join(argv))
        return 0

    def run_program(
        self, app: App, release: Release, service: Service, argv: Sequence[str], environment: dict[str, str]
    ) -> Program:
        """As `Programs.run_program`."""
        return Program(tuple(argv), str(app.directory), environment)

    def exec(
        self, app: App, release: Release, service: Service, argv: Sequence[str], environment: dict[str, str]
    ) -> Program:
        """As `Programs.exec`."""
        return self.run_program(app, release, service, argv, environment)


class Instances:
    """A runtime that only records which releases run. `sick` are those that never become ready."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self.up: list[int] = []
        self.sick: set[int] = set()
        self.since = 3600.0  # seconds for which all of them have been running

    def start(self, app: App, release: Release, environments: dict[str, dict[str, str]]) -> None:
        """As `Runtime.start`."""
        self.up = sorted({*self.up, release.number})
        self._record(f"started {release.number}")

    def ready(self, app: App, release: Release) -> Sequence[str]:
        """As `Runtime.ready`; at once, or never."""
        if release.number in self.sick:
            raise ReadyError("it is sick", where=f"release {release.number}")
        return ()

    def stop(self, app: App, number: int) -> Sequence[str]:
        """As `Runtime.stop`."""
        self.up = [n for n in self.up if n != number]
        self._record(f"stopped {number}")
        return ()

    def stop_instances(self, app: App, release: Release, instances: Collection[str]) -> Sequence[str]:
        """As `Runtime.stop_instances`."""
        return ()

    def workers(self, app: App, release: Release) -> Collection[str]:
        """As `Runtime.workers`."""
        return ()

    def running(self, app: App) -> list[int]:
        """As `Runtime.running`."""
        return self.up

    def states(self, apps: Sequence[App]) -> Mapping[str, list[ProcessState]]:
        """As `Runtime.states`; each release is one process."""
        return {
            app.name: [
                ProcessState(f"{app.name}-r{n}", "web-1", "running", since=self.since) for n in self.up
            ]
            for app in apps
        }

    def logs(
        self, app: App, service: str = "", release: int = 0, *, lines: int = 50, follow: bool = False
    ) -> Iterator[Line]:
        """As `Runtime.logs`."""
        return iter(())

    def reached(self, app: App, release: Release) -> bool:
        """As `Runtime.reached`."""
        return True

    def set_autostart(self, app: App, enabled: bool) -> bool:
        """As `Runtime.set_autostart`."""
        return False


class NoUpgrades:
    """No upgrade."""

    def plan(
        self, app: App, release: Release, store: Service, after: str, given: str, on_line: OnLine
    ) -> UpgradePlan:
        raise NotImplementedError

    def steps(self, app: App, release: Release, plan: UpgradePlan) -> Upgrade:
        raise NotImplementedError

    def remove_old(self, app: App, store: str) -> Iterator[str]:
        raise NotImplementedError


class NoStores:
    """No store at all."""

    def versions(self) -> dict[str, str]:
        """As `Stores.versions`."""
        return {}

    def at(self, app: App, host: str, port: int) -> str:
        """As `Stores.at`."""
        return ""

    def endpoints(self, app: App, manifest: Manifest) -> list[Endpoint]:
        """As `Stores.endpoints`."""
        return []

    def ensure(self, app: App, release: Release, *, ddl: bool) -> str:
        """As `Stores.ensure`."""
        return ""

    def archives(self, app: App, release: Release, *, ddl: bool) -> Sequence[Archive]:
        """As `Stores.archives`."""
        return ()

    def servers(self, app: App, stores: Sequence[Service]) -> Mapping[str, Server]:
        """As `Stores.servers`."""
        return {}

    def restore(self, app: App, release: Release | None, failed: int, *, running: bool) -> None:
        """As `Stores.restore`."""

    def stop(self, app: App) -> Sequence[str]:
        """As `Stores.stop`."""
        return ()


class Memory:
    """An engine for tests: `actions` lists its actions, in order."""

    def __init__(self, root: Root) -> None:
        self.actions: list[str] = []
        self.gate = Gate(root, self.actions.append)
        self.instances = Instances(self.actions.append)
        nothing = Nothing()
        self.engine = Engine(
            root=root,
            traits=EMBEDDED,
            platform=nothing,
            images=nothing,
            resources=nothing,
            runtime=self.instances,
            programs=nothing,
            stores=NoStores(),
            upgrades=NoUpgrades(),
            ingress=self.gate,
        )
