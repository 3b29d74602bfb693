"""redis: tools of an administrator for an app's Redis or Valkey."""

from collections.abc import Iterator

import click

from pushrod.backups.operations import Backups
from pushrod.cli import db, remote
from pushrod.cli.context import chosen, find_app, with_app, with_json, with_store
from pushrod.cli.output import Steps, print_json, print_table
from pushrod.cli.terminal import at_terminal, attach, echo
from pushrod.core.amounts import age, size_of
from pushrod.core.errors import contained
from pushrod.engines import registry
from pushrod.state import releases
from pushrod.state.apps import App
from pushrod.stores.administration import Inspection, Stats
from pushrod.system import signals


@click.group("redis")
def redis_command() -> None:
    """Look into an app's Redis or Valkey, and restore it."""


@redis_command.command("shell", cls=remote.TerminalVerb)
@with_store
@with_app
def shell_command(store: str, app_name: str | None, root: str | None) -> None:
    """Open a client of the app's Redis, with the app's own rights.

    Without a terminal it runs the commands of standard input.
    """
    attach(_inspection(find_app(root, app_name), store).shell(terminal=at_terminal()))


@redis_command.command("stats", cls=remote.Verb)
@click.option(
    "--lines", type=click.IntRange(1, 128), default=10, help="Slow commands to show; by default 10."
)
@with_store
@with_app
@with_json
def stats_command(lines: int, store: str, app_name: str | None, root: str | None, as_json: bool) -> None:
    """Show memory, keys, hit rate and slow commands of the app's Redis."""
    with contained():
        stats = _inspection(find_app(root, app_name), store).stats(lines)
    if as_json:
        print_json(stats)
        return
    for line in _described(stats):
        echo(line)
    if stats.slow:
        rows = [(f"{s.took / 1000:.1f} ms", s.command, str(s.arguments)) for s in stats.slow]
        print_table(("TOOK", "COMMAND", "ARGUMENTS"), rows)


@redis_command.command("restore", cls=remote.Verb)
@click.argument("when", default="")
@click.option("--from-vault", is_flag=True, help="From the backup's copy in the vault.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@with_store
@with_app
def restore_command(
    when: str, from_vault: bool, yes: bool, store: str, app_name: str | None, root: str | None
) -> None:
    """Replace the data of the app's Redis with that of the backup WHEN, by default the newest.

    The current data is backed up first, and stays until the restored data has been checked. Clients keep their
    connections; for a moment their writes are refused.
    """
    app = find_app(root, app_name)
    known = _inspections(app)
    name = chosen(list(known), store, _WHICH, releases.running(app).stores)
    when = db.confirm_restore(app, f"{name} of {app.name}", when, from_vault=from_vault, yes=yes)
    with signals.interruptible():
        before = known[name].stats(1).keys
        lines = Backups(app, registry.of(app.root), Steps()).restore(when, only=name, from_vault=from_vault)
        after = known[name].stats(1).keys
    for line in (*lines, f"{name}: {after} keys, {before} before"):
        echo(line)


def _described(stats: Stats) -> Iterator[str]:
    most = f" of {size_of(stats.limit)}" if stats.limit else ""
    kept = "append-only file" if stats.append_only else "no append-only file"
    rate = "nothing looked up" if stats.hit_rate is None else f"{stats.hit_rate:.1%} of lookups hit"
    yield f"version {stats.version}, up {age(stats.uptime)}, {stats.clients} clients, {kept}"
    yield f"memory: {size_of(stats.memory)}{most}, at most {size_of(stats.peak)} so far; {stats.policy}"
    yield (
        f"keys: {stats.keys}; {rate} ({stats.hits} of {stats.hits + stats.misses}); "
        f"{stats.evicted} evicted, {stats.expired} expired"
    )


_WHICH = "Redis or Valkey whose password is known"


def _inspection(app: App, store: str) -> Inspection:
    inspections = _inspections(app)
    return inspections[chosen(list(inspections), store, _WHICH, releases.running(app).stores)]


def _inspections(app: App) -> dict[str, Inspection]:
    release = releases.running(app)
    servers = registry.of(app.root).stores.servers(app, release.stores)
    return {name: one for name, server in servers.items() if (one := server.inspection()) is not None}
