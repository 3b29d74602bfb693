"""The docker engine: what the pipeline asks of it, done with Docker and Compose; systemd brings it back.

Nothing of pushrod runs between deployments, but an app's builder for a minute after one that has built. A release
is a compose project `<app>-r<number>` on networks of its own, its stores the project `<app>`; each is a plain file in
the app's state repository (`rendering`), raised in one way, at a deployment as at boot (`bring_up`). The edge is the
host's own nginx, run by systemd.
"""

import contextlib
import os
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil

from pushrod.adapters import causes, docker, nginx
from pushrod.core.errors import HostError, ManifestError, PushrodError, ReadyError, UnknownNameError
from pushrod.core.plan import Change, Need
from pushrod.core.values import (
    Diagnostic,
    EngineName,
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
from pushrod.engines import machine
from pushrod.engines.docker import (
    addresses,
    backups,
    bring_up,
    builders,
    environment,
    hooking,
    images,
    logs,
    names,
    opened,
    preflight,
    rendering,
    rights,
    sources,
)
from pushrod.engines.docker.builders import Builder
from pushrod.engines.docker.images import parts
from pushrod.engines.docker.readiness import Readiness
from pushrod.engines.docker.sources import Sources
from pushrod.engines.docker.states import edge_state, state_of
from pushrod.engines.docker.stores import Stores
from pushrod.engines.protocols import Say
from pushrod.manifest.policy import Terms
from pushrod.state.apps import App, HostSettings, Root
from pushrod.state.releases import Releases
from pushrod.state.secrets import Secrets
from pushrod.stores.backup_drivers import Archive
from pushrod.stores.variables import Endpoint
from pushrod.system import files, locks, network, processes, waits

Document = Mapping[str, Any]

_PORT = 80  # where the edge always answers
_ALIVE = ("running", "restarting", "paused")
_RUN = 3600.0  # seconds a release command may take
_UNUSED = 7 * 24  # hours after which a build's cache is not kept for the next
_NETWORK = re.compile(r'"network": ?"([0-9.]+/[0-9]+)"')
_KEPT_LOGS = 5  # releases that have failed or were pruned whose logs stay


class Docker:
    """The engine of a Docker host's root. Creating the value starts nothing."""

    name: EngineName = "docker"

    def __init__(self, root: Root) -> None:
        self.root = root

    @cached_property
    def settings(self) -> HostSettings:
        """What `pushrod host init` decided; HostError where it has not been run."""
        found = self.root.host_settings
        if found is None:
            raise HostError("no Docker host", where=str(self.root.path), hint="as root: pushrod host init")
        return found

    @cached_property
    def edge(self) -> nginx.Edge:
        """The host's nginx."""
        program, runtime = self.root.programs / "nginx", self.root.runtime / "edge"
        its = machine.of(self.root)
        bounds = nginx.Bounds(requests=its.client_requests, uploads=its.client_uploads, app=its.app_requests)
        return nginx.Edge(
            program, self.root.edge, runtime, addresses=nginx.everywhere(), port=_PORT, bounds=bounds
        )

    # ---- the engine's own parts -----------------------------------------------------------------------------

    def open(self) -> None:
        """HostError where Docker or the edge does not answer; both are systemd's to run."""
        docker.answers()
        docker.ask_ahead()
        if not os.access(names.UNITS, os.W_OK):  # found out now: a live app must be able to come back
            raise HostError("cannot be written", where=str(names.UNITS), hint="as root: pushrod host init")
        if not waits.wait_until(self.edge.answering, timeout=10):
            raise HostError(
                "the edge (nginx) is not running",
                where=str(self.root.edge),
                hint="as root: systemctl start pushrod-edge; journalctl -u pushrod-edge says why it stopped",
                log=files.tail(self.root.edge / "logs" / "error.log", 10),
            )

    def rest(self) -> None:
        """Nothing: systemd keeps the edge, and Docker serves others too."""

    def store_versions(self) -> dict[str, str]:
        """None: the manifest names the image, and that is what runs."""
        return {}

    def examine(self) -> Iterator[Diagnostic]:
        """Whether Docker answers, and the edge."""
        try:
            yield Diagnostic("docker", "ok", f"engine {docker.answers()}")
            yield preflight.space()
            yield _slices()
        except PushrodError as e:
            yield Diagnostic("docker", "broken", e.what, e.hint)
        up = self.edge.answering()
        mend = (
            ""
            if up
            else "as root: systemctl start pushrod-edge; journalctl -u pushrod-edge says why it stopped"
        )
        yield Diagnostic("edge", "ok" if up else "broken", "answers" if up else "does not answer", mend)

    def check_name(self, name: str) -> None:
        """Refuse, before an app is made, a name by which other apps' things are called, or may be."""
        names.check_app(name)
        if held := names.within(name, self.root.apps()):
            raise UnknownNameError(
                f"`{name}` cannot be an app's name here: {held} is a container of another app",
                hint="choose another name",
            )

    @contextlib.contextmanager
    def choose_port(self, wanted: int = 0) -> Iterator[int]:
        """The port all apps share, unless another is wanted."""
        yield wanted or _PORT

    # ---- what may run ---------------------------------------------------------------------------------------

    def terms(self, app: App, checkout: Path) -> Terms:
        """What the host's owner lets the app ask for, within the host's limits."""
        return Terms(
            "docker",
            machine.of(self.root, app.name),
            app.settings.allowed,
            lambda path: sources.tracked(checkout, path),
            str(self.root.path),
        )

    def check(self, app: App, document: Document, wanted: Manifest, checkout: Path) -> None:
        """Refuse names that would be two things', and what nothing could reach."""
        self._check_names(app, wanted)
        for service in wanted.services:
            images.check(service, checkout)
            where = f"services.{service.name}"
            reached = service.role in ("entry", "store") or service.name in wanted.routing.services
            if reached and rendering.isolated(document, service):
                raise ManifestError(
                    "nothing could reach it with `network_mode: none`", where=where, hint="take that out"
                )

    def _check_names(self, app: App, wanted: Manifest) -> None:
        """Refuse names that would be two things' on this host."""
        names.check_app(app.name)
        services = {s.name for s in wanted.services}
        instances = {f"{s.name}-{n}" for s in wanted.stateless for n in range(1, s.replicas + 1)}
        wrong = sorted(n for n in services if n.endswith(".run") or n in instances)
        stores = {names.store(app, s.name) for s in wanted.stores}
        wrong += names.foreign(app, stores, self.root.apps())
        if wrong:
            raise ManifestError(
                f"the name {wrong[0]} is taken already", where="services", hint="rename the service"
            )

    def _room(self, app: App) -> rendering.Room:
        """What bounds the app's containers on this host."""
        found = docker.info()
        slices = (
            found.get("CgroupDriver") == "systemd"
        )  # with cgroupfs a slice would be a directory that nobody bounds
        return rendering.Room(machine.of(self.root, app.name), slices=slices)

    # ---- images ---------------------------------------------------------------------------------------------

    def remarks(
        self, app: App, document: Document, wanted: Manifest, checkout: Path, images: Mapping[str, str]
    ) -> Sequence[str]:
        """On the capabilities that Docker gives every container, and pushrod does not, and on rights of files."""
        return [*rights.remarks(app, document, wanted, checkout, images), *sources.remarks(document)]

    def explain(self, app: App, error: PushrodError) -> None:
        """By what a container has printed of what was not permitted."""
        rights.explain(error, app.name)

    def imaged(self, wanted: Manifest) -> Sequence[Service]:
        """All services: stores run from images too."""
        return (*wanted.stateless, *wanted.stores)

    def build(self, app: App, commit: str, service: Service, checkout: Path, say: Say) -> Image:
        """Build a service's image in the build slice, or take or pull the one it names."""
        return images.build(app, commit, service, checkout, say)

    def identify(self, app: App, commit: str, service: Service, checkout: Path) -> str:
        """The name of the image the service would run."""
        return images.identify(app, commit, service)

    def foresee(
        self, app: App, commit: str, document: Document, wanted: Manifest, checkout: Path
    ) -> tuple[list[Change], list[Need]]:
        """What happens for each image, which stores restart, and the memory and disk it takes."""
        images.look(app, commit, wanted)
        place = self._place_of_stores(app, _mounted(app, commit, wanted, document, checkout))
        changes = preflight.image_changes(app, commit, wanted)
        changes += preflight.store_changes(app, wanted, place, document)
        return changes, preflight.needs(app, commit, wanted, document)

    # ---- sealing --------------------------------------------------------------------------------------------

    def endpoints(self, app: App, wanted: Manifest) -> list[Endpoint]:
        """Where each store is for this app: under its service's name."""
        return Stores(app).endpoints(wanted)

    @contextlib.contextmanager
    def place(
        self, app: App, number: int, wanted: Manifest, images: Mapping[str, Image]
    ) -> Iterator[Placement]:
        """Give a release a block of addresses that no kept release of any app has."""
        with locks.lock(self.root.ports_lock, purpose="choosing addresses", timeout=60):
            count = sum(s.replicas for s in wanted.stateless if s.role != "job")
            blocks = self._blocks()
            used = [block for held in blocks.values() for block in held]
            fixed = count + len(wanted.stores)
            network = addresses.choose(self.settings.pool, used, fixed, _holders(blocks))
            lower, _ = addresses.halves(network)
            instances: list[Instance] = []
            for service in wanted.stateless:
                port = addresses.port(service, parts(images[service.name].location).port, wanted)
                for n in range(1, (service.replicas if service.role != "job" else 0) + 1):
                    address = lower.address(len(instances))
                    instances.append(Instance(f"{service.name}-{n}", service.name, port, address))
            _check_ports(wanted, instances)
            yield Placement(tuple(instances), network)

    def files(self, app: App, release: Release, document: Document, wanted: Manifest) -> dict[str, str]:
        """The compose files of the release and of its stores, and which store joins which network where.

        The environments that they name are written beside the other secrets.
        """
        self._write_environments(app, release, wanted)
        found = {name: parts(image.location) for name, image in release.images.items()}
        mounted = _mounted(app, release.commit, wanted, document, app.checkout(release.number))
        rendered = {
            names.COMPOSE: rendering.release(
                self._place_of_instances(app, mounted), release, document, found
            ),
            names.STORES: rendering.stores(self._place_of_stores(app, mounted), wanted, document, found),
            names.ATTACHMENTS: rendering.attachments(app, release, document),
            **hooking.texts(app, release, wanted, Secrets(app).variables()),
        }
        limits = machine.of(self.root, app.name)
        mounted.check(limits.tree_size)
        volumes = rendering.volumes(app, document, found, wanted)
        _check_volumes(found, len(volumes), limits.volumes)
        opened.apart(document)
        there = docker.drivers() if volumes else {}
        for name, declared in volumes.items():
            self._make_volume(app, release.number, name, declared, there)
        mounted.make(
            {s.name for s in wanted.stateless if not rendering.as_root(document, s.name, found[s.name])}
        )
        return rendered

    def _place_of_instances(self, app: App, mounted: Sources) -> rendering.Place:
        def file(kind: str, name: str, reference: Mapping[str, Any], image: str) -> str:
            return mounted.file(kind, name, reference, image, store=False)

        return rendering.Place(app, mounted.instance, self._room(app), mounted.inner, file)

    def _place_of_stores(self, app: App, mounted: Sources) -> rendering.Place:
        def file(kind: str, name: str, reference: Mapping[str, Any], image: str) -> str:
            return mounted.file(kind, name, reference, image, store=True)

        return rendering.Place(app, mounted.store, self._room(app), file=file)

    def _make_volume(
        self, app: App, number: int, name: str, declared: Mapping[str, Any], there: Mapping[str, str]
    ) -> None:
        """Make one, unless it is `there`: volumes by their names, with their drivers."""
        if not declared.get("external"):
            options, driver = declared.get("driver_opts") or {}, declared.get("driver") or "local"
            if (device := str(options.get("device") or "")).startswith("/"):
                opened.path(app, device)
            if there.get(name) != driver:
                labels = {docker.APP: app.name, docker.MADE_BY: str(number)}
                docker.make_volume(name, labels, options, driver)
        elif name not in there:
            raise ManifestError(
                f"there is no volume {name} on this host",
                where="volumes",
                hint=f"docker volume create {name}",
            )

    def _blocks(self) -> dict[str, set[str]]:
        """The blocks of every kept release of every app, and of those that are being sealed."""
        found: dict[str, set[str]] = {}
        for app in self.root.apps():
            held = found.setdefault(app.name, set())
            for path in Releases(app).placed():
                # Not decoded: another app's file that is damaged must stop nobody.
                with contextlib.suppress(FileNotFoundError):
                    held.update(_NETWORK.findall(path.read_text(errors="replace")))
        return found

    def excess(self, app: App, older: Sequence[Release], live: Release) -> int:
        """The app's share is of addresses; and where the disk has no room for one more image, one older release has
        to do."""
        most, blocks = addresses.share(self.settings.pool), [addresses.size(r.network) for r in older]
        total, gone = 2 * addresses.size(live.network) + sum(blocks), 0
        while gone < len(blocks) and total > most:
            total, gone = total - blocks[gone], gone + 1
        return max(gone, len(blocks) - 1) if preflight.space().state != "ok" else gone

    def _write_environments(self, app: App, release: Release, wanted: Manifest) -> None:
        directory, sealed = names.environments(app, release.number), Secrets(app).sealed(release.number)
        for service in release.services:
            environment.write(directory / f"{service.name}.env", sealed[service.name])
            environment.write(directory / f"{service.name}.release.env", sealed[f"{service.name}:release"])
        for store in wanted.stores:
            environment.write(directory / f"store.{store.name}.env", Stores(app).environment(store))

    # ---- stores ---------------------------------------------------------------------------------------------

    def ensure_stores(self, app: App, release: Release, *, ddl: bool) -> str:
        """Bring the stores up in place, prove that they answer, ensure roles and databases."""
        return Stores(app).ensure(release, ddl=ddl)

    def schema(self, app: App, stores: Sequence[Service]) -> str:
        """A digest over the schemas of the databases that pushrod gives the app."""
        return Stores(app).schema(stores)

    def waits(self, app: App, stores: Sequence[Service]) -> Sequence[str]:
        """Asked of the databases that pushrod gives the app."""
        return Stores(app).waits(stores)

    def end_migrations(self, app: App, stores: Sequence[Service], since: str) -> None:
        """In the databases that pushrod gives the app. A release command's container goes with its release."""
        Stores(app).end_migrations(stores, since)

    def archives(self, app: App, release: Release, *, ddl: bool) -> Sequence[Archive]:
        """The app's databases, and snapshots of its Redis stores."""
        return backups.archives(app, release, ddl=ddl)

    def restore(self, app: App, release: Release | None, failed: int, *, running: bool) -> None:
        """The stores as the live release has them; the gate closed where nothing is live."""
        Stores(app).restore(release, failed, running=running)
        if release is None:
            files.remove_tree(names.GATES / app.name)

    def discard(self, app: App, number: int) -> None:
        """Remove the volumes that were made for a release which was never live."""
        docker.remove_volumes(docker.volumes({docker.APP: app.name, docker.MADE_BY: str(number)}))

    def stop_stores(self, app: App) -> Sequence[str]:
        """Stop the stores, each within its grace; their data stays."""
        found = [c for c in docker.containers({docker.APP: app.name}) if docker.RELEASE not in c.labels]
        return self._stop(app, found)

    # ---- instances ------------------------------------------------------------------------------------------

    def run(
        self,
        app: App,
        release: Release,
        service: Service,
        argv: Sequence[str],
        environment: dict[str, str],
        say: Say,
    ) -> int:
        """Run a program once from a release's image, on its networks. The environment is the sealed one."""
        self._join(app, release)
        command = self._compose(
            app, release, "run", "--rm", "--no-deps", "--no-TTY", "--", f"{service.name}.run", *argv
        )
        return processes.run(command, env=docker.environment(), timeout=_RUN, on_line=say).status

    def start(self, app: App, release: Release, environments: dict[str, dict[str, str]]) -> None:
        """Start a release's instances beside whatever runs."""
        self._join(app, release)
        try:
            bring_up.start(self._place(app), names.files(app, release.number))
        except bring_up.Trouble as e:
            raise docker.known(str(e), f"app {app.name}") or self._not_started(app, release, e) from e

    def _not_started(self, app: App, release: Release, trouble: bring_up.Trouble) -> ReadyError:
        """Compose's own words: a program that is not in the image, or an instance that others wait for has ended."""
        why = str(trouble)
        containers = {names.instance(app, release.number, i.name): i for i in release.instances}
        named = next((c for c in containers if re.search(rf"\b{re.escape(c)}(?![\w.-])", why)), "")
        hook = trouble.hook  # which says itself what is wrong with its command
        log = hook.log if hook else tuple(docker.logs(named)) if named else ()
        cause = None if hook else causes.find(why, log)
        name = f"{containers[named].name} was not started: " if named and cause else ""
        return ReadyError(
            name + (cause.what if cause else causes.plain(why)),
            where=f"service {containers[named].service}" if named else f"release {release.number}",
            hint=f"{f'{cause.hint}; ' if cause else ''}what was live still is. Mend it, commit and push again",
            log=log or ((causes.plain(why),) if cause else ()),
        )

    def ready(self, app: App, release: Release) -> Sequence[str]:
        """Wait until every instance is healthy; ReadyError at its deadline, or at once if it ends."""
        notes = Readiness(release, lambda i: names.instance(app, release.number, i.name)).wait()
        bring_up.open_edge(self._place(app), release.number)
        return [*notes, *self._not_permitted(app, release)]

    def _not_permitted(self, app: App, release: Release) -> Iterator[str]:
        """What instances have printed of what they could not do, where it was not said before."""
        rendered = rendering.services((names.files(app, release.number) / names.COMPOSE).read_text())
        firsts = {i.service: i for i in reversed(release.instances)}
        for service, instance in sorted(firsts.items()):
            given = rendered[instance.name].get("cap_add") or []
            said = " ".join(n for n in release.notes if n.startswith(f"{service}:"))
            printed = docker.logs(names.instance(app, release.number, instance.name))
            yield from rights.from_log(app.name, service, printed, given, said)

    def stop(self, app: App, number: int) -> Sequence[str]:
        """Stop a release's instances, each within its grace; keep what they printed; take their networks away."""
        bring_up.close_edge(self._place(app), number)
        found = docker.containers({docker.APP: app.name, docker.RELEASE: str(number)})
        notes = self._stop(app, found)
        logs.keep(app, [c for c in found if docker.INSTANCE in c.labels])
        docker.remove([c.name for c in found])
        docker.remove_networks(docker.networks({docker.APP: app.name, docker.RELEASE: str(number)}))
        # Docker goes on with what Compose had asked for when it was cut off.
        late = docker.containers({docker.APP: app.name, docker.RELEASE: str(number)})
        docker.remove([c.name for c in late])
        return notes

    def _stop(self, app: App, containers: Sequence[docker.Container]) -> list[str]:
        """Stop containers, each within its grace, after what is to be run in them before."""
        try:
            failed = bring_up.before_stop(self._place(app), [c.name for c in containers if c.running])
            notes = [one.why for one in failed]
        except bring_up.Trouble as e:
            notes = [f"what was to be run before containers stop was not: {e}"]
        docker.stop([c for c in containers if c.state in _ALIVE])
        return notes

    def workers(self, app: App, release: Release) -> Collection[str]:
        """The instances that answer nobody."""
        silent = [i.name for i in release.instances if i.service not in release.serving]
        found = self._instances(app, release.number, silent)
        return [name for name, c in found.items() if c.running and not network.listens(c.pid)]

    def stop_instances(self, app: App, release: Release, instances: Collection[str]) -> Sequence[str]:
        """Stop their containers, which Docker then does not start again by itself."""
        return self._stop(app, list(self._instances(app, release.number, instances).values()))

    def _instances(self, app: App, number: int, wanted: Collection[str]) -> dict[str, docker.Container]:
        """Those containers of a release that are these instances, by the instances' names."""
        found = docker.inspect([names.instance(app, number, name) for name in wanted])
        return {c.labels[docker.INSTANCE]: c for c in found if docker.INSTANCE in c.labels}

    def running(self, app: App) -> list[int]:
        """The releases of an app that have containers."""
        found = docker.labelled({docker.APP: app.name, docker.INSTANCE: ""}, docker.RELEASE)
        return sorted(map(int, found))

    def states(self, app: App) -> list[ProcessState]:
        """Every container of an app, stores first, and the edge before them."""
        found = [state_of(c) for c in docker.containers({docker.APP: app.name})]
        own = sorted(
            (s for s in found if s is not None), key=lambda s: (s.group != app.name, s.group, s.name)
        )
        return [edge_state(self.edge), *own] if own else []

    def one_shot(
        self, app: App, release: Release, service: Service, argv: Sequence[str], environment: dict[str, str]
    ) -> Program:
        """A new container of the service's image, on the release's networks, removed at its end."""
        terminal = [] if sys.stdin.isatty() else ["--no-TTY"]
        words = self._compose(
            app, release, "run", "--rm", "--no-deps", *terminal, "--", f"{service.name}.run", *argv
        )
        return Program(tuple(words), str(app.directory), docker.environment())

    def inside(
        self, app: App, release: Release, service: Service, argv: Sequence[str], environment: dict[str, str]
    ) -> Program:
        """In the container of the service's first instance that runs. Raises UnknownNameError where none does."""
        labels = {docker.APP: app.name, docker.RELEASE: str(release.number), docker.SERVICE: service.name}
        running = sorted(
            c.name for c in docker.containers(labels) if c.running and docker.INSTANCE in c.labels
        )
        if not running:
            raise UnknownNameError(f"no instance of {service.name} runs", hint="`pushrod status` says why")
        terminal = ["--tty"] if sys.stdin.isatty() else []
        words = ("docker", "exec", "--interactive", *terminal, "--", running[0], *argv)
        return Program(words, str(app.directory), docker.environment())

    def _place(self, app: App) -> bring_up.App:
        return bring_up.App(str(self.root.path), app.name)

    def _compose(self, app: App, release: Release, *argv: str) -> list[str]:
        place, file = self._place(app), names.files(app, release.number) / names.COMPOSE
        return [*place.program(), "--progress", "quiet", "--file", str(file), *argv]

    def _join(self, app: App, release: Release) -> None:
        """The release's networks, with the stores on them."""
        bring_up.open_gate(self._place(app))
        try:
            bring_up.join(self._place(app), names.files(app, release.number))
        except bring_up.Trouble as e:
            if docker.known(str(e), f"app {app.name}") is None and causes.find(str(e)):
                raise self._not_started(app, release, e) from e
            raise docker.failed(str(e), f"app {app.name}") from e

    # ---- afterwards -----------------------------------------------------------------------------------------

    def present(self, app: App, number: int) -> str:
        """A mark in the app's gate, on tmpfs: after a reboot the edge waits until the release has proved healthy."""
        return str(names.up(app, number))

    def at_boot(self, app: App, *, wanted: bool) -> None:
        """The link that says whether systemd brings the app back; a path unit sees it change."""
        link = names.UNITS / f"pushrod-app@{app.name}.service"
        if wanted and not link.is_symlink():
            files.point(link, "../pushrod-app@.service")
        elif not wanted and link.is_symlink():
            link.unlink()

    def clear(self, app: App, directory: Path) -> None:
        """Remove a directory and all below it; what containers wrote there as another account, from a container.

        Raises HostError where that does not do either.
        """
        try:
            files.remove_tree(directory)
        except PermissionError as e:
            docker.empty(directory, docker.tags(names.images(app)))
            with contextlib.suppress(PermissionError):
                files.remove_tree(directory)
                return
            raise HostError(
                "holds files of other accounts that could not be removed",
                where=str(directory),
                hint=f"as root: rm -r {directory}",
            ) from e

    def prune(self, app: App) -> None:
        """Remove images that no kept release needs, and old logs."""
        kept, damaged = Releases(app).whole()
        kept_files = [*(app.state / "releases").glob("*/*.yaml"), names.running_stores(app)]
        named = "".join(path.read_text(errors="replace") for path in kept_files if path.exists())
        needed = [image.location for release in kept for image in release.images.values()]
        images.prune(app, needed, named if damaged else "")
        sources.prune(app, named)
        numbers = [*damaged, *(r.number for r in kept)]
        for directory in app.logs.glob("r*"):
            number = int(directory.name[1:])
            if number not in numbers and number < max(numbers, default=0) - _KEPT_LOGS:
                files.remove_tree(directory)

    def sweep(self) -> list[PushrodError]:
        """Remove from each app's builder what no build has used for a week, and builders whose app is gone."""
        docker.prune_builds(_UNUSED)  # what hosts have from the time when all apps shared the engine's own
        failed: list[PushrodError] = []
        for app in self.root.apps():
            try:
                Builder(app).prune(_UNUSED)
            except PushrodError as e:  # one app's builder keeps no other's from being looked at
                failed.append(e.of(app.name))
        for name in builders.orphans(self.root):
            Builder(App(self.root, name)).forget()
        return failed

    def forget(self, app: App) -> None:
        """Remove an app's containers, networks, volumes with their data, and images."""
        docker.remove([c.name for c in docker.containers({docker.APP: app.name})])
        docker.remove_networks(docker.networks({docker.APP: app.name}))
        docker.remove_volumes(docker.volumes({docker.APP: app.name}))
        images.prune(app, [])
        Builder(app).forget()
        files.remove_tree(names.GATES / app.name)
        self.at_boot(app, wanted=False)

    def logs(
        self, app: App, service: str = "", release: int = 0, *, lines: int = 50, follow: bool = False
    ) -> Iterator[Line]:
        """What an app's containers have printed."""
        return (logs.follow if follow else logs.lines)(app, service, release, lines)


def _check_volumes(images: Mapping[str, rendering.Parts], made: int, most: int) -> None:
    """Refuse more volumes than the host takes of an app: an image too can ask for them, for each container of it."""
    asked = {"volumes": made} | {f"services.{name}": len(its.data) for name, its in images.items()}
    where, count = max(asked.items(), key=lambda item: item[1])
    if count > most:
        raise ManifestError(
            f"{count} volumes, those that images ask for counted, and this host takes {most} of an app",
            where=where,
            hint=f"use fewer (VOLUME, too); the host's owner can raise it: pushrod host limits volumes={count}",
        )


def _has_quota(found: Mapping[str, Any]) -> bool:
    """Whether the engine can bound what a container writes: overlay2 on XFS with project quotas, of which Docker's
    documentation of `storage-opt` says so."""
    place = Path(str(found.get("DockerRootDir") or "/"))
    mounts = [m for m in psutil.disk_partitions(all=True) if place.is_relative_to(m.mountpoint)]
    under = max(mounts, key=lambda m: len(m.mountpoint), default=None)
    if under is None or under.fstype != "xfs" or found.get("Driver") != "overlay2":
        return False
    return bool({"prjquota", "pquota"} & {*under.opts.split(",")})


def _slices() -> Diagnostic:
    """Whether systemd bounds what all containers of an app take together."""
    driver = docker.info().get("CgroupDriver")
    if driver == "systemd":
        return Diagnostic("limits", "ok", "each app has a slice of systemd's of its own")
    return Diagnostic(
        "limits",
        "warning",
        f"the Docker engine's cgroup driver is {driver}: each container is bounded, but not all of an app together",
        'say "exec-opts": ["native.cgroupdriver=systemd"] in /etc/docker/daemon.json, and restart the engine',
    )


def _holders(blocks: Mapping[str, Collection[str]]) -> str:
    """Who has most of the pool, for whoever finds it full."""
    rows = sorted(
        ((sum(map(addresses.size, held)), name) for name, held in blocks.items() if held), reverse=True
    )
    return ", ".join(f"{name} holds {count} addresses" for count, name in rows[:3])


def _check_ports(wanted: Manifest, instances: Sequence[Instance]) -> None:
    """Refuse a service that the edge could not reach: the entry, or one that a route leads to."""
    reached = {wanted.entry.name, *wanted.routing.services}
    for instance in instances:
        if instance.service in reached and not instance.port:
            raise ManifestError(
                f"nothing says on which port {instance.service} listens",
                where=f"services.{instance.service}",
                hint='publish it (ports: ["8000:8000"]), `expose` it, or EXPOSE it in the Dockerfile',
            )


def _mounted(app: App, commit: str, wanted: Manifest, document: Document, checkout: Path) -> Sources:
    return Sources(app, commit, checkout, document, {s.name for s in wanted.stores})
