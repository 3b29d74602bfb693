"""The volumes that a service mounts, with and without a name. Pure."""

import posixpath
from collections.abc import Callable

from pushrod.manifest.document import Key

# Directories of dependencies, builds and caches, which a release brings itself, and directories for what may go.
_REBUILT = frozenset((
    ".angular", ".cache", ".gradle", ".m2", ".next", ".nuxt", ".output", ".parcel-cache", ".pnpm-store",
    ".svelte-kit", ".turbo", ".venv", ".vite", ".yarn", "__pycache__", "_build", "bower_components", "build",
    "bundle", "cache", "deps", "dist", "node_modules", "site-packages", "target", "tmp", "vendor", "venv",
))  # fmt: skip
_PASSING = ("/tmp/", "/var/tmp/", "/run/", "/var/run/", "/var/cache/")  # noqa: S108


def of(service: Key, *, written: bool = False) -> set[str]:
    """Their names; with `written`, only those of volumes that it can write to."""
    mounts = [m for m in service.get("volumes").sequence() if isinstance(m.value, dict)]
    named = [m for m in mounts if m.get("type").text() == "volume" and m.get("source").text()]
    return {m.get("source").text() for m in named if not (written and m.get("read_only").yes())}


def is_kept(mount: Key, tracked: Callable[[str], bool]) -> bool:
    """Whether what a service writes to a mount outlives its release: a volume, with or without a name, or a directory
    that is not in the commit. `tracked` tells whether the commit contains a path.
    """
    if not isinstance(mount.value, dict) or mount.get("read_only").yes():
        return False
    kind, source = mount.get("type").text(), mount.get("source").text()
    if kind == "bind":
        return not source.startswith(("/", "~")) and not tracked(posixpath.normpath(source or "."))
    return kind == "volume"


def has_others(service: Key) -> bool:
    """Whether it mounts an anonymous volume, or one whose name is not known."""
    mounts = service.get("volumes").sequence()
    return any(
        not isinstance(m.value, dict) or (m.get("type").text() == "volume" and not m.get("source").text())
        for m in mounts
    )


def anonymous(service: Key) -> list[str]:
    """The paths of its anonymous volumes that may hold data."""
    mounts = [m for m in service.get("volumes").sequence() if isinstance(m.value, dict)]
    anonymous = [m for m in mounts if m.get("type").text() == "volume" and not m.get("source").text()]
    paths = [posixpath.normpath(m.get("target").text() or "/") for m in anonymous]
    return [*filter(may_hold_data, paths)]


def may_hold_data(path: str) -> bool:
    """Whether an anonymous volume at this path may hold data that is nowhere else."""
    path = posixpath.normpath(path)
    return posixpath.basename(path) not in _REBUILT and not f"{path}/".startswith(_PASSING)
