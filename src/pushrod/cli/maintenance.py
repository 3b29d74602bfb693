"""maintenance: the edge temporarily answers instead of the app."""

import ipaddress

import click

from pushrod.cli import remote
from pushrod.cli.context import find_app, pipeline, with_app
from pushrod.cli.output import closed
from pushrod.cli.terminal import echo
from pushrod.core.values import Maintenance
from pushrod.state.apps import App
from pushrod.system import signals


@click.group("maintenance")
def maintenance_command() -> None:
    """Close the app for maintenance, and reopen it."""


def _networks(
    _context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]
) -> tuple[str, ...]:
    try:
        if any("%" in text for text in given):
            raise ValueError("a zone is not allowed here")
        return tuple(dict.fromkeys(str(ipaddress.ip_network(text)) for text in given))
    except ValueError as e:
        raise click.BadParameter(f"{e}; expected an address or a network such as 203.0.113.0/24") from e


@maintenance_command.command("on", cls=remote.Verb)
@click.option(
    "--allow",
    multiple=True,
    metavar="CIDR",
    callback=_networks,
    help="Addresses that still reach the app; repeatable.",
)
@click.option(
    "--retry-after",
    metavar="SECONDS",
    type=click.IntRange(1, 31_536_000),
    default=Maintenance().retry_after,
    show_default=True,
    help="Seconds after which clients should try again (Retry-After).",
)
@with_app
def on_command(allow: tuple[str, ...], retry_after: int, app_name: str | None, root: str | None) -> None:
    """Answer every request with 503 and a page that says so.

    Instances and stores keep running. This lasts, across releases too, until `pushrod maintenance off`.
    """
    app, settings = find_app(root, app_name), Maintenance(allow, retry_after)
    with signals.interruptible():
        pipeline(app).maintain(settings)
    echo(f"{app.name} is {closed(settings)}{_later(app)}")


@maintenance_command.command("off", cls=remote.Verb)
@with_app
def off_command(app_name: str | None, root: str | None) -> None:
    """Reopen the app."""
    app = find_app(root, app_name)
    with signals.interruptible():
        pipeline(app).maintain(None)
    echo(f"{app.name} is open{_later(app)}")


def _later(app: App) -> str:
    return "; it is down now: `pushrod up` starts it" if app.settings.down else ""
