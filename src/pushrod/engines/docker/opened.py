"""Paths of the host that its owner has opened to an app, as sources of mounts.

A container may have put anything below such a path, for example a link to `/`, and Docker follows it. So a path below
one must not pass through a link. `bring_up` checks again when containers start, because a link may appear later.
"""

import contextlib
import errno
import os
import posixpath
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pushrod.core.errors import ManifestError, PushrodError
from pushrod.engines.docker import calls, containers, mounts
from pushrod.manifest import grants
from pushrod.state.apps import App
from pushrod.system import trees


def path(app: App, source: str) -> str:
    """The source, an absolute path. Raises ManifestError if it passes through a link that a container may have
    made.
    """
    for word in _words(app):
        if word not in ("/", source) and grants.below(source, word) and _linked(word, source):
            raise ManifestError(
                f"`{source}` leads through a link in `{word}`, into which a container may write",
                where="volumes",
                hint=f"mount `{word}` itself, or have the host's owner allow the path where the link leads",
            )
    return source


def apart(document: Mapping[str, Any]) -> None:
    """Refuse a document that lets one container write above what another mounts, including all existing containers.

    Checks stores too, which start before the release's own containers exist and `bring_up` can check those. Raises
    ManifestError.
    """
    mine = [
        mounts.mounted(f"the service {name}", source, not volume.get("read_only"))
        for name in document.get("services") or {}
        for volume in containers.mounted(document, name)
        if (source := _source(document, volume)).startswith("/")
    ]
    try:
        mounts.separate(mine, [*mounts.held(), *mine] if mine else [])
    except calls.Trouble as e:
        what, _, hint = str(e).partition(". ")
        raise ManifestError(what, where="volumes", hint=hint[:1].lower() + hint[1:]) from e


def _source(document: Mapping[str, Any], volume: Mapping[str, Any]) -> str:
    """The path that a mount binds, directly or by its volume's options."""
    source = str(volume.get("source") or "")
    if volume.get("type") != "volume":
        return source
    declared = (document.get("volumes") or {}).get(source) or {}
    return str((declared.get("driver_opts") or {}).get("device") or "")


def _words(app: App) -> Iterator[str]:
    """The paths that are opened to any app of the host."""
    for other in app.root.apps():
        with contextlib.suppress(PushrodError):  # damaged settings of another app must not stop this one
            yield from (grants.host_path(w) for w in other.settings.allowed if w.startswith("/"))


def _linked(top: str, source: str) -> bool:
    *above, last = posixpath.relpath(source, top).split("/")
    try:
        with trees.top(Path(top)) as held, trees.directory(held, tuple(above)) as parent:
            return stat.S_ISLNK(os.stat(last, dir_fd=parent, follow_symlinks=False).st_mode)
    except OSError as e:  # Docker reports a path that is missing or readable only for root
        return e.errno in (errno.ELOOP, errno.ENOTDIR)
