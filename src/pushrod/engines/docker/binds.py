"""Where the source of a bind mount is on this host.

What Git tracks is read from the release's own checkout; what it does not is data, kept under the app and shared by
all its releases. Neither leaves its place: not by `..`, and not through a symbolic link, which Docker would follow.
"""

from pathlib import Path
from typing import NamedTuple

from pushrod import host
from pushrod.apps import App
from pushrod.engines.docker import names
from pushrod.errors import ManifestError
from pushrod.gears import git


class Binds(NamedTuple):
    """The bind mounts of one commit of an app."""

    app: App
    commit: str
    checkout: Path

    def instance(self, source: str) -> str:
        """For an instance. An absolute path is the host's own, and was allowed by its owner."""
        if source.startswith("/"):
            return source
        if (self.checkout / source).exists():
            return str(_within(self.checkout, source))
        path = _within(names.data(self.app), source)
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
        _within(self.checkout, source)
        identity = git.tree_id(self.app.repository, self.commit, source)
        kept = self.app.stores / "files" / identity / found.name
        if not kept.exists():
            host.copy(found, kept)
        return str(kept)


def _within(place: Path, source: str) -> Path:
    path = (place / source).resolve()
    if not path.is_relative_to(place.resolve()):
        raise ManifestError(
            f"the bind mount `{source}` leaves its place through a link or `..`",
            where="volumes",
            hint="mount a path that is inside the repository, or that the app keeps as its data",
        )
    return path
