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
    Service,
)
from pushrod.engines.protocols import Document, Engine, OnLine
from pushrod.ingress.protocol import Places
from pushrod.manifest.policy import Terms
from pushrod.state.apps import App, Root
from pushrod.stores.backup_drivers import Archive
from pushrod.stores.kinds import Endpoint
from tests.unit.samples import LIMITS

Told = Callable[[str], None]


class Ticket:
    """A drain without nginx: it records when it is waited for."""

    def __init__(self, record: Told, of: str) -> None:
        self._record = record
        self._of = of

    def wait(self, seconds: float) -> bool:
        """All has ended."""
        self._record(f"drained {self._of}")
        return True


class Gate:
    """A front gate that only records calls. `refused` are releases to which it refuses to switch."""

    def __init__(self, root: Root, record: Told) -> None:
        self._root = root
        self._record = record
        self.sites: dict[str, Site] = {}
        self.refused: set[int] = set()

    @property
    def places(self) -> Places:
        """Below the root."""
        gate = self._root.path / "gate"
        return Places(gate / "static", gate / "passwords", gate / "challenges")

    def site(self, app: str) -> Site | None:
        """As it was given."""
        return self.sites.get(app)

    def check(self, site: Site) -> None:
        """Anything goes."""

    def switch(self, app: str, site: Site | None) -> Ticket:
        """Record it, unless its release is refused."""
        if site and site.release in self.refused:
            raise EdgeError(f"release {site.release} is not led to")
        before = self.sites.pop(app, None)
        if site:
            self.sites[app] = site
        self._record(f"switched to {site.release if site else 'nothing'}")
        return Ticket(self._record, f"{before.release}" if before else "nothing")

    def certificate_shown(self, site: Site) -> str:
        """None."""
        return ""

    def certificates_in_use(self, app: str, generations: Collection[str]) -> Collection[str]:
        """None."""
        return ()

    def requests(
        self, app: str, select: Callable[[Request], Request | None], *, lines: int, follow: bool
    ) -> Iterable[Request]:
        """None."""
        return ()

    def ready_marker(self, app: App, number: int) -> str:
        """None."""
        return ""

    def repair_sites(self) -> bool:
        """Never broken."""
        return False

    def remove_app(self, app: str) -> None:
        """Nothing is kept."""


class Nothing:
    """Platform, images, resources and programs in one: needs, refuses, builds and leaves nothing."""

    def open(self) -> None:
        """It is."""

    def start_at_boot(self, enabled: bool) -> str:
        """No unit does."""
        return ""

    def stop_if_idle(self) -> None:
        """There is nothing to stop."""

    def examine(self) -> Iterator[Diagnostic]:
        """All is well."""
        return iter(())

    def has_environment(self, app: App, release: Release) -> bool:
        """No files are needed."""
        return True

    def write_environment(self, app: App, release: Release, manifest: Manifest) -> None:
        """Nothing."""

    def check_name(self, name: str) -> None:
        """Any name."""

    @contextlib.contextmanager
    def choose_port(self, port: int = 0) -> Iterator[int]:
        """Any port."""
        yield port or 8000

    def terms(self, app: App, checkout: Path) -> Terms:
        """As on a small machine."""
        return Terms("embedded", LIMITS)

    def check(self, app: App, document: Document, manifest: Manifest, checkout: Path) -> None:
        """Anything goes."""

    def explain(self, app: App, error: PushrodError) -> None:
        """Nothing to add."""

    def needed(self, manifest: Manifest) -> Sequence[Service]:
        """Of each service."""
        return manifest.stateless

    def build(self, app: App, commit: str, service: Service, checkout: Path, on_line: OnLine) -> Image:
        """By name."""
        return Image(id=f"{service.name}:{commit}")

    def identify(self, app: App, commit: str, service: Service, checkout: Path) -> str:
        """By name."""
        return f"{service.name}:{commit}"

    def preview(
        self, app: App, commit: str, document: Document, manifest: Manifest, checkout: Path
    ) -> tuple[list[Change], list[Need]]:
        """Nothing more."""
        return [], []

    def notes(
        self, app: App, document: Document, manifest: Manifest, checkout: Path, images: Mapping[str, str]
    ) -> Sequence[str]:
        """None."""
        return ()

    @contextlib.contextmanager
    def place(
        self, app: App, number: int, manifest: Manifest, images: Mapping[str, Image]
    ) -> Iterator[Placement]:
        """One instance each."""
        yield Placement(
            tuple(Instance(f"{s.name}-1", s.name, 20000 + n) for n, s in enumerate(manifest.stateless))
        )

    def render(self, app: App, release: Release, document: Document, manifest: Manifest) -> dict[str, str]:
        """No files."""
        return {}

    def excess(self, app: App, older: Sequence[Release], live: Release) -> int:
        """There is room for all."""
        return 0

    def remove_unused(self, app: App) -> None:
        """Nothing is kept."""

    def remove_stale_builds(self) -> list[PushrodError]:
        """Nothing is kept."""
        return []

    def remove_release_volumes(self, app: App, number: int) -> None:
        """There are none."""

    def remove_directory(self, app: App, directory: Path) -> None:
        """Nothing is in there."""

    def remove_app(self, app: App) -> None:
        """Nothing is kept."""

    def run(
        self,
        app: App,
        release: Release,
        service: Service,
        argv: Sequence[str],
        environment: dict[str, str],
        on_line: OnLine,
    ) -> int:
        """Report what would run."""
        on_line(" ".join(argv))
        return 0

    def run_program(
        self, app: App, release: Release, service: Service, argv: Sequence[str], environment: dict[str, str]
    ) -> Program:
        """As it is."""
        return Program(tuple(argv), str(app.directory), environment)

    def exec(
        self, app: App, release: Release, service: Service, argv: Sequence[str], environment: dict[str, str]
    ) -> Program:
        """As it is."""
        return self.run_program(app, release, service, argv, environment)


