"""The protocol to a front gate: what stands in front of every app of a root, and leads requests to instances.

The pipeline knows no more of it than this. On the two engines there are now it is the edge, an nginx.
"""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

from pushrod.core.site import Request, Site
from pushrod.state.apps import App


class Drain(Protocol):
    """What is under way on the instances that a switch has led away from. Only its front gate knows what it is."""

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended, at most so long; whether it has."""


class Places(NamedTuple):
    """Where the front gate reads files of apps, each app's in a directory of its own, and who must own the closed
    ones (user and group; None: whoever runs pushrod)."""

    static: Path
    passwords: Path
    challenges: Path
    owner: tuple[int, int] | None = None


class Ingress(Protocol):
    """The front gate of a root. Changes are of one app, so two apps that deploy at once do not undo each other."""

    @property
    def places(self) -> Places:
        """Where it reads files of apps."""

    def site(self, app: str) -> Site | None:
        """What it serves for an app; None where it serves nothing. Raises StateError where that cannot be read."""

    def check(self, site: Site) -> None:
        """Raise EdgeError if a site could not be served beside those of other apps. Changes nothing."""

    def switch(self, app: str, site: Site | None) -> Drain:
        """Serve a site for an app (None: no longer), without losing a request.

        It returns once new requests go to the new instances; those of before must live on until the drain has ended.
        Raises EdgeError, and leaves everything as it was, where that cannot be done.
        """

    def certificate_shown(self, site: Site) -> str:
        """The SHA-256 of the certificate that a client of a site is shown; empty for none."""

    def certificates_in_use(self, app: str, generations: Collection[str]) -> Collection[str]:
        """Those of an app's certificates that must stay, though another is in place."""

    def requests(
        self, app: str, select: Callable[[Request], Request | None], *, lines: int, follow: bool
    ) -> Iterable[Request]:
        """The last requests of an app, as `select` gives them back (None: not wanted); with `follow` also those to
        come, without end."""

    def ready_marker(self, app: App, number: int) -> str:
        """The file without which it says that the app is starting; empty where a release needs none."""

    def repair_sites(self) -> bool:
        """Have its sites be readable; whether they were not, and it has begun anew with the last that are."""

    def remove_app(self, app: str) -> None:
        """Remove what it keeps of an app that it no longer serves."""
