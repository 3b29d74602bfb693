"""The pages that only show."""

import re
import time

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from pushrod.adapters import git
from pushrod.backups import catalogue, copies, wal
from pushrod.core.errors import UnknownNameError
from pushrod.core.plan import Plan
from pushrod.core.site import Request as Logged
from pushrod.ingress.certificates import Certificates
from pushrod.observe import traffic
from pushrod.web import facts, loglines, plots
from pushrod.web.answers import LONGEST, Site, call, find, shown, states
from pushrod.web.forms import actions
from pushrod.web.guard import member
from pushrod.web.plots import Series

LINES = (100, 300, 1000)
"""How many lines of each process the page of logs can show."""

HOURS = (1, 3, 12, 24)
"""How far back the page of requests can look."""

_INTERVALS = 60
_SLOWEST = 15
_COMMIT = re.compile("[0-9a-f]{40}(?:[0-9a-f]{24})?")


def apps(site: Site, request: Request) -> Response:
    rows = facts.overview(site.root, member(request), states(site, request))
    return shown(request, "apps.html", rows=rows)


def app(site: Site, request: Request) -> Response:
    page = facts.page(find(site, request), states(site, request))
    return shown(
        request,
        "app.html",
        tab="app",
        app=page.app.name,
        page=page,
        actions=actions(request, page),
        runs=site.runs.of(page.app.name)[:5],
    )


def releases(site: Site, request: Request) -> Response:
    page = facts.page(find(site, request), states(site, request))
    return shown(request, "releases.html", tab="releases", app=page.app.name, page=page)


def release(site: Site, request: Request) -> Response:
    page = facts.page(find(site, request), states(site, request))
    number = request.path_params["number"]
    own = [n for n in page.history if n.promotion.release == number]
    if not own:
        raise UnknownNameError(f"{page.app.name} has no release {number}")
    return shown(
        request,
        "release.html",
        tab="releases",
        app=page.app.name,
        page=page,
        number=number,
        own=own,
        commits=changed(page, number),
    )


def logs(site: Site, request: Request) -> Response:
    """The end of the app's logs, from the verb `logs`, which redacts secrets."""
    app = find(site, request)
    page = facts.page(app, states(site, request))
    count = next((n for n in LINES if str(n) == request.query_params.get("lines")), LINES[0])
    which, service = chosen(page, request)
    words = ("logs", *([service] if service else []), "--app", app.name, "--json")
    done = site.calls(call(request, *words, "--lines", str(count)))
    lines = loglines.selected(loglines.parse(done.stdout), which)
    return shown(
        request,
        "logs.html",
        tab="logs",
        app=app.name,
        page=page,
        lines=lines,
        problem=done.stderr.strip() if done.status else "",
        services=_services(page),
        service=service,
        which=which,
        count=count,
        counts=LINES,
        follow=request.query_params.get("follow") == "1",
        query=request.url.query,
    )


def chosen(page: facts.Page, request: Request) -> tuple[loglines.Filter, str]:
    """The filter and the service that the page of logs was asked for."""
    given = {k: v[:LONGEST].strip() for k, v in request.query_params.items()}
    level = given.get("level", "") if given.get("level") in ("warning", "error") else ""
    which = loglines.Filter(level, given.get("text", ""), given.get("request", ""))
    return which, given.get("service", "") if given.get("service") in _services(page) else ""


def _services(page: facts.Page) -> list[str]:
    """The names that `logs` takes: services and stores of the live release."""
    if page.release is None:
        return []
    return [s.name for s in (*page.release.services, *page.release.stores)]


