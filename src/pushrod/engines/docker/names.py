"""What things are called on a Docker host, and where they are."""

import contextlib
import hashlib
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import msgspec

from pushrod.adapters import docker, systemd
from pushrod.core.errors import UnknownNameError
from pushrod.core.values import Release
from pushrod.engines.docker import gates
from pushrod.state.apps import App

GATES = gates.GATES
"""Where the directory of each app is that its instances mount. It is on tmpfs, and made once the stores have proved
healthy: so after a power cut dockerd cannot start an instance before its stores, whatever its restart policy."""

UP = gates.UP
"""What the name of a file in an app's gate begins with; the number of a release follows, whose instances have proved
healthy since they were brought up: the edge waits for it."""

STOPPED = gates.STOPPED
"""The file in an app's gate that says that its unit was stopped: the watch leaves it alone."""

UNITS = systemd.WANTED
"""A link `pushrod-app@shop.service` here says that the app comes back at boot."""

COMPOSE, STORES, ATTACHMENTS = "compose.yaml", "stores.yaml", "attachments.json"
HOOKS, STORE_HOOKS = "hooks.json", "store-hooks.json"
"""The files that are sealed beside `release.json`; those with hooks where there are any."""


_LIKE_RELEASE = re.compile(r".+-r[0-9]+(-.*)?")  # `shop-r7` is the seventh release of the app `shop`


# ---- one name, one owner --------------------------------------------------------------------------------------
#
# Containers, networks, compose projects and units have names that begin with the app's. `-` divides their parts, and
# an app's own name may have it: `shop-api-db` can be the store `api-db` of `shop`, and the store `db` of `shop-api`.
# Volumes (`shop_data`), images (`pushrod/shop/web`) and directories have a divider that no app's name has.


class _Store(msgspec.Struct):
    name: str


class _Sealed(msgspec.Struct):
    """Only what is needed here of a sealed release."""

    stores: tuple[_Store, ...] = ()


def check_app(name: str) -> None:
    """Refuse an app's name that a release of another app may have; UnknownNameError."""
    if _LIKE_RELEASE.fullmatch(name):
        raise UnknownNameError(
            f"`{name}` cannot be an app's name: a release of another app may be called that",
            hint="choose a name without `-r` and a number",
        )


def foreign(app: App, stores: Collection[str], apps: Iterable[App]) -> list[str]:
    """Those of an app's containers of stores that are another app's, by name, or may once be."""
    others = [other for other in apps if other.name != app.name]
    below = [f"{other.name}-" for other in others if other.name.startswith(f"{app.name}-")]
    held = {name for other in others if app.name.startswith(f"{other.name}-") for name in _stores(other)}
    return sorted(s for s in stores if s in held or s.startswith(tuple(below)) or _LIKE_RELEASE.fullmatch(s))


def within(name: str, apps: Iterable[App]) -> str:
    """A container of an app that would have the name of one of a new app `name`; empty where there is none."""
    held = (s for other in apps if name.startswith(f"{other.name}-") for s in _stores(other))
    return next((s for s in held if s.startswith(f"{name}-")), "")


def _stores(app: App) -> Iterator[str]:
    """The containers of an app's stores, of each release that is kept, whether they run or not."""
    for path in (app.state / "releases").glob("*/release.json"):
        with contextlib.suppress(OSError, msgspec.DecodeError):  # a damaged file must stop nobody
            found = msgspec.json.decode(path.read_bytes(), type=_Sealed)
            yield from (store(app, s.name) for s in found.stores)


# ---- what things are called -----------------------------------------------------------------------------------


def project(app: App, number: int) -> str:
    """The compose project, and the network, of a release."""
    return f"{app.name}-r{number}"


def outside(app: App) -> str:
    """The network by which stores of no known kind reach the world. `_` is in no app's name."""
    return f"{app.name}_outside"


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


def running_hooks(app: App) -> Path:
    """The hooks of the stores as they run now."""
    return app.state / "stores" / HOOKS


def file_capabilities(app: App) -> Path:
    """What was found of the files of the app's images."""
    return app.directory / "file-capabilities.json"


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
