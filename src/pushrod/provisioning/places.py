"""The directories of a host's root: owned by the account, closed to every other account of the machine.

So files below them need not be closed themselves: data that containers write, which may include setuid files,
locks, and static files behind a password. Docker and systemd access them as root; everything else that needs them
runs as the account.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from pushrod.adapters import docker, systemd
from pushrod.engines.docker import containers, data, names, rendering
from pushrod.provisioning import account, changes
from pushrod.provisioning.changes import Change, Work
from pushrod.state.apps import App, HostSettings, Root
from pushrod.system import trees

SOCKET = Path("/run/docker.sock")


def plan(root: Root, settings: HostSettings) -> list[Work]:
    """The directories, and the host's settings."""
    encoded = msgspec.json.format(msgspec.json.encode(settings))
    return [
        *(changes.file(path, None, mode=0o700, owner=account.owner) for path in _closed(root)),
        changes.file(root.host_settings_path, encoded, owner=account.owner, detail=f"pool {settings.pool}"),
    ]


def data_left(root: Root) -> list[Work]:
    """The moves of data that an older pushrod kept where containers could change the path to it.

    Only root can move data that belongs to a container's account.
    """
    return [
        Work(
            Change(f"data/{'/'.join(path)} of {app.name}", "changed", f"becomes data/{data.name(path)}"),
            lambda app=app, path=path: _adopt(app, path),  # type: ignore[misc]
        )
        for app in root.apps()
        for path in sorted(_mounted(app))
        if _is_left(app, path)
    ]


def problems(root: Root) -> Iterator[str]:
    """What other accounts of the machine could access, as messages."""
    for path in (*_closed(root), systemd.RUNTIME):
        if not path.exists():
            yield f"{path} is missing"
            continue
        status = path.stat()
        if stat.S_IMODE(status.st_mode) != 0o700 or status.st_uid != account.owner()[0]:
            yield f"{path} is open to other accounts"
    for place in systemd.mounts(root.path):
        if _honours_setuid(place):
            yield f"{place} is not mounted with nosuid and nodev"
    images = Path(docker.info()["DockerRootDir"])
    for path, bits in ((SOCKET, 0o006), (images, 0o007)):
        if path.exists() and path.stat().st_mode & bits:
            yield f"{path} is open to every account, which amounts to root"


def _honours_setuid(place: Path) -> bool:
    try:
        flags = os.statvfs(place).f_flag
    except FileNotFoundError:
        return False
    except PermissionError:  # Docker's volumes are root's: check the mount unit instead
        return not systemd.is_active(systemd.mount_unit(place))
    return not flags & os.ST_NOSUID or not flags & os.ST_NODEV


def _closed(root: Root) -> tuple[Path, ...]:
    return (root.path, root.apps_directory, root.edge, root.path / "run", root.path / ".ssh")


def _mounted(app: App) -> set[trees.Names]:
    """The paths of an app's data that its kept releases' compose files mount."""
    paths: set[trees.Names] = set()
    for path in (*app.state.glob("releases/*/*.yaml"), names.running_stores(app)):
        with contextlib.suppress(FileNotFoundError):
            for service in rendering.services(path.read_text()).values():
                paths.update(_below(names.data(app), service))
    return paths


def _below(directory: Path, service: dict[str, Any]) -> Iterator[trees.Names]:
    for volume in filter(containers.is_bind, service.get("volumes") or ()):
        source = Path(str(volume["source"]))
        if source.is_relative_to(directory) and ".." not in source.parts:
            yield source.relative_to(directory).parts


def _is_left(app: App, path: trees.Names) -> bool:
    return _looked(app, lambda top: data.left(top, path))


def _adopt(app: App, path: trees.Names) -> None:
    _looked(app, lambda top: data.adopt(top, path))


def _looked(app: App, look: Callable[[int], bool]) -> bool:
    with contextlib.suppress(FileNotFoundError), trees.top(names.data(app)) as top:
        return look(top)
    return False
