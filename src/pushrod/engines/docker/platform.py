"""The engine-wide parts of the docker engine, which Docker and systemd run, and the conditions they set for apps."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from pushrod.adapters import docker
from pushrod.core.errors import HostError, ManifestError, PushrodError, UnknownNameError
from pushrod.core.values import Diagnostic, Manifest
from pushrod.engines import machine
from pushrod.engines.docker import containers, images, name_owners, names, preflight, rights, sources
from pushrod.engines.docker.context import PORT, Context
from pushrod.engines.protocols import Document
from pushrod.manifest.policy import Terms
from pushrod.state.apps import App
from pushrod.system import tails, waits


class Platform:
    """The parts that a host must have, and the conditions for apps."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def open(self) -> None:
        """Raise HostError if Docker or the edge does not answer; systemd runs both."""
        docker.answers()
        docker.ask_ahead()
        # checked now, because a live app must be able to start at boot
        if not os.access(names.UNITS, os.W_OK):
            raise HostError("cannot be written", where=str(names.UNITS), hint="as root: pushrod host init")
        if not waits.wait_until(self._context.edge.answering, timeout=10):
            raise HostError(
                "the edge (nginx) is not running",
                where=str(self._context.root.edge),
                hint="as root: systemctl start pushrod-edge; journalctl -u pushrod-edge shows why it stopped",
                log=tails.of_file(self._context.root.edge / "logs" / "error.log", 10),
            )

    def start_at_boot(self, enabled: bool, *, metrics: bool = False) -> str:
        """Nothing to do: `pushrod host init` has set this up, and `pushrod down` decides it for each app."""
        raise HostError(
            "systemd starts the apps of a Docker host at boot in any case",
            hint="`pushrod down --app NAME` keeps an app from starting",
        )

    def stop_if_idle(self) -> None:
        """Nothing to stop: systemd runs the edge, and Docker serves other apps too."""

    def examine(self) -> Iterator[Diagnostic]:
        """Whether Docker and the edge answer."""
        try:
            yield Diagnostic("docker", "ok", f"engine {docker.answers()}")
            yield preflight.space()
            yield _slices()
        except PushrodError as e:
            yield Diagnostic("docker", "broken", e.what, e.hint)
        up = self._context.edge.answering()
        fix = (
            ""
            if up
            else "as root: systemctl start pushrod-edge; journalctl -u pushrod-edge shows why it stopped"
        )
        yield Diagnostic("edge", "ok" if up else "broken", "answers" if up else "does not answer", fix)

    def check_name(self, name: str) -> None:
        """Refuse a new app's name that other apps' containers have, or may have."""
        name_owners.check_app(name)
        if held := name_owners.within(name, self._context.root.apps()):
            raise UnknownNameError(
                f"`{name}` cannot be an app's name here: {held} is a container of another app",
                hint="choose another name",
            )

    @contextlib.contextmanager
    def choose_port(self, port: int = 0) -> Iterator[int]:
        """The port all apps share, unless another is requested."""
        yield port or PORT

    def terms(self, app: App, checkout: Path) -> Terms:
        """The owner's grants to the app, within the host's limits."""
        return Terms(
            "docker",
            machine.of(self._context.root, app.name),
            app.settings.allowed,
            lambda path: sources.tracked(checkout, path),
            str(self._context.root.path),
        )

    def check(self, app: App, document: Document, manifest: Manifest, checkout: Path) -> None:
        """Refuse ambiguous names, and services that nothing could reach."""
        self._check_names(app, manifest)
        for service in manifest.services:
            images.check(service, checkout, app.settings.allowed)
            where = f"services.{service.name}"
            reached = service.role in ("entry", "store") or service.name in manifest.routing.services
            if reached and containers.isolated(document, service):
                raise ManifestError(
                    "nothing could reach it with `network_mode: none`", where=where, hint="remove that line"
                )

    def _check_names(self, app: App, manifest: Manifest) -> None:
        """Refuse names that would belong to two things on this host."""
        name_owners.check_app(app.name)
        services = {s.name for s in manifest.services}
        instances = {f"{s.name}-{n}" for s in manifest.stateless for n in range(1, s.replicas + 1)}
        wrong = sorted(n for n in services if n.endswith(".run") or n in instances)
        stores = {names.store(app, s.name) for s in manifest.stores}
        wrong += name_owners.foreign(app, stores, self._context.root.apps())
        if wrong:
            raise ManifestError(
                f"the name {wrong[0]} is already taken", where="services", hint="rename the service"
            )

    def explain(self, app: App, error: PushrodError) -> None:
        """Add what a container printed about missing permissions."""
        rights.explain(error, app.name)


def _slices() -> Diagnostic:
    """Whether systemd limits all containers of an app together."""
    driver = docker.info().get("CgroupDriver")
    if driver == "systemd":
        return Diagnostic("limits", "ok", "each app has its own systemd slice")
    return Diagnostic(
        "limits",
        "warning",
        f"the Docker engine's cgroup driver is {driver}: each container is limited, but not all of an app together",
        'set "exec-opts": ["native.cgroupdriver=systemd"] in /etc/docker/daemon.json, and restart the engine',
    )