class Instances:
    """A runtime that only records which releases run. `sick` are those that never become ready."""

    def __init__(self, record: Told) -> None:
        self._record = record
        self.up: list[int] = []
        self.sick: set[int] = set()
        self.since = 3600.0  # seconds for which all of them have been running

    def start(self, app: App, release: Release, environments: dict[str, dict[str, str]]) -> None:
        """Remember it."""
        self.up = sorted({*self.up, release.number})
        self._record(f"started {release.number}")

    def ready(self, app: App, release: Release) -> Sequence[str]:
        """At once, or never."""
        if release.number in self.sick:
            raise ReadyError("it is sick", where=f"release {release.number}")
        return ()

    def stop(self, app: App, number: int) -> Sequence[str]:
        """Forget it."""
        self.up = [n for n in self.up if n != number]
        self._record(f"stopped {number}")
        return ()

    def stop_instances(self, app: App, release: Release, instances: Collection[str]) -> Sequence[str]:
        """There is nothing to stop."""
        return ()

    def workers(self, app: App, release: Release) -> Collection[str]:
        """None."""
        return ()

    def running(self, app: App) -> list[int]:
        """As remembered."""
        return self.up

    def states(self, app: App) -> list[ProcessState]:
        """Each release is one process."""
        return [ProcessState(f"{app.name}-r{n}", "web-1", "running", since=self.since) for n in self.up]

    def logs(
        self, app: App, service: str = "", release: int = 0, *, lines: int = 50, follow: bool = False
    ) -> Iterator[Line]:
        """None."""
        return iter(())

    def reached(self, app: App, release: Release) -> bool:
        """They are nowhere."""
        return True

    def set_autostart(self, app: App, enabled: bool) -> bool:
        """Nothing outlives the test."""
        return False


class NoStores:
    """No store at all."""

    def versions(self) -> dict[str, str]:
        """None."""
        return {}

    def at(self, app: App, host: str, port: int) -> str:
        """None."""
        return ""

    def endpoints(self, app: App, manifest: Manifest) -> list[Endpoint]:
        """None."""
        return []

    def ensure(self, app: App, release: Release, *, ddl: bool) -> str:
        """Nothing is there."""
        return ""

    def schema(self, app: App, stores: Sequence[Service]) -> str:
        """Always the same."""
        return ""

    def blockers(self, app: App, stores: Sequence[Service]) -> Sequence[str]:
        """None."""
        return ()

    def end_migrations(self, app: App, stores: Sequence[Service], since: str) -> None:
        """None."""

    def archives(self, app: App, release: Release, *, ddl: bool) -> Sequence[Archive]:
        """None."""
        return ()

    def restore(self, app: App, release: Release | None, failed: int, *, running: bool) -> None:
        """Nothing was made."""

    def stop(self, app: App) -> Sequence[str]:
        """There is nothing to stop."""
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
            ingress=self.gate,
        )
