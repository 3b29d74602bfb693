"""web: the page in a browser, who may open it, and the verbs that it calls."""

import os
import shlex
import sys

import click
import msgspec

from pushrod.cli import gate as ssh_gate
from pushrod.cli import host_context, recording, web_host
from pushrod.cli.context import find_root, with_root
from pushrod.cli.output import print_table
from pushrod.cli.terminal import echo
from pushrod.core.errors import HostError, UnknownNameError
from pushrod.engines import registry
from pushrod.provisioning import gate, shares
from pushrod.provisioning.kinds import Reach
from pushrod.provisioning.web import USUAL
from pushrod.state.apps import Root
from pushrod.state.audit import Who
from pushrod.system import accounts, files
from pushrod.web import access, roles
from pushrod.web.access import Access, Member
from pushrod.web.calls import Call

_KEY = "web"  # what the audit log has instead of a key's fingerprint
_LONGEST_CALL = 64 << 10  # bytes


class _Web(click.Group):
    """`pushrod web` alone means `pushrod web open`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert the verb, unless one is named or help is asked for."""
        if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
            args = ["open", *args]
        return super().parse_args(ctx, args)


@click.group("web", cls=_Web, short_help="Show the apps as a page in the browser.")
def web_command() -> None:
    """Show the apps as a page in the browser; `pushrod web` alone means `open`."""


for _part in (
    web_host.certify_command,
    web_host.serve_command,
    web_host.door_command,
    web_host.link_command,
):
    web_command.add_command(_part)


@web_command.command("open")
@click.option("--port", default=0, help=f"The port on 127.0.0.1, by default {USUAL} if it is free.")
@click.option("--no-browser", is_flag=True, help="Open no browser.")
@click.option(
    "--on", "server", default="", metavar="USER@SERVER", help="The page of a server, by an SSH tunnel."
)
@with_root
def open_command(port: int, no_browser: bool, server: str, root: str | None) -> None:
    """Serve the page on this machine until Ctrl-C, and print a one-time link to it."""
    if server:
        web_host.through(server, access.loopback_name(), port, browser=not no_browser)
        return
    where = find_root(root)
    if registry.traits(where).hosted:
        raise web_host.no_page_here(where)
    try:
        from pushrod.web import answers, pages
        from pushrod.web import server as listener
    except ImportError as e:
        raise HostError(
            f"the page needs {e.name}, which is not installed", hint="pip install 'pushrod[web]'"
        ) from e
    from pushrod.web.calls import Calls
    from pushrod.web.guard import Hosts
    from pushrod.web.runs import Runs
    from pushrod.web.streams import Limit

    try:
        listening = listener.on_loopback(port or USUAL)
    except OSError as e:
        if port:
            raise HostError(f"port {port} of 127.0.0.1: {(e.strerror or str(e)).lower()}") from e
        listening = listener.on_loopback(0)
    number = listening.getsockname()[1]
    who, me = Access(where), accounts.user_name()
    link = f"http://{access.loopback_name()}:{number}/enter?link={who.own(me)}"
    engine, calls = registry.of(where), Calls(door(where))
    site = answers.Site(
        where,
        engine.traits,
        who,
        lambda apps, _call: engine.runtime.states(apps),
        calls,
        Hosts(number),
        Runs(calls),
        Limit(),
    )
    echo(link)
    echo(f"The link works once, within {access.LINK_MINUTES} minutes. Ctrl-C ends the page.", err=True)
    page = who.directory / "open.html"
    if not no_browser:
        web_host.browse(page, link)
    try:
        listener.serve(pages.make(site), [listening])
    finally:
        who.remove(me)
        files.remove(page)


def door(root: Root) -> list[str]:
    """The argv of the program that takes the page's calls."""
    return [sys.executable, "-P", "-m", "pushrod", "web", "call", "--root", str(root.path)]


@web_command.command("invite")
@click.argument("name")
@click.option("--app", "apps", multiple=True, help="An app that NAME may see; repeatable. By default all.")
@click.option(
    "--role",
    type=click.Choice(roles.ROLES),
    default="viewer",
    show_default=True,
    help="What NAME may do: look, deploy, or everything.",
)
@with_root
def invite_command(name: str, apps: tuple[str, ...], role: roles.Role, root: str | None) -> None:
    """Let NAME open the page, and print a one-time link. A second call changes role and apps, and prints a
    new link."""
    where = find_root(root)
    for app in apps:
        where.app(app)
    token = Access(where).invite(name, role, apps)
    recording.add(f"{role} of {', '.join(apps) or 'all apps'}")
    address = web_host.address(where)
    echo(f"{address}/enter?link={token}")
    tunnel = f"http://{access.loopback_name()}:PORT"
    behind = "" if address else f", behind the page's address: through a tunnel {tunnel}"
    echo(
        f"{name} is {role} of {', '.join(apps) or 'all apps'}; the link works once, within "
        f"{access.LINK_MINUTES} minutes{behind}",
        err=True,
    )


@web_command.command("members")
@with_root
def members_command(root: str | None) -> None:
    """List who may open the page."""
    members = Access(find_root(root)).members()
    if not members:
        echo("nobody; `pushrod web invite NAME` invites somebody")
        return
    print_table(("NAME", "ROLE", "APPS"), [(m.name, m.role, ", ".join(m.apps) or "all") for m in members])


@web_command.command("remove")
@click.argument("name")
@with_root
def remove_command(name: str, root: str | None) -> None:
    """Remove NAME; open sessions end at once."""
    Access(find_root(root)).remove(name)
    echo(f"{name} cannot open the page any more")


# ---- what the page calls --------------------------------------------------------------------------------------


@web_command.command("call", hidden=True)
@with_root
@click.pass_context
def call_command(context: click.Context, root: str | None) -> None:
    """Called by the page, not by people: a verb with the rights of a session, as `gate` is for a key."""
    where = find_root(root)
    call = _read()
    member = Access(where).member_of(call.session)
    if member is None:
        raise UnknownNameError("this session has ended", hint="log in again")
    record, reach = recording.of(context), Reach(member.apps)
    record.root, record.reach = where, member.apps
    record.who = Who(member.name, _KEY, call.address)
    words = list(call.words)
    record.what, record.words = " ".join(words[:1]), shlex.join(gate.without_values(words))
    context.with_resource(shares.turn(where, f"{_KEY}-{member.name}"))
    verb = roles.check(member.role, words, reach)
    os.environ["LOGNAME"] = member.name
    os.chdir("/")
    parsed = _parsed(context, words, member, where, reach)
    record.begin()
    ssh_gate.end_after(gate.VERBS[verb].seconds)
    with parsed:
        parsed.command.invoke(parsed)


def _parsed(
    context: click.Context, words: list[str], member: Member, root: Root, reach: Reach
) -> click.Context:
    caller = host_context.Caller(member.name, root, reach)
    return ssh_gate.parse(context.find_root().command, words, caller, recording.of(context))


def _read() -> Call:
    """The first line of standard input; what follows is the verb's own input."""
    raw = b""
    while not raw.endswith(b"\n"):
        byte = os.read(0, 1)
        raw += byte
        if not byte or len(raw) > _LONGEST_CALL:
            raise UnknownNameError("no call on standard input")
    try:
        return msgspec.json.decode(raw, type=Call)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise UnknownNameError(f"not a call: {e}") from e
