"""host alarm: where alarms go when something is wrong that must not go unnoticed."""

import sys

import click

from pushrod.adapters import channels
from pushrod.cli.context import find_root, with_json, with_root
from pushrod.cli.host_notify import collect
from pushrod.cli.output import ago, conclude, print_json, print_table
from pushrod.cli.terminal import echo
from pushrod.core.amounts import age
from pushrod.core.times import seconds_since
from pushrod.observe import alerts, announcements, diagnostics
from pushrod.observe.alarms import Alarm


@click.group("alarm")
def alarm_group() -> None:
    """Manage alarms: their recipient, and what is wrong now."""


@alarm_group.command("set")
@click.argument("target")
@with_root
def set_command(target: str, root: str | None) -> None:
    """Send alarms to TARGET: https://…, mailto:person@example.com, or a program; - reads it from standard input."""
    where = find_root(root)
    where.create()
    text = sys.stdin.readline().strip() if target == "-" else target
    Alarm(where).set(text)
    announcements.begin(where)
    echo(f"alarms go to {channels.shown(text)}; `pushrod host alarm test` sends one")


@alarm_group.command("unset")
@with_root
def unset_command(root: str | None) -> None:
    """Send no more alarms."""
    Alarm(find_root(root)).set("")
    echo("alarms go to nobody; `pushrod doctor` still finds what is wrong")


@alarm_group.command("test")
@with_root
def test_command(root: str | None) -> None:
    """Send a test alarm; exits with 10 unless it was accepted."""
    Alarm(find_root(root)).test()
    echo("a test was sent and accepted")


@alarm_group.command("prometheus")
@click.argument("url")
@with_root
def prometheus_command(url: str, root: str | None) -> None:
    """Report the alerts of the Prometheus at URL too, such as http://127.0.0.1:9090; `off` ends that."""
    where = find_root(root)
    where.create()
    alerts.choose(where, "" if url == "off" else url)
    echo("alerts of no Prometheus are reported" if url == "off" else f"alerts of {url} are reported too")


@alarm_group.command("check")
@with_root
def check_command(root: str | None) -> None:
    """Look for problems, and send the alarms that are due, like the timer."""
    where = find_root(root)
    collect(where)
    conclude(Alarm(where).check(diagnostics.urgent(where)))


@alarm_group.command("list")
@with_root
@with_json
def list_command(root: str | None, as_json: bool) -> None:
    """List the problems that the last check found, and whether each was reported."""
    alarm = Alarm(find_root(root))
    problems = [one for one in alarm.open() if not one.over]
    if as_json:
        print_json(problems)
        return
    target = alarm.target
    echo(f"alarms go to {channels.shown(target) if target else 'nobody: `pushrod host alarm set TARGET`'}")
    if problems:
        rows = [
            (
                one.what,
                age(seconds_since(one.since)),
                ago(one.sent) if one.sent else "no",
                one.detail,
            )
            for one in problems
        ]
        print_table(("WHAT", "FOR", "REPORTED", ""), rows)
