"""status, releases, logs: the verbs that only read."""

import re

import click
import msgspec

from pushrod.cli import remote
from pushrod.cli.context import find_app, find_root, finished, named_app, with_app, with_json
from pushrod.cli.host_context import visible
from pushrod.cli.output import ago, closed, print_json, print_table
from pushrod.cli.terminal import Styled, echo, echo_json
from pushrod.core.amounts import age
from pushrod.core.errors import PushrodError
from pushrod.core.printable import plain
from pushrod.core.site import Request
from pushrod.engines import registry
from pushrod.ingress import request_log
from pushrod.manifest.document import duration
from pushrod.observe import status
from pushrod.state.apps import App
from pushrod.state.secrets import Secrets


@click.command("status", cls=remote.Verb)
@with_app
@with_json
def status_command(app_name: str | None, root: str | None, as_json: bool) -> None:
    """Show the live release and the state of its processes."""
    where = find_root(root)
    apps = [named_app(root, app_name)] if app_name or len(visible(where)) == 1 else visible(where)
    statuses, damaged = all_of(apps)
    if as_json:
        print_json(statuses)
    elif not apps:
        echo(f"no apps in {where.path}; `pushrod up` in a repository with a compose file creates one")
    for one in [] if as_json else statuses:
        _print_status(one)
    if damaged:
        raise damaged[0]


def all_of(apps: list[App]) -> tuple[list[status.Status], list[PushrodError]]:
    """The status of each readable app, and the errors of the others."""
    statuses, damaged = [], []
    for app in apps:
        try:
            finished(app)
            statuses.append(status.of(app, registry.of(app.root).runtime.states([app])[app.name]))
        except PushrodError as e:
            damaged.append(e)
    return statuses, damaged


def _print_status(one: status.Status) -> None:
    head = f"{one.app}: {one.condition}"
    if one.release:
        head += f", release {one.release} ({one.commit[:7]} “{one.subject}”) since {ago(one.since)}"
    echo(Styled(head, bold=True))
    echo(f"  {one.url}" + (f"   {one.under_way}" if one.under_way else ""))
    if one.file:
        echo(f"  compose file: {one.file}")
    if one.condition == "down" and one.names:
        echo(f"  still owns: {', '.join(one.names)}")
    if one.maintenance:
        echo(f"  {closed(one.maintenance)}")
    if one.proved:
        echo(f"  last proven backup: {ago(one.proved)}")
    for warning in one.warnings:
        echo(f"  warning: {warning}")
    rows = [
        (f"  {p.group}", p.name, p.state, str(p.pid or ""), age(p.since), p.detail) for p in one.processes
    ]
    if rows:
        print_table(("  GROUP", "PROCESS", "STATE", "PID", "FOR", ""), rows)


@click.command("releases", cls=remote.Verb)
@with_app
@with_json
def releases_command(app_name: str | None, root: str | None, as_json: bool) -> None:
    """List the releases: live, kept, pruned and failed."""
    rows = status.history(find_app(root, app_name))
    if as_json:
        print_json(rows)
        return
    cells = [
        (str(r.number), r.state, r.commit[:7], ago(r.at) if r.at else "", r.subject or r.why) for r in rows
    ]
    print_table(("RELEASE", "STATE", "COMMIT", "WHEN", ""), cells)


def _statuses(
    _context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]
) -> tuple[str, ...]:
    for text in given:
        if not re.fullmatch(r"[1-5](xx|[0-9]{2})", text):
            raise click.BadParameter(f"`{text}` is not a status such as 404 or 5xx")
    return given


def _duration(_context: click.Context, _parameter: click.Parameter, given: str) -> str:
    if given and duration(given) is None:
        raise click.BadParameter(f"`{given}` is not a duration such as 500ms or 2s")
    return given


@click.command("logs", cls=remote.Verb)
@click.argument("service", required=False, default="")
@click.option("-f", "--follow", is_flag=True, help="Continue with new lines as they are written.")
@click.option("-n", "--lines", default=50, show_default=True, help="Number of lines of each log.")
@click.option("--release", default=0, help="Show the logs of one release, even a failed one.")
@click.option("--edge", is_flag=True, help="Show requests at the edge instead.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    callback=_statuses,
    help="Show requests answered with this status: 404, 5xx; repeatable.",
)
@click.option(
    "--slow", default="", callback=_duration, help="Show requests that took at least this long: 500ms, 2s."
)
@with_app
@with_json
def logs_command(
    service: str,
    follow: bool,
    lines: int,
    release: int,
    edge: bool,
    statuses: tuple[str, ...],
    slow: str,
    app_name: str | None,
    root: str | None,
    as_json: bool,
) -> None:
    """Show the logs of the app's processes, or of one SERVICE."""
    app = find_app(root, app_name)
    secrets, engine = Secrets(app), registry.of(app.root)
    if edge or statuses or slow:
        selection = request_log.Filter(statuses, duration(slow) or 0.0, service, release)
        for request in request_log.of(app, engine.ingress, selection, lines=lines, follow=follow):
            _print_request(msgspec.structs.replace(request, path=secrets.redact(request.path)), as_json)
        return
    for line in engine.runtime.logs(app, service, release, lines=lines, follow=follow):
        _print_line(line.process, secrets.redact(line.text), as_json)


def _print_line(name: str, line: str, as_json: bool) -> None:
    if as_json:
        echo_json({"process": name, "line": line}, indent=None)  # one object per line
    else:
        echo(Styled(f"{name:<12}", bold=True), " | ", line, colours=True)


def _print_request(request: Request, as_json: bool) -> None:
    if as_json:
        echo_json(request, indent=None)
        return
    colour = {4: "yellow", 5: "red"}.get(request.status // 100)
    words = (
        f"{request.seconds:>7.3f} s",
        f"{request.method or '-':<6}",
        f"{plain(request.path) or '-':<32}",
        f"{request.instance or 'edge':<12}",
        f"{request.cache.lower() or '-':<6}",
        request.request,
    )
    echo(
        f"{request.time[:19].replace('T', ' ')}  ",
        Styled(f"{request.status:>3}", bold=True, fg=colour),
        *(f"  {word}" for word in words),
    )
