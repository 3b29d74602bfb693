"""The embedded engine: real nginx, PostgreSQL and Valkey, and the app itself, as supervised processes.

No Docker and no root needed. A release's group in the supervisor is `<app>-r<number>`, the stores' is
a store's `<app>_<store>`, the edge's `edge`; each is a plain file, so supervisord alone brings all of it back.
"""

import contextlib
import os
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pushrod.adapters import postgres
from pushrod.adapters.binaries import Parts
from pushrod.adapters.nginx import Bounds, Edge
from pushrod.core.errors import BuildError, HostError, PushrodError, StateError, UnknownNameError
from pushrod.core.plan import Change, Need
from pushrod.core.values import (
    Diagnostic,
    EngineName,
    Image,
    Instance,
    Line,
    Manifest,
    Placement,
    Process,
    ProcessState,
    Program,
    Release,
    Service,
)
from pushrod.engines import machine
from pushrod.engines.embedded import commands, diagnostics, images, logs, ports
from pushrod.engines.embedded.ports import store_records
from pushrod.engines.embedded.readiness import Readiness, listening
from pushrod.engines.embedded.stores import Stores, group_of
from pushrod.engines.embedded.supervisor import Supervisor
from pushrod.engines.protocols import Say
from pushrod.manifest.policy import Terms
from pushrod.state.apps import App, Root
from pushrod.state.releases import Releases
from pushrod.state.secrets import Secrets
from pushrod.stores.backup_drivers import Archive
from pushrod.stores.variables import Endpoint
from pushrod.system import accounts, files, locks, network, processes, waits

# The environment of the engine's own parts: the same whoever calls, or they would be started anew for nothing.
_SYSTEM = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_KEPT_LOGS = 5  # releases that have failed or were pruned whose logs stay
_LOGS = "pushrod-logs"  # a group of its own: were it of the edge's, taking it in would restart nginx
_ROTATION = 10  # seconds between looks at how large the edge's logs are
_INSTANCES, _EDGE = 20, 30  # the supervisor starts what has the lower priority first, and stops it last


