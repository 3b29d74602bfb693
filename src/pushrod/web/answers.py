"""What all pages share: what they are about, and how an answer is made."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from pushrod.core.traits import EngineTraits
from pushrod.core.values import ProcessState
from pushrod.state.apps import App, Root
from pushrod.web import facts, render
from pushrod.web.access import Access
from pushrod.web.calls import Call, Calls
from pushrod.web.challenges import Challenges
from pushrod.web.facts import Processes
from pushrod.web.guard import Hosts, member, visit
from pushrod.web.roles import may
from pushrod.web.runs import Runs
from pushrod.web.streams import Limit

LONGEST = 200
"""Characters of an answer in a form that are used."""


class Site(NamedTuple):
    """What the pages are about, and how they reach it."""

    root: Root
    traits: EngineTraits
    who: Access
    processes: Callable[[Sequence[App], Call], Mapping[str, Sequence[ProcessState]]]
    calls: Calls
    hosts: Hosts
    runs: Runs
    streams: Limit
    challenges: Challenges = Challenges()


def shown(request: Request, name: str, status: int = 200, /, **values: Any) -> Response:
    """An answer from a template; it has what every page shows."""
    own = visit(request)
    who = own.member
    values |= {
        "who": who,
        "seal": own.seal,
        "passkeys": who is not None and own.origin.startswith("https:"),
        "may": (lambda verb: who is not None and may(who.role, verb)),
    }
    return HTMLResponse(render.page(name, values), status)


def find(site: Site, request: Request) -> App:
    """The app of a request's path. UnknownNameError if there is none that the member may see."""
    return facts.find(site.root, member(request), request.path_params["app"])


def states(site: Site, request: Request) -> Processes:
    """What runs of apps, asked with the rights of the request's session."""
    asked = call(request, "status", "--json")
    return lambda apps: site.processes(apps, asked)


def message(status: int, title: str, text: str, hint: str = "") -> Response:
    """An answer that is a short text, and what to do."""
    values = {"title": title, "text": text, "hint": hint, "log_in": status == 401}
    values |= {"who": None, "seal": "", "passkeys": False}
    return HTMLResponse(render.page("message.html", values), status)


def call(request: Request, *words: str) -> Call:
    """A call of a verb with the rights of the request's session."""
    own = visit(request)
    return Call(own.session, words, own.address)
