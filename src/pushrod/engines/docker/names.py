"""Names and paths of everything on a Docker host."""

import hashlib
import re
from pathlib import Path

from pushrod.adapters import docker, systemd
from pushrod.core.values import Release
from pushrod.engines.docker import gates
from pushrod.state.apps import App

GATES = gates.GATES
"""The directory that contains each app's gate, which its instances mount. It is on tmpfs, and a gate is created once
the stores have proved healthy: so after a power cut dockerd cannot start an instance before its stores, whatever its
restart policy.
"""

UP = gates.UP
"""Prefix of a file in an app's gate, followed by the number of a release whose instances have proved healthy since
they were started: the edge waits for it.
"""

STOPPED = gates.STOPPED
"""A file in an app's gate: the app's unit was stopped, so the watchdog leaves it alone."""

UNITS = systemd.WANTS
"""A link `pushrod-app@shop.service` here makes the app start at boot."""

COMPOSE, STORES, ATTACHMENTS = "compose.yaml", "stores.yaml", "attachments.json"
HOOKS, STORE_HOOKS = "hooks.json", "store-hooks.json"
"""The files that are sealed beside `release.json`; hook files only if there are hooks."""


def project(app: App, number: int) -> str:
    """The compose project, and the network, of a release."""
    return f"{app.name}-r{number}"


def outside(app: App) -> str:
    """The network by which stores of an unknown kind reach the internet. No app's name contains `_`."""
    return f"{app.name}_outside"


def outside_interface(app: App) -> str:
    """That network's interface on the host, by which pushrod-guard.service limits its connections; an interface's
    name has at most 15 characters (if_nametoindex(3), IFNAMSIZ)."""
    return f"pout-{hashlib.sha256(app.name.encode()).hexdigest()[:8]}"


def stores_network(app: App, number: int) -> str:
    """The internal network that connects a release to the stores."""
    return f"{project(app, number)}-stores"


def store(app: App, name: str) -> str:
    """The container of a store."""
    return f"{app.name}-{name}"


def instance(app: App, number: int, name: str) -> str:
    """The container of an instance."""
    return f"{project(app, number)}-{name}"


def slice(app: App, *, store: bool) -> str:
    """The systemd slice of an app's instances, or of its stores. A dash in a slice's name nests it in another slice
    (systemd.slice(5)), so dashes of the app's name become underscores, which no app's name contains.
    """
    return f"{systemd.STORES if store else systemd.INSTANCES}{app.name.replace('-', '_')}.slice"


def image(app: App, service: str, version: str) -> str:
    """pushrod's name for an image of a commit, or for a pulled image."""
    return f"pushrod/{app.name}/{path(service)}:{version}"


def images(app: App) -> str:
    """The common prefix of the names of all of an app's images."""
    return f"pushrod/{app.name}"


def files(app: App, number: int) -> Path:
    """The directory of a release's sealed files."""
    return app.state / "releases" / str(number)


def running_stores(app: App) -> Path:
    """The compose file of the running stores."""
    return app.state / "stores" / COMPOSE


def running_hooks(app: App) -> Path:
    """The hooks of the running stores."""
    return app.state / "stores" / HOOKS


def file_capabilities(app: App) -> Path:
    """The cached file capabilities of the app's images."""
    return app.directory / "file-capabilities.json"


def up(app: App, number: int) -> Path:
    """The file without which the edge sends no request to a release."""
    return GATES / app.name / f"{UP}{number}"


def environments(app: App, number: int) -> Path:
    """The directory with the environment of each of a release's services, as files of mode 0600."""
    return app.secrets / "releases" / str(number)


def private_files(app: App) -> Path:
    """The directory of configs and secrets whose text is not in the commit, each named by its digest."""
    return app.secrets / "files"


def store_environment(app: App, name: str) -> Path:
    """The environment file of the running store."""
    return app.secrets / "stores" / f"{name}.env"


def data(app: App) -> Path:
    """The directory of bind mounts whose source Git does not track: data, shared by all releases. See `data`."""
    return app.directory / "data"


def labels(app: App, service: str, release: Release | None = None) -> dict[str, str]:
    """The labels of a container."""
    of_release = {docker.RELEASE: str(release.number)} if release else {}
    return {docker.APP: app.name, docker.SERVICE: service, **of_release}


_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")


def path(service: str) -> str:
    """A service's name as a part of an image name. A name that the OCI distribution specification does not allow
    there (`Web`, `a..b`) gets a digest, so that it cannot collide with another.
    """
    if _PATH.fullmatch(service):
        return service
    plain = re.sub(r"[^a-z0-9]+", "-", service.lower()).strip("-") or "service"
    return f"{plain}-{hashlib.sha256(service.encode()).hexdigest()[:8]}"
