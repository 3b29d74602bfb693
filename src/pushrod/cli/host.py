"""host: make a server a Docker host, and manage who may push to it."""

import os
import sys
from typing import TextIO

import click

from pushrod.cli import recording
from pushrod.cli.context import with_json, with_root
from pushrod.cli.host_alarm import alarm_group
from pushrod.cli.host_backups import backups_group, restore_command
from pushrod.cli.host_context import as_root, given_root, host_root
from pushrod.cli.host_notify import notify_group
from pushrod.cli.host_services import metrics_group, monitor_group, web_group
from pushrod.cli.output import Steps, print_json, print_table
from pushrod.cli.terminal import echo
from pushrod.core import limits
from pushrod.core.errors import HostError
from pushrod.engines import machine, registry
from pushrod.engines.docker import host_edge, own_sites
from pushrod.provisioning import (
    account,
    exporters,
    host_init,
    host_limits,
    host_settings,
    installation,
    keys,
    shares,
)
from pushrod.provisioning.changes import Change, Work
from pushrod.provisioning.server import initialise
from pushrod.state.apps import HostSettings, Root


@click.group("host")
def host_command() -> None:
    """Set up and manage a Docker host."""


host_command.add_command(alarm_group)
host_command.add_command(backups_group)
host_command.add_command(metrics_group)
host_command.add_command(monitor_group)
host_command.add_command(notify_group)
host_command.add_command(restore_command)
host_command.add_command(web_group)


@host_command.command("init")
@click.argument("server", required=False)
@click.option("--plan", is_flag=True, help="Show what would change, without changing it.")
@click.option(
    "--exporters/--no-exporters",
    "enabled",
    default=None,
    help="Serve figures of the machine, the stores and the edge for Prometheus, on loopback; or stop that.",
)
@with_root
@with_json
def init(server: str | None, plan: bool, enabled: bool | None, root: str | None, as_json: bool) -> None:
    """Turn a Debian or Ubuntu server into a Docker host.

    SERVER is user@server, by default this machine. It needs root there. Correct settings stay, and a second call
    does nothing.
    """
    steps = Steps()
    if server:
        options = [*(["--plan"] if plan else []), *(["--json"] if as_json else [])]
        options += [] if enabled is None else ["--exporters" if enabled else "--no-exporters"]
        options += ["--root", given] if (given := given_root(root)) else []
        sys.exit(initialise(server, options, plan=plan, on_line=steps.line, out=echo))
    where = host_root(root)
    works = host_init.plan(where, steps.line)
    if not plan and not installation.stays():
        installation.install(steps.line)
        os.execv(installation.PROGRAM, [str(installation.PROGRAM), *sys.argv[1:]])  # noqa: S606
    if not plan:
        recording.begun(where)
    _show(works, plan, as_json)
    if enabled is not None and not plan:
        _export(where, enabled, steps, as_json)


def _export(where: Root, enabled: bool, steps: Steps, as_json: bool) -> None:
    """Turn exporters on or off."""
    if not enabled:
        exporters.turn_off(where)
        text = "there are no exporters"
    else:
        edge = "" if exporters.turn_on(where, steps.line) else "; this nginx counts nothing (no stub_status)"
        place = where.path / "targets" / "stores"
        text = f"figures of the machine and of the stores are on loopback, targets in {place}{edge}"
    if not as_json:
        echo(text)


def _show(works: list[Work], plan: bool, as_json: bool) -> None:
    """Print each change, in a plan at once, otherwise when it is done."""
    changes = [work.change for work in works]
    if as_json:
        if not plan:
            list(host_init.carry_out(works))
        print_json(changes)
        return
    for change in changes if plan else _carried_out(works):
        if change.action != "same":
            _print(change)
    if not any(change.pending for change in changes):
        echo("nothing to do: this machine is already a host")
    elif not plan:
        echo("this machine is now a host; `pushrod host keys add FILE` lets people push to it")


def _carried_out(works: list[Work]) -> list[Change]:
    kept = [work.change for work in works if work.change.action == "kept"]
    for change in kept:
        _print(change)
    for change in host_init.carry_out(works):
        _print(change)
    return []


