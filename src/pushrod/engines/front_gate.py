"""The local nginx as a front gate: implements `ingress.protocol.Ingress` with the edge."""

import contextlib
import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from pushrod.adapters.nginx import Edge, Switch
from pushrod.adapters.nginx.access import AccessLog
from pushrod.core.errors import HostError, StateError
from pushrod.core.site import Request, Site
from pushrod.ingress.protocol import Places
from pushrod.state.apps import App


@dataclass(frozen=True)
class WorkersDrain:
    """The workers from before a switch, which finish their requests."""

    edge: Edge
    switch: Switch

    def wait(self, seconds: float) -> bool:
        """Wait until those workers are gone."""
        return self.edge.drained(self.switch, seconds)


def _no_marker(_app: App, _number: int) -> str:
    return ""


class EdgeIngress:
    """The edge of a root, which is opened at its first use.

    `marker` returns the file without which the edge answers that an app is starting; by default there is none.
    """

    def __init__(self, edge: Callable[[], Edge], marker: Callable[[App, int], str] = _no_marker) -> None:
        self._find = edge
        self._marker = marker

    @property
    def _edge(self) -> Edge:
        return self._find()

    @property
    def places(self) -> Places:
        """Below the edge's directory; private files belong to the account that nginx runs as."""
        edge = self._edge
        owner = (edge.account.uid, edge.account.gid) if edge.account else None
        return Places(edge.static, edge.passwords, edge.challenges, owner)

    def site(self, app: str) -> Site | None:
        """From the current tree."""
        return self._edge.sites().get(app)

    def check(self, site: Site) -> None:
        """nginx tests the tree that would contain it."""
        self._edge.check({site.app: site})

    def switch(self, app: str, site: Site | None) -> WorkersDrain:
        """Returns when a worker of the new tree has answered."""
        edge = self._edge
        return WorkersDrain(edge, edge.switch({app: site}))

    def certificate_shown(self, site: Site) -> str:
        """As shown at the site's port."""
        return self._edge.serves(site)

    def certificates_in_use(self, app: str, generations: Collection[str]) -> Collection[str]:
        """Those that any tree names: an older tree may become the current one again."""
        named = self._edge.named(app)
        return [generation for generation in generations if generation in named]

    def requests(
        self, app: str, select: Callable[[Request], Request | None], *, lines: int, follow: bool
    ) -> Iterable[Request]:
        """From the access log."""
        log = AccessLog(self._edge.logs, app, select)
        return log.follow(lines) if follow else log.last(lines)

    def ready_marker(self, app: App, number: int) -> str:
        """The engine's marker."""
        return self._marker(app, number)

    def repair_sites(self) -> bool:
        """Restart with the sites of the last tree that can be read."""
        edge = self._edge
        if not os.path.lexists(edge.current):
            return False  # nothing was ever served, or `Edge.prepare` starts from the last tree
        whole = edge.current.is_symlink()
        try:
            edge.sites()
            with contextlib.suppress(HostError):  # without its program nothing can be checked
                whole = whole and (edge.running() or edge.is_whole())
        except StateError:
            whole = False
        if not whole:
            edge.rebuild()
        return not whole

    def remove_app(self, app: str) -> None:
        """Remove nginx's cached answers, and older trees."""
        self._edge.remove_app(app)
