"""An app's requests in the edge's log, with the names of the instances that answered."""

import datetime
import functools
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from pushrod.core.errors import StateError, UnknownNameError
from pushrod.core.site import Request
from pushrod.ingress.protocol import Ingress
from pushrod.state.apps import App
from pushrod.state.releases import Releases


class Filter(NamedTuple):
    """A filter for requests: status (`404`, `5xx`), minimum duration in seconds, the service or instance that
    received it, and the release; matches everything by default."""

    statuses: Sequence[str] = ()
    slow: float = 0.0
    service: str = ""
    release: int = 0

    def fits(self, request: Request) -> bool:
        """Whether a request matches."""
        asked = re.findall(r"[^\s,]+", request.instance)
        return (
            (
                not self.statuses
                or any(s in self.statuses for s in (str(request.status), f"{request.status // 100}xx"))
            )
            and request.seconds >= self.slow
            and (not self.service or any(self.service in (a, a.rpartition("-")[0]) for a in asked))
            and self.release in (0, request.release)
        )


def of(app: App, ingress: Ingress, which: Filter, *, lines: int, follow: bool) -> Iterable[Request]:
    """The last `lines` requests that match; with `follow`, then new ones as they come, without end.

    Requests to an earlier, destroyed app of the same name are left out.
    """
    since = datetime.datetime.fromisoformat(app.settings.created).replace(microsecond=0)
    names = functools.cache(functools.partial(_names, app))

    def selected(request: Request) -> Request | None:
        if datetime.datetime.fromisoformat(request.time) < since:
            return None
        known = msgspec.structs.replace(request, instance=_named(request, names(request.release)))
        return known if which.fits(known) else None

    return ingress.requests(app.name, selected, lines=lines, follow=follow)


def _names(app: App, number: int) -> dict[str, str]:
    """The names of a release's instances by address; empty if the release is no longer kept."""
    try:
        release = Releases(app).read(number)
    except (UnknownNameError, StateError):
        return {}
    return {f"{i.address}:{i.port}": i.name for i in release.instances}


def _named(request: Request, names: dict[str, str]) -> str:
    """The instances that were asked, by their addresses; an address that no instance has stays."""
    return re.sub(r"[^\s,]+", lambda word: names.get(word[0], word[0]), request.upstream)
