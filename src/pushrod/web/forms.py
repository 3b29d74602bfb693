"""The buttons: what an action will do and asks, and the output of what was started."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from pushrod.core.errors import UnknownNameError
from pushrod.web import facts
from pushrod.web.actions import ACTIONS, available
from pushrod.web.answers import LONGEST, Site, call, find, message, shown, states
from pushrod.web.guard import member, visit
from pushrod.web.roles import may


def actions(request: Request, page: facts.Page) -> list[tuple[str, str, bool]]:
    """The buttons that the member has: path, label, and whether it takes something away."""
    role = member(request).role
    return [
        (key, ACTIONS[key].label, ACTIONS[key].danger)
        for key in available(page)
        if may(role, ACTIONS[key].verb)
    ]


def do(site: Site, request: Request) -> Response:
    """An action: what it will do and what it asks; then, by its button, the call."""
    app, who, key = find(site, request), member(request), request.path_params["action"]
    action = ACTIONS.get(key)
    if action is None:
        raise UnknownNameError("there is no such action")
    if not may(who.role, action.verb):
        return message(403, "Not yours to do", f"A {who.role} may not do that.", "Ask an owner of the app.")
    own = visit(request)
    if request.method == "POST":
        asked = action.call(app.name, own.form)
        begun = site.runs.start(app.name, who.name, call(request, *asked.words), asked.stdin)
        return RedirectResponse(f"/apps/{app.name}/runs/{begun.id}", 303)
    page = facts.page(app, states(site, request))
    given = request.query_params
    fields = [
        (field, given[field.name][:LONGEST] if field.name in given else field.value)
        for field in action.fields(page)
    ]
    return shown(request, "do.html", tab="", app=app.name, page=page, key=key, action=action, fields=fields)


def run(site: Site, request: Request) -> Response:
    app = find(site, request)
    one = site.runs.find(app.name, request.path_params["run"])
    if one is None:
        raise UnknownNameError("this page no longer has that run", hint="the audit log has it")
    page = facts.page(app, states(site, request))
    return shown(request, "run.html", tab="", app=app.name, page=page, run=one, lines=list(one.lines))
