"""What a service mounts, for the engine that mounts it itself. Pure."""

import posixpath
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pushrod.core.modules import later
from pushrod.core.patterns import lazy
from pushrod.core.values import Service, Volume
from pushrod.manifest.document import Key

if TYPE_CHECKING:
    from pushrod.manifest.policy import mounts as policy
else:
    policy = later("pushrod.manifest.policy.mounts")

_TMPFS = lazy(r"size=[0-9]+[kmg]?|mode=[0-7]{3,4}|exec|noexec|ro|rw")  # its owner is the program's account


FIRST_SCRIPTS = "/docker-entrypoint-initdb.d"  # of the images of stores: run when there are no data yet


def first_scripts(service: Key) -> tuple[Volume, ...]:
    """The bind mounts of SQL files, or of a directory of such scripts, for a store's first start."""

    def is_one(volume: Volume) -> bool:
        if not volume.bind or volume.source.startswith(("/", "~")):
            return False
        parent, name = posixpath.split(volume.target)
        return volume.target == FIRST_SCRIPTS or (parent == FIRST_SCRIPTS and name.endswith(".sql"))

    return tuple(filter(is_one, _volumes(service)))


def code(service: Service, holds: Callable[[str], bool]) -> Volume | None:
    """The directory of the commit from which a service whose image is not built has its code, and where its programs
    start: the first that it mounts. `holds` tells whether the commit has a directory.
    """
    if service.build is not None:
        return None
    return next((v for v in service.volumes if v.bind and v.target != "/" and holds(v.source)), None)


def read(service: Key) -> tuple[Volume, ...]:
    """Its volumes, bind mounts and file systems in memory, in the file's order."""
    return (*_volumes(service), *_tmpfs(service.get("tmpfs")))


def _volumes(service: Key) -> Iterator[Volume]:
    for mount in service.get("volumes").sequence():
        if not isinstance(mount.value, dict):
            continue
        kind, source = mount.get("type").text(), mount.get("source").text()
        target = posixpath.normpath(mount.get("target").text() or "/")
        read_only = mount.get("read_only").yes()
        if kind == "tmpfs":
            given = mount.get("tmpfs")
            words = [f"size={size}"] if (size := given.get("size").text()) else []
            words += [f"mode={mode:o}"] if (mode := given.get("mode").whole(0)) else []
            yield Volume("", target, read_only=read_only, tmpfs=_options(words))
        elif kind == "bind":
            source = posixpath.normpath(source) if source else source
            yield Volume(source, target, bind=True, read_only=read_only)
        elif kind == "volume":
            yield Volume(source, target, read_only=read_only)


def _tmpfs(key: Key) -> Iterator[Volume]:
    for item in key.sequence() if isinstance(key.value, list) else [key] if key.value else []:
        target, _, words = item.text().partition(":")
        yield Volume("", posixpath.normpath(target or "/"), tmpfs=_options(words.split(",")))


def _options(words: list[str]) -> str:
    """The options of a file system in memory; Docker's has the mode of /tmp, unless the file gives it another."""
    known = [word for word in words if _TMPFS.fullmatch(word)]
    return ",".join([*([] if any(w.startswith("mode=") for w in known) else ["mode=1777"]), *known])


def check(service: Key) -> None:
    """Raise ManifestError for a mount of a kind, from a path or to a path that no engine can use."""
    for mount in service.get("volumes").sequence():
        if isinstance(mount.value, dict):
            policy.check_form(mount)