def requests(site: Site, request: Request) -> Response:
    """Rate, errors and latency over the last hours, and the slowest requests."""
    app = find(site, request)
    page = facts.page(app, states(site, request))
    hours = next((h for h in HOURS if str(h) == request.query_params.get("hours")), HOURS[1])
    log = site.root.edge / "logs" / "access.log"
    length = hours * 3600 / _INTERVALS
    measured = traffic.of(log, app.name, until=time.time(), length=length, count=_INTERVALS)
    begins = [i.begin for i in measured.intervals]
    good = [(i.requests - i.client_errors - i.server_errors) / length for i in measured.intervals]
    counted = (
        Series("answered", "a", good),
        Series("4xx", "b", [i.client_errors / length for i in measured.intervals]),
        Series("5xx", "c", [i.server_errors / length for i in measured.intervals]),
    )
    timed = tuple(
        Series(name, style, [1000 * getattr(i, name) for i in measured.intervals])
        for name, style in (("p50", "a"), ("p95", "b"), ("p99", "c"))
    )
    done = site.calls(call(request, "logs", "--edge", "--app", app.name, "--json", "--lines", "2000"))
    return shown(
        request,
        "requests.html",
        tab="requests",
        app=app.name,
        page=page,
        traffic=measured,
        hours=hours,
        choices=HOURS,
        rate=plots.bars("Requests per second", begins, counted),
        latency=plots.lines("Time to the last byte", begins, timed, " ms"),
        slowest=sorted(_logged(done.stdout), key=lambda r: -r.seconds)[:_SLOWEST],
        problem=done.stderr.strip() if done.status else "",
    )


def _logged(output: str) -> list[Logged]:
    result = []
    for text in output.split("\n"):
        try:
            result.append(msgspec.json.decode(text, type=Logged))
        except msgspec.DecodeError:
            continue
    return result


def data(site: Site, request: Request) -> Response:
    """Stores, backups and proofs, the certificate, names, and the names of secrets."""
    app = find(site, request)
    page = facts.page(app, states(site, request))
    ledger, certificates = copies.ledger(app), Certificates(app)
    running = {i.process.name: i.process.state for i in page.instances if i.store}
    logs = {name: wal.state(app, name) for name in wal.stores(app)}
    done = site.calls(call(request, "secret", "list", "--app", app.name, "--json"))
    return shown(
        request,
        "data.html",
        tab="data",
        app=app.name,
        page=page,
        stores=[
            (s, logs.get(s.name), running.get(s.name)) for s in (page.release.stores if page.release else ())
        ],
        backups=[(b, copies.of(ledger, b.name)) for b in catalogue.listed(app)],
        failure=ledger.failure,
        certificate=certificates.current(),
        not_obtained=certificates.failure(),
        secrets=msgspec.json.decode(done.stdout, type=list[str]) if done.status == 0 else [],
        problem=done.stderr.strip() if done.status else "",
    )


def plan(site: Site, request: Request) -> Response:
    """What deploying a commit would do; by default the live one, with today's secrets and counts."""
    app = find(site, request)
    page = facts.page(app, states(site, request))
    commit = request.query_params.get("commit", "").strip()[:LONGEST] or page.status.commit
    plan, problem = None, list[str]()
    if _COMMIT.fullmatch(commit):
        done = site.calls(call(request, "plan", commit, "--app", app.name, "--json"), timeout=600.0)
        if done.status == 0:
            plan = msgspec.json.decode(done.stdout, type=Plan)
        else:
            problem = done.stderr.split("\n")
    elif commit:
        problem = ["That is not the full id of a commit."]
    return shown(
        request,
        "plan.html",
        tab="plan",
        app=app.name,
        page=page,
        commit=commit,
        plan=plan,
        problem=problem,
    )


def changed(page: facts.Page, number: int) -> list[tuple[str, str]]:
    """The commits that a release has and the one before it lacks, as far as Git still knows both."""
    lived = [n.promotion for n in page.history if n.promotion.live_at]
    own = next((p for p in reversed(lived) if p.release == number), None)
    before = next((p for p in lived if own and p.live_at < own.live_at), None)
    if own is None or before is None or not before.commit:
        return []
    return git.subjects(page.app.repository, before.commit, own.commit)
