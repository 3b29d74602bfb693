"""All pages by their paths; the log-in, and errors."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from pushrod.core.errors import PushrodError, UnknownNameError
from pushrod.web import forms, live_views, passkeys, views
from pushrod.web.answers import Site, message, shown
from pushrod.web.guard import Guard, cookie, visit

Page = Callable[[Site, Request], Response | Awaitable[Response]]

_STATIC = Path(__file__).parent / "static"
_READ = ("GET",)
_BOTH = ("GET", "POST")


def make(site: Site) -> Guard:
    """The whole page as an ASGI application."""
    pages: tuple[tuple[str, Page, tuple[str, ...]], ...] = (
        ("/", views.apps, _READ),
        ("/enter", _enter, _BOTH),
        ("/leave", _leave, ("POST",)),
        ("/passkeys", passkeys.own, _BOTH),
        ("/apps/{app}", views.app, _READ),
        ("/apps/{app}/releases", views.releases, _READ),
        ("/apps/{app}/releases/{number:int}", views.release, _READ),
        ("/apps/{app}/live", live_views.live, _READ),
        ("/apps/{app}/live/events", live_views.live_events, _READ),
        ("/apps/{app}/logs", views.logs, _READ),
        ("/apps/{app}/logs/events", live_views.log_events, _READ),
        ("/apps/{app}/requests", views.requests, _READ),
        ("/apps/{app}/data", views.data, _READ),
        ("/apps/{app}/plan", views.plan, _READ),
        ("/apps/{app}/do/{action}", forms.do, _BOTH),
        ("/apps/{app}/runs/{run}", forms.run, _READ),
        ("/apps/{app}/runs/{run}/events", live_views.run_events, _READ),
    )
    app = Starlette(
        routes=[
            *(Route(path, _for(site, page), methods=list(methods)) for path, page, methods in pages),
            Mount("/static", _Static(directory=_STATIC)),
        ],
        exception_handlers={HTTPException: _http_error, PushrodError: _error, Exception: _bug},
    )
    return Guard(app, site.who, site.hosts, message)


class _Static(StaticFiles):
    """The style and the script: the same until another pushrod is installed."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "public, max-age=300"
        return response


def _for(site: Site, page: Page) -> Any:
    """The endpoint of a page: one that waits is awaited, any other runs in a thread."""
    if inspect.iscoroutinefunction(page):

        async def waiting(request: Request) -> Response:
            answer: Response = await page(site, request)
            return answer

        return waiting
    return functools.wraps(page)(lambda request: page(site, request))


# ---- errors ---------------------------------------------------------------------------------------------------


def _error(_request: Request, error: Exception) -> Response:
    """A PushrodError as a page: what, and what to do. Its place is shown to the machine's owner only."""
    assert isinstance(error, PushrodError)  # noqa: S101  it is registered for these alone
    if isinstance(error, UnknownNameError):
        return message(404, "Not here", error.what, error.hint)
    return message(500, "That failed", error.what, error.hint)


def _http_error(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return message(status, "Not here", "There is no such page.")


def _bug(_request: Request, error: Exception) -> Response:
    return message(500, "A bug in pushrod", type(error).__name__)


# ---- log-in ---------------------------------------------------------------------------------------------------


def _enter(site: Site, request: Request) -> Response:
    """A link leads to a button, since programs that preview links open them too; the button uses the link up. At the
    page's domain a passkey does as well."""
    own = visit(request)
    if request.method != "POST":
        token = request.query_params.get("link", "")[:100]
        return shown(request, "enter.html", token=token, question=passkeys.question(site, own.origin))
    if "credential" in own.form:
        session = passkeys.entered(site, own.origin, own.form)
        if not session:
            return message(403, "This passkey does not work", "Load the page, and try again.", _AGAIN)
    else:
        session = site.who.enter(own.form.get("link", ""))
    if not session:
        return message(403, "This link does not work", "It was used already, or it is too old.", _AGAIN)
    if own.session:
        site.who.leave(own.session)
    response = RedirectResponse("/", 303)
    response.headers["set-cookie"] = cookie(own.origin, session)
    return response


_AGAIN = "`pushrod web invite NAME` prints another one."


def _leave(site: Site, request: Request) -> Response:
    site.who.leave(visit(request).session)
    response = message(200, "Logged out", "This session has ended.", _AGAIN)
    response.headers["set-cookie"] = cookie(visit(request).origin, "")
    return response
