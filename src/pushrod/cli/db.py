"""db: backups of an app's stores."""

import click

from pushrod.backups import catalogue, operations
from pushrod.backups.catalogue import Backup
from pushrod.backups.operations import Backups
from pushrod.cli import remote
from pushrod.cli.context import find_app, find_root, with_app, with_json
from pushrod.cli.host_context import visible
from pushrod.cli.output import Steps, age, conclude, print_json, print_table
from pushrod.cli.terminal import ask, echo
from pushrod.core.errors import PushrodError
from pushrod.engines import registry
from pushrod.state.apps import App
from pushrod.system import signals


@click.group("db")
def db_command() -> None:
    """Manage backups of an app's stores."""


@db_command.command("backup", cls=remote.Verb)
@click.option("--all", "every", is_flag=True, help="Every app that is due, like the timer.")
@with_app
def backup_command(every: bool, app_name: str | None, root: str | None) -> None:
    """Back up the app's stores while it runs."""
    if every:
        _all(root)
        return
    app = find_app(root, app_name)
    with signals.interruptible():
        echo(_summary(_of(app).take()))


def _all(root: str | None) -> None:
    """Back up every app that is due; after all have been tried, exit with the code of the first failure."""
    where = find_root(root)
    failed: list[PushrodError] = []
    with signals.interruptible():
        for outcome in operations.all_due(registry.of(where), visible(where), Steps()):
            if isinstance(outcome, Backup):
                echo(_summary(outcome))
            else:
                failed.append(outcome)
    conclude(failed)


@db_command.command("backups", cls=remote.Verb)
@with_app
@with_json
def backups_command(app_name: str | None, root: str | None, as_json: bool) -> None:
    """List the app's backups, newest first."""
    backups = catalogue.listed(find_app(root, app_name))
    if as_json:
        print_json(backups)
    elif not backups:
        echo("none; `pushrod db backup` takes one")
    else:
        rows = [(b.name, _size(b.size), str(b.release), age(b.age), _stores(b)) for b in backups]
        print_table(("BACKUP", "SIZE", "RELEASE", "AGE", "OF"), rows)


@db_command.command("verify", cls=remote.Verb)
@click.argument("when", default="")
@with_app
def verify_command(when: str, app_name: str | None, root: str | None) -> None:
    """Test a backup by restoring it beside the data.

    Compares the restored rows with the recorded ones, and drops the copy. WHEN is the backup's name or a prefix of
    it, by default the newest.
    """
    app = find_app(root, app_name)
    name = catalogue.find(app, when).name
    with signals.interruptible():
        tried = _of(app).verify(name)
    for result in tried:
        what = f"{result.tables} tables, {result.rows} rows" if result.restored else "intact, not restored"
        echo(f"{name} {result.store}: {what}")


@db_command.command("restore", cls=remote.Verb)
@click.argument("when")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@with_app
def restore_command(when: str, yes: bool, app_name: str | None, root: str | None) -> None:
    """Replace the app's databases by those of the backup WHEN.

    The current data is backed up first. Instances lose their connections and reconnect.
    """
    app = find_app(root, app_name)
    backup = catalogue.find(app, when)
    if not yes:
        echo(
            f"This replaces the data of {app.name} by backup {backup.name}, {age(backup.age)} old. "
            "The current data is backed up first."
        )
        if ask("Type the app's name to confirm") != app.name:
            raise click.Abort
    with signals.interruptible():
        lines = _of(app).restore(backup.name)
    for line in lines:
        echo(line)


def _of(app: App) -> Backups:
    return Backups(app, registry.of(app.root), Steps())


def _summary(backup: Backup) -> str:
    return f"{backup.app}: backup {backup.name}, {_size(backup.size)} of {_stores(backup)}"


def _stores(backup: Backup) -> str:
    return ", ".join(file.store for file in backup.files)


def _size(count: int) -> str:
    """A number of bytes for display."""
    for unit, least in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= least:
            return f"{count / least:.1f} {unit}"
    return f"{count} B"
