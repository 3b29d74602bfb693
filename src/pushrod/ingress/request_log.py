"""What an app was asked: its requests in the edge's log, with the names of the instances that answered."""

import datetime
import functools
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from pushrod.adapters.nginx import Edge
from pushrod.adapters.nginx.access import AccessLog, Request, named
from pushrod.core.errors import StateError, UnknownNameError
from pushrod.state.apps import App
from pushrod.state.releases import Releases


class Wanted(NamedTuple):
    """Which requests: with one of these statuses (`404`, `5xx`), of at least so many seconds, that a service or one
    of its instances was asked, of one release; by default all."""

    statuses: Sequence[str] = ()
    slow: float = 0.0
    service: str = ""
    release: int = 0

    def fits(self, request: Request) -> bool:
        """Whether a request is one of them."""
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


def of(app: App, edge: Edge, wanted: Wanted, *, lines: int, follow: bool) -> Iterable[Request]:
    """The last `lines` requests that are wanted; with `follow` then those that come, without end.

    Those of an earlier app of that name, which is gone, are not this one's.
    """
    since = datetime.datetime.fromisoformat(app.settings.created).replace(microsecond=0)
    names = functools.cache(functools.partial(_names, app))

    def told(request: Request) -> Request | None:
        if datetime.datetime.fromisoformat(request.time) < since:
            return None
        known = msgspec.structs.replace(request, instance=named(request, names(request.release)))
        return known if wanted.fits(known) else None

    log = AccessLog(edge.logs, app.name, told)
    return log.follow(lines) if follow else log.last(lines)


def _names(app: App, number: int) -> dict[str, str]:
    """The instances of a release by their addresses; none of one that is no longer kept."""
    try:
        release = Releases(app).read(number)
    except (UnknownNameError, StateError):
        return {}
    return {f"{i.address}:{i.port}": i.name for i in release.instances}
