"""The docker engine's own parts, which are Docker's and systemd's to run, and what they let an app be."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from pushrod.adapters import docker
from pushrod.core.errors import HostError, ManifestError, PushrodError, UnknownNameError
from pushrod.core.values import Diagnostic, Manifest
from pushrod.engines import machine
from pushrod.engines.docker import containers, images, names, preflight, rights, sources
from pushrod.engines.docker.context import PORT, Context
from pushrod.engines.protocols import Document
from pushrod.manifest.policy import Terms
from pushrod.state.apps import App
from pushrod.system import files, waits


class Platform:
    """What a host has to have, and what it lets an app be."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def open(self) -> None:
        """HostError where Docker or the edge does not answer; both are systemd's to run."""
        docker.answers()
        docker.ask_ahead()
        if not os.access(names.UNITS, os.W_OK):  # found out now: a live app must be able to come back
            raise HostError("cannot be written", where=str(names.UNITS), hint="as root: pushrod host init")
        if not waits.wait_until(self._context.edge.answering, timeout=10):
            raise HostError(
                "the edge (nginx) is not running",
                where=str(self._context.root.edge),
                hint="as root: systemctl start pushrod-edge; journalctl -u pushrod-edge says why it stopped",
                log=files.tail(self._context.root.edge / "logs" / "error.log", 10),
            )

    def start_at_boot(self, enabled: bool) -> str:
        """`pushrod host init` has arranged it, and `pushrod down` decides it for each app."""
        raise HostError(
            "systemd starts the apps of a Docker host at boot in any case",
            hint="`pushrod down --app NAME` keeps an app from starting",
        )

    def stop_if_idle(self) -> None:
        """Nothing: systemd keeps the edge, and Docker serves others too."""

    def examine(self) -> Iterator[Diagnostic]:
        """Whether Docker answers, and the edge."""
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
            else "as root: systemctl start pushrod-edge; journalctl -u pushrod-edge says why it stopped"
        )
        yield Diagnostic("edge", "ok" if up else "broken", "answers" if up else "does not answer", fix)

    def check_name(self, name: str) -> None:
        """Refuse, before an app is made, a name by which other apps' things are called, or may be."""
        names.check_app(name)
        if held := names.within(name, self._context.root.apps()):
            raise UnknownNameError(
                f"`{name}` cannot be an app's name here: {held} is a container of another app",
                hint="choose another name",
            )

    @contextlib.contextmanager
    def choose_port(self, port: int = 0) -> Iterator[int]:
        """The port all apps share, unless another is asked for."""
        yield port or PORT

    def terms(self, app: App, checkout: Path) -> Terms:
        """What the host's owner lets the app ask for, within the host's limits."""
        return Terms(
            "docker",
            machine.of(self._context.root, app.name),
            app.settings.allowed,
            lambda path: sources.tracked(checkout, path),
            str(self._context.root.path),
        )

    def check(self, app: App, document: Document, manifest: Manifest, checkout: Path) -> None:
        """Refuse names that would be two things', and what nothing could reach."""
        self._check_names(app, manifest)
        for service in manifest.services:
            images.check(service, checkout)
            where = f"services.{service.name}"
            reached = service.role in ("entry", "store") or service.name in manifest.routing.services
            if reached and containers.isolated(document, service):
                raise ManifestError(
                    "nothing could reach it with `network_mode: none`", where=where, hint="take that out"
                )

    def _check_names(self, app: App, manifest: Manifest) -> None:
        """Refuse names that would be two things' on this host."""
        names.check_app(app.name)
        services = {s.name for s in manifest.services}
        instances = {f"{s.name}-{n}" for s in manifest.stateless for n in range(1, s.replicas + 1)}
        wrong = sorted(n for n in services if n.endswith(".run") or n in instances)
        stores = {names.store(app, s.name) for s in manifest.stores}
        wrong += names.foreign(app, stores, self._context.root.apps())
        if wrong:
            raise ManifestError(
                f"the name {wrong[0]} is taken already", where="services", hint="rename the service"
            )

    def explain(self, app: App, error: PushrodError) -> None:
        """By what a container has printed of what was not permitted."""
        rights.explain(error, app.name)


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
