"""host notify: who gets notices of deployments and alarms."""

import sys

import click

from pushrod.adapters import channels
from pushrod.cli import announcing
from pushrod.cli.context import find_root, with_json, with_root
from pushrod.cli.output import conclude, print_json, print_table
from pushrod.cli.terminal import echo
from pushrod.core.amounts import age
from pushrod.core.errors import UnknownNameError
from pushrod.core.times import seconds_since
from pushrod.observe import alarms, announcements
from pushrod.observe.outbox import Notice, Outbox
from pushrod.observe.recipients import Recipient, Recipients
from pushrod.state.apps import Root
from pushrod.system import files, waits

_AGAIN = (15.0, 60.0, 240.0)  # seconds before each new attempt of `check --retry`


@click.group("notify")
def notify_group() -> None:
    """Manage who gets notices of deployments and alarms."""


@notify_group.command("add")
@click.argument("name")
@click.argument("target")
@click.option(
    "--style",
    type=click.Choice(["json", "slack", "discord"]),
    help="The form of a webhook's messages; by default that of its server.",
)
@click.option(
    "--app", "apps", multiple=True, help="Only about this app; repeatable; by default about everything."
)
@with_root
def add_command(
    name: str, target: str, style: channels.Style | None, apps: tuple[str, ...], root: str | None
) -> None:
    """Send notices of deployments and alarms to TARGET: https://…, mailto:person@example.com, or a program.

    - reads TARGET from standard input.
    """
    where = find_root(root)
    where.create()
    for app in apps:
        where.app(app)
    text = sys.stdin.readline().strip() if target == "-" else target
    Recipients(where).add(Recipient(name, text, style or channels.style_of(text), apps))
    announcements.begin(where)
    echo(f"{name}: {channels.shown(text)} gets notices; `pushrod host notify test {name}` sends a test")


@notify_group.command("remove")
@click.argument("name")
@with_root
def remove_command(name: str, root: str | None) -> None:
    """Send no more notices to NAME."""
    if not Recipients(find_root(root)).remove(name):
        raise _unknown(find_root(root), name)
    echo(f"{name} gets no more notices")


@notify_group.command("list")
@with_root
@with_json
def list_command(root: str | None, as_json: bool) -> None:
    """List the recipients, and what could not be delivered yet."""
    where = find_root(root)
    recipients, waiting = Recipients(where).all(), Outbox(where).waiting()
    if as_json:
        print_json(
            [
                {
                    "name": one.name,
                    "target": channels.shown(one.target),
                    "style": one.style,
                    "apps": one.apps,
                    "waiting": _waiting(waiting, one),
                }
                for one in recipients
            ]
        )
        return
    rows = [
        (
            one.name,
            channels.shown(one.target),
            one.style,
            ", ".join(one.apps) or "all",
            str(_waiting(waiting, one)),
        )
        for one in recipients
    ]
    if rows:
        print_table(("NAME", "TARGET", "STYLE", "APPS", "WAITING"), rows)
    else:
        echo("nobody; `pushrod host notify add NAME TARGET` adds a recipient")
    for notice in waiting:
        if notice.problem:
            since = age(seconds_since(notice.at))
            echo(f"{notice.recipient} could not be reached for {since}: {notice.problem}")


def _waiting(waiting: list[Notice], one: Recipient) -> int:
    return sum(notice.recipient == one.name for notice in waiting)


@notify_group.command("test")
@click.argument("name", default="")
@with_root
def test_command(name: str, root: str | None) -> None:
    """Send a test to NAME, or to every recipient; exits with 10 unless it was accepted."""
    where = find_root(root)
    names = [one.name for one in Recipients(where).all()]
    if (name and name not in names) or not names:
        raise _unknown(where, name)
    for one in [name] if name else names:
        Outbox(where).send(one, alarms.test_facts())
        echo(f"{one}: a test was sent and accepted")


@notify_group.command("check")
@click.option("--retry", is_flag=True, help="Retry undelivered notices for some minutes.")
@with_root
def check_command(retry: bool, root: str | None) -> None:
    """Add notices of ended deployments, and deliver all that wait, like the unit."""
    where = find_root(root)
    collect(where)
    failed = Outbox(where).deliver()
    for seconds in _AGAIN if retry else ():
        if not failed or waits.wait_until(lambda: not Outbox(where).waiting(), seconds, 1.0):
            return  # another process has delivered it
        failed = Outbox(where).deliver()
    conclude(failed)


def collect(root: Root) -> None:
    """Put notices of deployments that have ended into the outbox."""
    files.remove(root.path / "alarm" / announcing.DUE)
    announcements.collect(root)


def _unknown(root: Root, name: str) -> UnknownNameError:
    names = ", ".join(one.name for one in Recipients(root).all()) or "none yet"
    return UnknownNameError(
        f"no recipient is called `{name}`" if name else "there is no recipient",
        hint=f"recipients: {names}; `pushrod host notify add NAME TARGET` adds one",
    )