def _print(change: Change) -> None:
    echo(f"{change.action:<8} {change.what}" + (f"  {change.detail}" if change.detail else ""))


@host_command.command("edge", hidden=True)
@with_root
def prepare_edge(root: str | None) -> None:
    """Make the edge's files; called by `pushrod host init`, as the account they belong to."""
    where = host_root(root)
    nginx = host_edge.of(where)
    nginx.prepare()
    nginx.refresh(own_sites.of(where))


@host_command.command("limits")
@click.argument("changes", metavar="[NAME=VALUE]...", nargs=-1)
@click.option("--app", default="", help="Only for this app.")
@with_root
@with_json
def limits_command(changes: tuple[str, ...], app: str, root: str | None, as_json: bool) -> None:
    """Show or change how much of this host one app may take.

    A change is for example `memory=4G`; `memory=default` restores the default.
    """
    where = host_root(root)
    if app:
        where.app(app)
    if changes:
        option = f" --app {app}" if app else ""
        as_root(root, f"limits{option} {' '.join(changes)}", app)
        host_limits.change(where, changes, app)
    current, usual = machine.of(where, app), machine.limits(HostSettings(), place=where.path)
    if as_json:
        print_json(current)
        return
    rows = []
    for name, limit in limits.LIMITS.items():
        value, default = (limits.written(name, getattr(its, name)) for its in (current, usual))
        rows.append((name.replace("_", "-"), value, "" if value == default else default, limit.meaning))
    print_table(("LIMIT", "VALUE", "DEFAULT", "OF"), rows)


@host_command.group("keys")
def keys_group() -> None:
    """Manage who may push to this host."""


@keys_group.command("add")
@click.argument("file", default="-", type=click.File("r", errors="replace"))
@click.option("--name", default="", help="The key's name; by default its comment.")
@click.option(
    "--app", "apps", multiple=True, help="An app that the key is for; repeatable; by default all apps."
)
@with_root
def add_key(file: TextIO, name: str, apps: tuple[str, ...], root: str | None) -> None:
    """Let the owner of a public key push (FILE, or standard input)."""
    where = host_root(root)
    recording.begun(where)
    key = keys.parse(file.read(), name=name, apps=apps)
    recording.add(f"{key.name} {key.fingerprint} for {', '.join(key.apps) or 'every app'}")
    _key_file(where).add(key, installation.program(), where.path, shares.allot)
    reach = ", ".join(key.apps) or "every app"
    echo(f"{key.name} may push to {reach}: git remote add pushrod {account.NAME}@{os.uname().nodename}:APP")


@keys_group.command("list")
@with_root
@with_json
def list_keys(root: str | None, as_json: bool) -> None:
    """List the keys and their apps."""
    listed = _key_file(host_root(root)).all()
    if as_json:
        print_json(listed)
    elif not listed:
        echo("none; `pushrod host keys add FILE` adds one")
    else:
        print_table(
            ("NAME", "APPS", "FINGERPRINT"),
            [(k.name, ", ".join(k.apps) or "all", k.fingerprint) for k in listed],
        )


@keys_group.command("remove")
@click.argument("which", metavar="NAME|FINGERPRINT")
@with_root
def remove_key(which: str, root: str | None) -> None:
    """Remove a key: its owner can no longer push."""
    where = host_root(root)
    recording.begun(where)
    removed = _key_file(where).remove(which)
    recording.add(f"{removed.name} {removed.fingerprint}")
    shares.withdraw(removed.name)
    echo(f"{removed.name} may no longer push")


def _key_file(root: Root) -> keys.KeyFile:
    entry = account.entry()
    if entry is None or not registry.traits(root).hosted:
        raise host_settings.not_a_host(root)
    if os.geteuid() not in (0, entry.pw_uid):
        raise HostError("only root may manage keys", hint="sudo pushrod host keys …")
    return keys.KeyFile(root.path / keys.PLACE, (entry.pw_uid, entry.pw_gid))
