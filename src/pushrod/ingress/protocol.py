"""The protocol of a front gate: the server in front of every app of a root, which sends requests to instances.

The pipeline uses only this. Both current engines implement it with the edge, an nginx.
"""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

from pushrod.core.site import Request, Site
from pushrod.state.apps import App


class Drain(Protocol):
    """What is still open on the instances that a switch has led away from; only its front gate knows the
    details."""

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended, for `seconds` at most; returns whether it has."""


class Places(NamedTuple):
    """Where the front gate reads files of apps, each app's in its own directory, and who must own the private ones
    (user and group; None: the user who runs pushrod)."""

    static: Path
    passwords: Path
    challenges: Path
    owner: tuple[int, int] | None = None


class Ingress(Protocol):
    """The front gate of a root. Each change concerns one app, so concurrent deployments of two apps do not
    conflict."""

    @property
    def places(self) -> Places:
        """Where it reads files of apps."""

    def site(self, app: str) -> Site | None:
        """What it serves for an app; None if nothing. Raises StateError if that cannot be read."""

    def check(self, site: Site) -> None:
        """Raise EdgeError if a site cannot be served together with those of other apps. Changes nothing."""

    def switch(self, app: str, site: Site | None) -> Drain:
        """Serve a site for an app (None: no longer), without losing a request.

        Returns once new requests go to the new instances; the old instances must live on until the drain has ended.
        Raises EdgeError, and changes nothing, if that fails.
        """

    def certificate_shown(self, site: Site) -> str:
        """The SHA-256 of the certificate shown to a client of a site; empty if there is none."""

    def certificates_in_use(self, app: str, generations: Collection[str]) -> Collection[str]:
        """The app's certificates that must be kept, though another is in place."""

    def requests(
        self, app: str, select: Callable[[Request], Request | None], *, lines: int, follow: bool
    ) -> Iterable[Request]:
        """The last requests of an app, as returned by `select` (None: left out); with `follow` also future ones,
        without end."""

    def ready_marker(self, app: App, number: int) -> str:
        """The file without which it answers that the app is starting; empty if a release needs none."""

    def repair_sites(self) -> bool:
        """Make its sites readable; returns whether they were not, so that it has started again with the last
        readable ones."""

    def remove_app(self, app: str) -> None:
        """Remove what it stores of an app that it no longer serves."""