class Embedded:
    """The engine of a root. Creating the value starts nothing."""

    name: EngineName = "embedded"

    def __init__(self, root: Root) -> None:
        self.root = root
        self.parts = Parts()

    @cached_property
    def account(self) -> accounts.Account | None:
        """Who the children run as; None when that is ourselves."""
        return accounts.child_account(
            [self.root.path, Path(os.__file__), self.parts.nginx, self.parts.postgres]
        )

    @cached_property
    def supervisor(self) -> Supervisor:
        """The process manager of this root."""
        return Supervisor(self.root.supervisor, self.root.runtime, self.account)

    @cached_property
    def edge(self) -> Edge:
        """The nginx of this root."""
        bounds = Bounds(files=min(Bounds().files, processes.most_files()))
        return Edge(self.parts.nginx, self.root.edge, self.root.runtime / "edge", self.account, bounds=bounds)

    # ---- the engine's own parts -----------------------------------------------------------------------------

    def open(self) -> None:
        """Make the supervisor and the edge run; HostError if a part is missing or does not come up."""
        self.root.create()
        with locks.lock(self.root.path / "engine.lock", purpose="starting", timeout=60):
            self.supervisor.ensure()
            self.edge.prepare()
            self.supervisor.apply("edge", (self._edge_process(),))
            self.supervisor.apply(_LOGS, (self._logs_process(),))
            self._make_room()
        if not waits.wait_until(self.edge.answering, timeout=10):
            raise HostError(
                "the edge (nginx) does not come up",
                where=str(self.root.edge),
                log=files.tail(self.root.supervisor / "nginx.log"),
                hint="its last lines are above; `pushrod doctor` shows which nginx is in use",
            )

    def _make_room(self) -> None:
        """Where nginx cannot start because somebody took an app's port, take that app's site out of its way.

        One app's port must not keep the others down; the app itself hears of it when it is switched to.
        """
        if waits.wait_until(self.edge.answering, timeout=1):
            return
        sites = self.edge.sites().items()
        stolen = {name: None for name, site in sites if not all(map(network.port_is_free, site.ports))}
        if stolen and not self.edge.running():
            self.edge.place(stolen)
            self.supervisor.restart("edge")

    def rest(self) -> None:
        """Stop supervisor and edge if no app of the root is up or being worked on."""
        with locks.lock(self.root.path / "engine.lock", purpose="stopping", timeout=60):
            if all(map(_at_rest, self.root.apps())):
                self.supervisor.shutdown()
            if not any(self.root.apps()):
                files.remove_tree(
                    self.root.runtime
                )  # in /tmp where the root's own path is too long for sockets

    def examine(self) -> Iterator[Diagnostic]:
        """The programs in use, who the children run as, and whether the edge answers."""
        yield from diagnostics.of_parts(self.parts.versions())
        yield diagnostics.of_account(lambda: self.account)
        yield from diagnostics.of_files(self.root)
        yield from diagnostics.of_edge(lambda: self.edge, list(self.root.apps()))

    def store_versions(self) -> dict[str, str]:
        """The versions of the two stores this engine has."""
        return self.parts.store_versions()

    def _edge_process(self) -> Process:
        return Process(
            group="edge",
            name="nginx",
            argv=self.edge.argv(),
            cwd=str(self.root.edge),
            environment=_SYSTEM,
            log=str(self.root.supervisor / "nginx.log"),
            priority=_EDGE,
            stop_signal="QUIT",
            stop_grace=35,
            death_signal="TERM",
        )

    def _logs_process(self) -> Process:
        return Process(
            group=_LOGS,
            name="rotation",
            argv=(*self.edge.rotation(), str(_ROTATION)),
            cwd=str(self.root.edge),
            environment=_SYSTEM,
            log=str(self.root.supervisor / "rotation.log"),
            priority=_EDGE + 1,
        )

    # ---- images ---------------------------------------------------------------------------------------------

    def terms(self, app: App, checkout: Path) -> Terms:
        """What an app may ask for: instances are processes of this machine, and nothing else of it is given."""
        return Terms("embedded", machine.of(self.root))

    def check(self, app: App, document: Mapping[str, Any], wanted: Manifest, checkout: Path) -> None:
        """Refuse what is not here to be run. Rights are not looked at: an app's processes have no more of them than
        whoever deploys it gives them."""
        for service in wanted.stateless:
            images.check(service, checkout, self.root.environments)

    def check_name(self, name: str) -> None:
        """Nothing is refused: what divides an app's name from a store's or a release's number cannot be in it."""

    def remarks(
        self,
        app: App,
        document: Mapping[str, Any],
        wanted: Manifest,
        checkout: Path,
        images: Mapping[str, str],
    ) -> Sequence[str]:
        """None: processes have the rights of their account here, as the notes on keys say."""
        return ()

    def explain(self, app: App, error: PushrodError) -> None:
        """Nothing."""

    def imaged(self, wanted: Manifest) -> Sequence[Service]:
        """The app's own services: the stores are this engine's parts."""
        return wanted.stateless

    def build(self, app: App, commit: str, service: Service, checkout: Path, say: Say) -> Image:
        """The Python environment of a service, built once for each lock; its command found."""
        return images.build(service, checkout, self.root.environments, say)

    def identify(self, app: App, commit: str, service: Service, checkout: Path) -> str:
        """The identity of a service's image, without building it."""
        return images.identify(service, checkout)

    # ---- stores ---------------------------------------------------------------------------------------------

    def foresee(
        self, app: App, commit: str, document: Mapping[str, Any], wanted: Manifest, checkout: Path
    ) -> tuple[list[Change], list[Need]]:
        """Nothing more than the plan itself says."""
        return [], []

    def endpoints(self, app: App, wanted: Manifest) -> list[Endpoint]:
        """Where each store will be; decided once, before it exists."""
        return self._stores(app).endpoints(wanted.stores)

    def ensure_stores(self, app: App, release: Release, *, ddl: bool) -> str:
        """Initialise what is new, start all, wait until each answers; roles, databases and ACLs ensured."""
        own, names = self._stores(app), {s.name for s in release.stores}
        running = self.supervisor.groups()
        for process, changed in own.prepare(names):
            self.supervisor.apply(process.group, (process,))
            if changed and process.group in running:  # a server reads its configuration when it starts
                self.supervisor.restart(process.group, process.name)
        return own.ensure(names, ddl=ddl)

    def schema(self, app: App, stores: Sequence[Service]) -> str:
        """A digest over the schemas of the app's PostgreSQL stores."""
        return self._stores(app).schema({s.name for s in stores})

    def waits(self, app: App, stores: Sequence[Service]) -> Sequence[str]:
        """Asked of the app's PostgreSQL stores."""
        return self._stores(app).waits({s.name for s in stores})

    def end_migrations(self, app: App, stores: Sequence[Service], since: str) -> None:
        """In the app's PostgreSQL stores."""
        self._stores(app).end_migrations({s.name for s in stores}, since)

    def archives(self, app: App, release: Release, *, ddl: bool) -> Sequence[Archive]:
        """The app's databases, and snapshots of its Valkeys."""
        return self._stores(app).archives({s.name for s in release.stores}, ddl=ddl)

    def restore(self, app: App, release: Release | None, failed: int, *, running: bool) -> None:
        """Stop the stores that the live release does not have; their data stays, as of every store."""
        kept = {s.name for s in release.stores} if release else set()
        for record in store_records(app):
            if record.name not in kept:
                self.supervisor.remove(group_of(app, record.name))

    def discard(self, app: App, number: int) -> None:
        """Nothing: a release makes nothing outside the app's directory here."""

    def stop_stores(self, app: App) -> Sequence[str]:
        """Stop the stores: PostgreSQL by a fast shutdown, Valkey after writing its file."""
        for group in self.supervisor.groups():  # not by their records: those may be damaged
            if group.startswith(group_of(app, "")):
                self.supervisor.remove(group)
        return ()

    def _stores(self, app: App) -> Stores:
        return Stores(app, self._programs, self.parts.redis, self.account, _SYSTEM)

    @cached_property
    def _programs(self) -> postgres.Programs:
        return postgres.Programs(self.parts.postgres)

    # ---- addresses ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def choose_port(self, wanted: int = 0) -> Iterator[int]:
        """A port of its own for an app at the edge: the one wanted, or the first that is free."""
        with ports.choosing(self.root):
            yield ports.for_edge(self.root, wanted)

    @contextlib.contextmanager
    def place(
        self, app: App, number: int, wanted: Manifest, images: Mapping[str, Image]
    ) -> Iterator[Placement]:
        """Give every instance a port that no kept release of any app has, held until the release is sealed."""
        with ports.choosing(self.root):
            names = [(f"{s.name}-{n}", s.name) for s in wanted.stateless for n in range(1, s.replicas + 1)]
            chosen = ports.several(self.root, ports.INSTANCES, len(names))
            yield Placement(tuple(Instance(*name, port) for name, port in zip(names, chosen, strict=True)))

    def files(
        self,
        app: App,
        release: Release,
        document: Mapping[str, Any],
        wanted: Manifest,
    ) -> dict[str, str]:
        """None: the supervisor's files name passwords, so they are kept apart from the state."""
        return {}

    # ---- instances ------------------------------------------------------------------------------------------

    def start(self, app: App, release: Release, environments: dict[str, dict[str, str]]) -> None:
        """Start a release's group; HostError if one of its ports is in use by somebody else."""
        for image in release.images.values():
            if image.location and not Path(image.location).is_dir():
                raise BuildError(
                    "the release's Python environment is gone",
                    where=image.location,
                    hint="`pushrod restart` builds it again, as a new release of the same commit",
                )
        group = _group(app, release.number)
        if group not in self.supervisor.groups():
            for instance in release.instances:
                hint = "end that process, or deploy again: a new release gets new ports"
                ports.check(instance.port, f"{instance.name} of release {release.number}", hint)
        home = app.home
        home.mkdir(parents=True, exist_ok=True)
        files.own(home, self.account)
        processes = tuple(
            self._instance_process(app, release, i, environments[i.service]) for i in release.instances
        )
        self.supervisor.apply(group, processes)

    def ready(self, app: App, release: Release) -> Sequence[str]:
        """Ask every instance until it is healthy; ReadyError at its deadline, or at once if it ends."""
        group = _group(app, release.number)
        return Readiness(
            release,
            states=lambda: self.supervisor.states(group),
            command=lambda instance: self._health_command(app, release, instance),
            log=lambda name: self._instance_log(app, release.number, name),
        ).wait()

    def stop(self, app: App, number: int) -> Sequence[str]:
        """Stop a release's group within its grace and take its files away."""
        self.supervisor.remove(_group(app, number))
        return ()

    def workers(self, app: App, release: Release) -> Collection[str]:
        """The instances that answer nobody."""
        services = {i.name: i.service for i in release.instances}
        return [
            state.name
            for state in self.supervisor.states(_group(app, release.number))
            if services.get(state.name) not in release.serving and state.pid and listening(state.pid) == set()
        ]

    def stop_instances(self, app: App, release: Release, instances: Collection[str]) -> Sequence[str]:
        """Stop their processes; the supervisor does not start them again by itself."""
        if instances and _group(app, release.number) in self.supervisor.groups():
            self.supervisor.stop(_group(app, release.number), instances)
        return ()

    def running(self, app: App) -> list[int]:
        """The releases whose groups the supervisor has."""
        pattern = re.compile(rf"{re.escape(app.name)}-r(\d+)")
        return sorted(int(m[1]) for g in self.supervisor.groups() if (m := pattern.fullmatch(g)))

    def states(self, app: App) -> list[ProcessState]:
        """Every process of an app: its stores and instances, and the edge before them."""
        stores = {group_of(app, r.name) for r in store_records(app)}
        groups = {"edge", *stores, *(_group(app, n) for n in self.running(app))}
        return [s for s in self.supervisor.states() if s.group in groups]

    def run(
        self,
        app: App,
        release: Release,
        service: Service,
        argv: Sequence[str],
        environment: dict[str, str],
        say: Say,
    ) -> int:
        """Run a one-shot program in a service's environment, as the children's account; it dies with us."""
        words = argv or release.images[service.name].command
        program = self.one_shot(app, release, service, words, environment)
        cwd = Path(program.cwd)
        return processes.run(program.argv, cwd=cwd, env=program.environment, timeout=3600, on_line=say).status

    def one_shot(
        self, app: App, release: Release, service: Service, argv: Sequence[str], environment: dict[str, str]
    ) -> Program:
        """How a one-shot program is run: as the children's account, with the stores' own clients in reach."""
        variables = self._environment(app, release, service, environment, clients=True)
        directory = self._directory(app, release, service)
        program = commands.find(service.name, argv, variables["PATH"], directory=directory)
        whole = processes.as_account(program, self.account, death_signal="KILL")
        return Program(tuple(whole), str(directory), variables)

    def inside(
        self, app: App, release: Release, service: Service, argv: Sequence[str], environment: dict[str, str]
    ) -> Program:
        """The same: an instance is a process beside others, with nothing around it to go into."""
        return self.one_shot(app, release, service, argv, environment)

    def present(self, app: App, number: int) -> str:
        """None: supervisor and edge start together, and an instance is there at once, or answers nothing yet."""
        return ""

    def at_boot(self, app: App, *, wanted: bool) -> None:
        """Nothing: what the supervisor's files name starts with the supervisor."""

    def _instance_process(
        self, app: App, release: Release, instance: Instance, environment: dict[str, str]
    ) -> Process:
        service = release.service(instance.service)
        image = release.images[service.name]
        variables = self._environment(app, release, service, environment)
        bound = commands.bind(image.command, variables, instance.port, service.port)
        return Process(
            group=_group(app, release.number),
            name=instance.name,
            argv=commands.loopback(bound.argv),
            cwd=str(self._directory(app, release, service)),
            environment=bound.environment,
            log=str(self._instance_log(app, release.number, instance.name)),
            priority=_INSTANCES,
            stop_grace=service.stop_grace,
            stop_group=True,
            wait_for=tuple(r.port for r in store_records(app) if r.name in {s.name for s in release.stores}),
        )

    def _environment(
        self,
        app: App,
        release: Release,
        service: Service,
        environment: dict[str, str],
        *,
        clients: bool = False,
    ) -> dict[str, str]:
        """The whole environment of a process: what the machine gives, the image's programs first, then the app's.

        With `clients` the stores' own come next, for `run pg_dump`: those of another version refuse to work.
        """
        base = _base_environment() | {"HOME": str(app.home), "PYTHONUNBUFFERED": "1"}
        context = self._directory(app, release, service)
        base["PYTHONPATH"] = os.pathsep.join(str(p) for p in (context, context / "src") if p.is_dir())
        if clients:
            base["PATH"] = f"{self.parts.postgres}{os.pathsep}{base['PATH']}"
        location = release.images[service.name].location
        if location:
            base |= {"VIRTUAL_ENV": location, "PATH": f"{location}/bin{os.pathsep}{base['PATH']}"}
        return base | environment

    def _directory(self, app: App, release: Release, service: Service) -> Path:
        return app.checkout(release.number) / release.images[service.name].directory

    def _health_command(self, app: App, release: Release, instance: Instance) -> str:
        """Run a service's health command in its own environment once."""
        service = release.service(instance.service)
        environment = Secrets(app).sealed(release.number)[service.name]
        bound = commands.bind(service.health.command, environment, instance.port, service.port)
        lines: list[str] = []
        status = self.run(app, release, service, bound.argv, bound.environment, lines.append)
        return (
            f"`{shlex.join(bound.argv)}` ended with status {status}: {' '.join(lines[-1:])}" if status else ""
        )

    def clear(self, app: App, directory: Path) -> None:
        """Remove a directory and all below it."""
        files.remove_tree(directory)

    def excess(self, app: App, older: Sequence[Release], live: Release) -> int:
        """The app's share is of the ports that instances listen on."""
        total, gone = 2 * len(live.instances) + sum(len(r.instances) for r in older), 0
        while gone < len(older) and total > ports.SHARE:
            total, gone = total - len(older[gone].instances), gone + 1
        return gone

    def prune(self, app: App) -> None:
        """Remove environments and logs that no kept release needs."""
        kept = set(Releases(app).numbers())
        for directory in app.logs.glob("r*"):
            if (
                int(directory.name[1:]) not in kept
                and int(directory.name[1:]) < max(kept, default=0) - _KEPT_LOGS
            ):
                files.remove_tree(directory)
        with contextlib.suppress(StateError):  # which are used cannot be told while any app is damaged
            used = {i.id for a in self.root.apps() for r in Releases(a).all() for i in r.images.values()}
            images.prune(self.root.environments, used)

    def sweep(self) -> list[PushrodError]:
        """Nothing: an environment that no release needs goes with the release."""
        return []

    def forget(self, app: App) -> None:
        """Nothing: all that is kept of an app is in its own directory."""

    # ---- logs -----------------------------------------------------------------------------------------------

    def logs(
        self, app: App, service: str = "", release: int = 0, *, lines: int = 50, follow: bool = False
    ) -> Iterator[Line]:
        """The lines of its log files; UnknownNameError where there are none."""
        files = self._log_files(app, service, release)
        if not files:
            raise UnknownNameError(
                f"no logs of `{service or app.name}`", hint="`pushrod status` lists what runs"
            )
        return logs.read(lambda: self._log_files(app, service), files, lines, follow=follow)

    def _log_files(self, app: App, service: str, release: int = 0) -> list[Path]:
        """Log files of the running releases and of the stores, or of one release; all, or those of one service."""
        found = [] if release else [self._stores(app).log(r) for r in store_records(app)]
        for number in [release] if release else self.running(app):
            found += sorted((app.logs / f"r{number}").glob("*.log"))
        return [p for p in found if not service or p.stem == service or p.stem.rpartition("-")[0] == service]

    def _instance_log(self, app: App, number: int, name: str) -> Path:
        return app.logs / f"r{number}" / f"{name}.log"


def _at_rest(app: App) -> bool:
    """Whether an app is down and nobody works on it; not where it is damaged and that cannot be told."""
    try:
        return app.settings.down and not locks.locked(app.lock)
    except StateError:
        return False


def _group(app: App, number: int) -> str:
    return f"{app.name}-r{number}"


def _base_environment() -> dict[str, str]:
    names = ("TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")
    passed = {n: os.environ[n] for n in names if n in os.environ}
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        **passed,
    }
