"""Pages that go on while they are open: steps of a command, the output of a run, the logs."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from pushrod.core.errors import UnknownNameError
from pushrod.state import transcript
from pushrod.state.transcript import Shown
from pushrod.web import facts, streams, views
from pushrod.web.answers import Site, call, find, message, shown, states
from pushrod.web.guard import member, visit

_SHOWN = 1000  # lines of a command, when its page opens


def live(site: Site, request: Request) -> Response:
    """The steps of the app's current or last command, as its terminal shows them."""
    app = find(site, request)
    page = facts.page(app, states(site, request))
    began, _ = streams.position(app)
    events, offset = transcript.read(app)
    return shown(
        request,
        "live.html",
        tab="live",
        app=app.name,
        page=page,
        rows=_finished(events)[-_SHOWN:],
        mark=f"{began}-{offset}",
    )


def _finished(events: list[Shown]) -> list[Shown]:
    """What was shown, without the beginnings of steps that have ended."""
    ended = [(n, one.step) for n, one in enumerate(events) if one.kind in ("end", "fail")]
    return [
        one
        for n, one in enumerate(events)
        if one.kind != "begin" or not any(m > n and step == one.step for m, step in ended)
    ]


async def live_events(site: Site, request: Request) -> Response:
    """What is shown from where the page, or the browser's last event, left off."""
    app = await run_in_threadpool(find, site, request)
    mark = request.headers.get("last-event-id", "") or request.query_params.get("from", "")
    return _stream(site, request, lambda: streams.command(app, mark), resumes=True)


async def run_events(site: Site, request: Request) -> Response:
    """The output of a run from a line on."""
    app = await run_in_threadpool(find, site, request)
    run = site.runs.find(app.name, request.path_params["run"])
    if run is None:
        raise UnknownNameError("this page no longer has that run")
    mark = request.headers.get("last-event-id", "") or request.query_params.get("from", "")
    return _stream(site, request, lambda: streams.output(run, mark), resumes=True)


async def log_events(site: Site, request: Request) -> Response:
    """New log lines that match the page's filters, of new releases too."""
    app = await run_in_threadpool(find, site, request)
    page = await run_in_threadpool(facts.page, app, states(site, request))
    which, service = views.chosen(page, request)
    words = ("logs", *([service] if service else []), "--app", app.name, "--json", "--follow", "--lines", "0")
    return _stream(site, request, lambda: streams.log(site.calls.followed(call(request, *words)), which))


def _stream(
    site: Site, request: Request, events: Callable[[], AsyncIterator[str]], *, resumes: bool = False
) -> Response:
    """The answer that goes on. Behind the edge, one that `resumes` ends when the edge switches: a deployment waits
    until the edge's older workers have no request left, and would wait for whoever watches it.
    """
    who, session = member(request), visit(request).session
    current = site.root.edge / "current"
    begun = _target(current)
    follows = resumes and visit(request).origin.startswith("https:")
    if site.streams.full(who.name):
        return message(429, "Too many", "You have too many live pages open; close one.")

    async def sent() -> AsyncIterator[str]:
        with site.streams.one(who.name):
            async for one in streams.alive(
                events(),
                lambda: site.who.member_of(session) is not None,
                lambda: not follows or _target(current) == begun,
            ):
                yield one

    unbuffered = {"x-accel-buffering": "no"}  # by the edge
    return StreamingResponse(sent(), media_type="text/event-stream", headers=unbuffered)


def _target(link: Path) -> str:
    """Where a link leads; empty if there is none."""
    try:
        return str(link.readlink())
    except OSError:
        return ""
