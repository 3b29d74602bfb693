"""Where the source of a bind mount is on this host.

What Git tracks is read from the release's own checkout; what it does not is data, kept under the app and shared by
all its releases. Neither leaves its place: not by `..`, and not through a symbolic link, which Docker would follow.
Nor later: what a container may write into could become such a link after it was looked at, so nothing that lies
inside a mount that can be written is the source of another one.
"""

import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pushrod import host
from pushrod.apps import App
from pushrod.engines.docker import names
from pushrod.errors import ManifestError
from pushrod.gears import git
from pushrod.gears.containment import inside


class Binds(NamedTuple):
    """The bind mounts of one commit of an app; `writable` are the sources that some container may write into."""

    app: App
    commit: str
    checkout: Path
    writable: frozenset[str]

    def instance(self, source: str) -> str:
        """For an instance. An absolute path is the host's own, and was allowed by its owner."""
        if source.startswith("/"):
            return self._unwritten(source)
        if (self.checkout / source).exists():
            within = self._holder(source)
            return self.store(source) if within else str(inside(self.checkout, source))
        path = inside(names.data(self.app), self._unwritten(source))
        if not path.exists():  # open to whatever account the container has
            path.mkdir(parents=True)
            path.chmod(0o777)
        return str(path)

    def store(self, source: str) -> str:
        """For a store: what Git tracks is copied to a place named by its contents, so that a commit that does not
        change it does not change the store either."""
        found = self.checkout / source
        if source.startswith("/") or not found.exists():
            return self.instance(source)
        inside(self.checkout, source)
        identity = git.tree_id(self.app.repository, self.commit, source)
        kept = self.app.stores / "files" / identity / found.name
        if not kept.exists():
            host.copy(found, kept)
        return str(kept)

    def _holder(self, source: str) -> str:
        """The source that can be written and that this one lies in; empty for none."""
        path = posixpath.normpath(source)
        places = (posixpath.normpath(other) for other in self.writable)
        return next((place for place in sorted(places) if path != place and _below(path, place)), "")

    def _unwritten(self, source: str) -> str:
        if within := self._holder(source):
            raise ManifestError(
                f"the bind mount `{source}` lies in `{within}`, into which a container may write",
                where="volumes",
                hint=f"a container could put a link in its place; mount `{within}` read-only, or another place",
            )
        return source


def writable(document: Mapping[str, Any]) -> frozenset[str]:
    """The sources of the bind mounts of a resolved document that are not read-only."""
    mounts = (
        volume
        for service in (document.get("services") or {}).values()
        for volume in service.get("volumes") or []
        if isinstance(volume, dict) and volume.get("type") == "bind"
    )
    return frozenset(str(m["source"]) for m in mounts if not m.get("read_only"))


def _below(path: str, place: str) -> bool:
    if place == ".":
        return not path.startswith(("/", "../"))
    return path.startswith(f"{place.rstrip('/')}/")
