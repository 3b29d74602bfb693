"""The embedded engine's own parts: the supervisor, the edge, and the rotation of the edge's logs."""

import contextlib
import itertools
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pushrod.core.errors import HostError, PushrodError, StateError
from pushrod.core.processes import Process
from pushrod.core.values import Diagnostic, Manifest, Service
from pushrod.engines import machine
from pushrod.engines.embedded import diagnostics, ports, rooms, volumes
from pushrod.engines.embedded.context import SYSTEM, Context
from pushrod.engines.embedded.image_uses import Use
from pushrod.engines.embedded.stores import group_of
from pushrod.engines.protocols import Document
from pushrod.ingress.certificates import tls_port
from pushrod.state.apps import App
from pushrod.state.secrets import Secrets
from pushrod.system import files, locks, network, tails, waits

if TYPE_CHECKING:
    from pushrod.manifest.policy import Terms

_LOGS = "pushrod-logs"  # a group of its own: adding it to the edge's would restart nginx
_ROTATION = 10  # seconds between checks of the size of the edge's logs
_PORT = "end that process, or give the app another port: pushrod up --port PORT"
_STORES_PORT = "end that process: a store keeps its address and port"
_EDGE = 30  # the supervisor starts lower priorities first, and stops them last


class Platform:
    """The parts that the engine needs to run, and the conditions it sets for apps."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def open(self) -> None:
        """Start the supervisor and the edge. Raises HostError if a part is missing or does not start."""
        self._context.root.create()
        with locks.lock(self._context.root.path / "engine.lock", purpose="starting", timeout=60):
            self._context.supervisor.ensure()
            self._context.edge.prepare()
            self._context.supervisor.apply("edge", (self._edge_process(),))
            self._context.supervisor.apply(_LOGS, (self._logs_process(),))
            self._repair_edge()
        if not waits.wait_until(self._edge_is_up, timeout=10):
            raise HostError(
                "the edge (nginx) does not start",
                where=str(self._context.root.edge),
                log=tails.of_file(self._context.root.supervisor / "nginx.log"),
                hint="its last lines are above; `pushrod doctor` shows which nginx is in use",
            )

    def _edge_is_up(self) -> bool:
        """Whether nginx runs and answers: after their master is killed, workers continue to answer."""
        return self._context.edge.running() and self._context.edge.answering()

    def _repair_edge(self) -> None:
        """If nginx cannot start because its tree is damaged, render the tree again; if another program took an app's
        port, remove that app's site.

        One app's port must not keep the others down. The app itself gets the error at its next switch.
        """
        if waits.wait_until(self._edge_is_up, timeout=1):
            return
        if not self._context.edge.running() and not self._context.edge.is_whole():
            self._context.edge.rebuild()
            self._context.supervisor.restart("edge")
        sites = self._context.edge.sites().items()
        stolen = {name: None for name, site in sites if not all(map(network.port_is_free, site.ports))}
        if stolen and not self._context.edge.running():
            self._context.edge.place(stolen)
            self._context.supervisor.restart("edge")

    def start_at_boot(self, enabled: bool, *, metrics: bool = False) -> str:
        """Install a systemd unit that runs the supervisor; it takes effect at the supervisor's next start. A timer of
        systemd writes the metrics.
        """
        unit, supervisor = self._context.boot_unit, self._context.supervisor
        if not enabled:
            unit.remove()
        elif not supervisor.place.conf.exists():
            raise HostError(
                "no app has run here yet", where=str(self._context.root.path), hint="`pushrod up` starts one"
            )
        elif not self._context.root.runtime.is_relative_to(self._context.root.path):
            raise HostError(
                "the path is too long: sockets of this root are in /tmp, which is empty after a reboot",
                where=str(self._context.root.path),
                hint="choose a directory with a shorter path with --root",
            )
        else:
            unit.install(Path(sys.prefix) / "bin" / "pushrod" if metrics else None)
        return unit.name

    def stop_if_idle(self) -> None:
        """Stop supervisor and edge if no app of the root is up or being worked on."""
        with locks.lock(self._context.root.path / "engine.lock", purpose="stopping", timeout=60):
            if all(map(_is_idle, self._context.root.apps())):
                self._context.supervisor.shutdown()
            if not any(self._context.root.apps()):
                files.remove_tree(
                    self._context.root.runtime
                )  # in /tmp if the root's own path is too long for sockets

    def examine(self) -> Iterator[Diagnostic]:
        """The programs in use, the account of the children, and whether the edge answers."""
        yield from diagnostics.of_parts(self._context.parts.versions())
        yield diagnostics.of_account(lambda: self._context.account)
        yield from diagnostics.of_files(self._context.root)
        yield from diagnostics.of_rooms(
            lambda: rooms.refusal(self._context), lambda: rooms.address_refusal(self._context)
        )
        yield from diagnostics.of_boot(self._context.boot_unit)
        yield from diagnostics.of_edge(lambda: self._context.edge, list(self._context.root.apps()))

    def check_name(self, name: str) -> None:
        """Nothing is refused: an app's name cannot contain the separators of other names."""

    @contextlib.contextmanager
    def choose_port(self, port: int = 0) -> Iterator[int]:
        """A port of its own for an app at the edge: the requested one, or the first free one."""
        with ports.choosing(self._context.root):
            yield ports.for_edge(self._context.root, port)

    def terms(self, app: App, checkout: Path) -> "Terms":
        """What an app may ask for: instances are processes of this machine, so there are no grants."""
        from pushrod.manifest.policy import Terms

        return Terms("embedded", machine.of(self._context.root))

    def check(self, app: App, document: Document, manifest: Manifest, checkout: Path) -> None:
        """Refuse services that cannot run here. Rights are not checked: an app's processes have those of the account
        that deploys it.
        """
        from pushrod.engines.embedded.builds import images

        self._check_ports(app, manifest)
        may_cover, refusal = partial(rooms.may_cover, self._context), rooms.refusal(self._context)
        known = {*Secrets(app).variables(), *rooms.variables(manifest)} if refusal else set()
        lacking = list[tuple[Service, Use]]()
        for service in manifest.stateless:
            images.check(service, checkout, self._context.root.environments)
            if service.volumes and (service.replicas or service.release):
                volumes.check(app, service, images.layout(service, checkout), checkout, refusal, may_cover)
            if refusal:
                uses = images.uses(service, rooms.names(manifest), known, checkout)
                lacking += [(service, use) for use in itertools.islice(uses, 1)]
        rooms.check(lacking, refusal)

    def _check_ports(self, app: App, manifest: Manifest) -> None:
        """Refuse an app, before anything is built, if another program has one of its ports: at the edge, or that of a
        store that does not run yet.
        """
        if not self._is_served(app):
            port = app.settings.port
            encrypted = (tls_port(port),) if manifest.tls.source != "off" else ()
            for number in (port, *encrypted):
                ports.check(number, "the app", _PORT)
        stores, groups = {s.name for s in manifest.stores}, self._context.supervisor.groups()
        for record in ports.store_records(app):
            if record.name in stores and group_of(app, record.name) not in groups:
                ports.check(record.port, f"the store {record.name}", _STORES_PORT, record.address)

    def _is_served(self, app: App) -> bool:
        """Whether the edge has the app's ports; true if its tree is damaged and does not show this."""
        edge = self._context.edge
        if not os.path.lexists(edge.current):
            return False
        try:
            return app.name in edge.sites()
        except StateError:
            return True

    def explain(self, app: App, error: PushrodError) -> None:
        """Nothing to add."""

    def _edge_process(self) -> Process:
        return Process(
            group="edge",
            name="nginx",
            argv=self._context.edge.argv(),
            cwd=str(self._context.root.edge),
            environment=SYSTEM,
            log=str(self._context.root.supervisor / "nginx.log"),
            priority=_EDGE,
            stop_signal="QUIT",
            stop_grace=35,
            death_signal="TERM",
        )

    def _logs_process(self) -> Process:
        return Process(
            group=_LOGS,
            name="rotation",
            argv=(*self._context.edge.rotation(), str(_ROTATION)),
            cwd=str(self._context.root.edge),
            environment=SYSTEM,
            log=str(self._context.root.supervisor / "rotation.log"),
            priority=_EDGE + 1,
        )


def _is_idle(app: App) -> bool:
    """Whether an app is down and nobody works on it; false if its state is too damaged to tell."""
    try:
        return app.settings.down and not locks.locked(app.lock)
    except StateError:
        return False
