"""What things are called on a Docker host, and where they are."""

import hashlib
import re
from pathlib import Path

from pushrod.apps import App
from pushrod.gears import docker, systemd
from pushrod.values import Release

GATES = Path("/run/pushrod")
"""Where the directory of each app is that its instances mount. It is on tmpfs, and made once the stores have proved
healthy: so after a power cut dockerd cannot start an instance before its stores, whatever its restart policy."""

UP = "up-"
"""What the name of a file in an app's gate begins with; the number of a release follows, whose instances have proved
healthy since they were brought up: the edge waits for it."""

STOPPED = "stopped"
"""The file in an app's gate that says that its unit was stopped: the watch leaves it alone."""

UNITS = Path("/etc/systemd/system/pushrod.target.wants")
"""A link `pushrod-app@shop.service` here says that the app comes back at boot."""

COMPOSE, STORES, ATTACHMENTS = "compose.yaml", "stores.yaml", "attachments.json"
"""The files that are sealed beside `release.json`."""


def project(app: App, number: int) -> str:
    """The compose project, and the network, of a release."""
    return f"{app.name}-r{number}"


def stores_network(app: App, number: int) -> str:
    """The internal network on which a release meets the stores."""
    return f"{project(app, number)}-stores"


def store(app: App, name: str) -> str:
    """The container of a store."""
    return f"{app.name}-{name}"


def instance(app: App, number: int, name: str) -> str:
    """The container of an instance."""
    return f"{project(app, number)}-{name}"


def slice(app: App, *, store: bool) -> str:
    """The systemd slice of an app's instances, or of its stores. A dash in a slice's name leads into another one
    (systemd.slice(5)), so that of an app's name, which has no underscore, becomes one."""
    return f"{systemd.STORES if store else systemd.INSTANCES}{app.name.replace('-', '_')}.slice"


def image(app: App, service: str, version: str) -> str:
    """The name pushrod gives an image: of a commit, or of an image that was pulled."""
    return f"pushrod/{app.name}/{_path(service)}:{version}"


def images(app: App) -> str:
    """What the names of all of an app's images begin with."""
    return f"pushrod/{app.name}"


def files(app: App, number: int) -> Path:
    """Where a release's sealed files are."""
    return app.state / "releases" / str(number)


def running_stores(app: App) -> Path:
    """The compose file that the stores run as now."""
    return app.state / "stores" / COMPOSE


def up(app: App, number: int) -> Path:
    """The file without which the edge sends no request to a release."""
    return GATES / app.name / f"{UP}{number}"


def environments(app: App, number: int) -> Path:
    """Where the environment of each of a release's services is, as a file of mode 0600."""
    return app.secrets / "releases" / str(number)


def private_files(app: App) -> Path:
    """Where configs and secrets are whose text is not in the commit, each under a digest of it."""
    return app.secrets / "files"


def store_environment(app: App, name: str) -> Path:
    """The environment that a store runs with now."""
    return app.secrets / "stores" / f"{name}.env"


def data(app: App) -> Path:
    """Where bind mounts are whose source Git does not track: data, shared by all releases. See `data`."""
    return app.directory / "data"


def labels(app: App, service: str, release: Release | None = None) -> dict[str, str]:
    """The labels of a container."""
    of_release = {docker.RELEASE: str(release.number)} if release else {}
    return {docker.APP: app.name, docker.SERVICE: service, **of_release}


_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")


def _path(service: str) -> str:
    """A service's name as a part of an image's. One that the OCI distribution specification's grammar of names does
    not allow (`Web`, `a..b`) is told apart by a digest from others that would look the same."""
    if _PATH.fullmatch(service):
        return service
    plain = re.sub(r"[^a-z0-9]+", "-", service.lower()).strip("-") or "service"
    return f"{plain}-{hashlib.sha256(service.encode()).hexdigest()[:8]}"
