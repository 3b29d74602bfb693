"""db: backups of an app's stores."""

import click
import msgspec

from pushrod.backups import catalogue, copies, operations, point_in_time, wal_copies
from pushrod.backups.catalogue import Backup, Listed
from pushrod.backups.copies import Copy
from pushrod.backups.operations import Backups
from pushrod.backups.point_in_time import PointInTime
from pushrod.cli import db_tools, remote
from pushrod.cli.context import find_app, find_root, with_app, with_json
from pushrod.cli.db_admin import admin_command, tunnel_command
from pushrod.cli.db_upgrade import upgrade_command
from pushrod.cli.db_wal import archive_command, wal_command
from pushrod.cli.host_context import visible
from pushrod.cli.output import Steps, ago, conclude, print_json, print_table
from pushrod.cli.terminal import ask, echo
from pushrod.core.amounts import age, size_of
from pushrod.core.errors import PushrodError, StoreError, UnknownNameError
from pushrod.core.times import to_the_minute
from pushrod.engines import registry
from pushrod.state.apps import App
from pushrod.system import signals


@click.group("db")
def db_command() -> None:
    """Manage an app's stores: backups, restores, upgrades."""


for _tool in (
    db_tools.shell_command,
    db_tools.size_command,
    db_tools.top_command,
    db_tools.export_command,
    db_tools.import_command,
    db_tools.rotate_command,
):
    db_command.add_command(_tool)


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
        if copy := _of(app).copy():
            echo(_copied(copy))
        wal_copies.take_bases(app, registry.of(app.root))


def _all(root: str | None) -> None:
    """Back up every app that is due; after all have been tried, exit with the code of the first failure."""
    where = find_root(root)
    failed: list[PushrodError] = []
    with signals.interruptible():
        for outcome in operations.all_due(registry.of(where), visible(where), Steps()):
            if isinstance(outcome, Backup):
                echo(_summary(outcome))
            elif isinstance(outcome, Copy):
                echo(_copied(outcome))
            else:
                failed.append(outcome)
    conclude(failed)


@db_command.command("backups", cls=remote.Verb)
@with_app
@with_json
def backups_command(app_name: str | None, root: str | None, as_json: bool) -> None:
    """List the app's backups, newest first."""
    app = find_app(root, app_name)
    backups, ledger = catalogue.listed(app), copies.ledger(app)
    if as_json:
        print_json([Listed(**msgspec.structs.asdict(b), copy=copies.of(ledger, b.name)) for b in backups])
    elif not backups:
        echo("none; `pushrod db backup` takes one")
    else:
        vaults = bool(ledger.copies or ledger.failure)
        rows = [
            (
                b.name,
                size_of(b.size),
                str(b.release),
                age(b.age),
                _stores(b),
                _fate(copies.of(ledger, b.name)),
            )
            for b in backups
        ]
        header = ("BACKUP", "SIZE", "RELEASE", "AGE", "OF", "IN A VAULT")
        print_table(header if vaults else header[:-1], [row if vaults else row[:-1] for row in rows])
    if failure := ledger.failure:
        raise StoreError(
            f"not copied to a vault since {to_the_minute(failure.at)}: {failure.what}",
            where=failure.where,
            hint="`pushrod db backup` tries again",
        )


def _fate(copy: Copy | None) -> str:
    if copy is None:
        return "no"
    return f"{copy.vault}, proved {ago(copy.proved)}" if copy.proved else f"{copy.vault}, not proved"


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
        echo(f"{name} {result.store}: {result}")


@db_command.command("restore", cls=remote.Verb)
@click.argument("when", default="")
@click.option("--to", default="", help="A time, '2026-11-22 14:03:07' (UTC), or latest, instead of a backup.")
@click.option("--into", default="", help="With --to: as a database of this name beside the app's.")
@click.option("--from-vault", is_flag=True, help="From the backup's copy in the vault.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@with_app
def restore_command(
    when: str, to: str, into: str, from_vault: bool, yes: bool, app_name: str | None, root: str | None
) -> None:
    """Replace the app's databases with a backup (WHEN), or with their state at a time (--to).

    The current data is kept: as a backup, or with --to as a second database. Instances lose their
    connections and reconnect.
    """
    app = find_app(root, app_name)
    if bool(when) == bool(to) or (into and not to) or (to and from_vault):
        raise UnknownNameError(
            "name either a backup or a time",
            hint="`pushrod db backups` lists backups; --into belongs to --to, and --from-vault to a backup",
        )
    if to:
        _restore_to(app, to, into, yes)
        return
    when = confirm_restore(app, app.name, when, from_vault=from_vault, yes=yes)
    with signals.interruptible():
        lines = _of(app).restore(when, from_vault=from_vault)
    for line in lines:
        echo(line)


def confirm_restore(app: App, whose: str, when: str, *, from_vault: bool, yes: bool) -> str:
    """Ask whether the data of `whose` may be replaced by a backup; returns its name, or as much as is known of it
    here.
    """
    if from_vault:
        what = f"the copy of backup {when or '(the newest)'} in the vault"
    else:
        backup = catalogue.find(app, when)
        when, what = backup.name, f"backup {backup.name}, {age(backup.age)} old"
    if not yes:
        echo(f"This replaces the data of {whose} by {what}. The current data is backed up first.")
        if ask("Type the app's name to confirm") != app.name:
            raise click.Abort
    return when


def _restore_to(app: App, to: str, into: str, yes: bool) -> None:
    point_in_time.moment(to)
    if not into and not yes:
        echo(
            f"This replaces the data of {app.name} by what it was at {to}. The current data is kept beside it."
        )
        if ask("Type the app's name to confirm") != app.name:
            raise click.Abort
    with signals.interruptible():
        lines = PointInTime(app, registry.of(app.root), Steps()).restore_to(to, into)
    for line in lines:
        echo(line)


def _of(app: App) -> Backups:
    return Backups(app, registry.of(app.root), Steps())


def _summary(backup: Backup) -> str:
    return f"{backup.app}: backup {backup.name}, {size_of(backup.size)} of {_stores(backup)}"


def _copied(copy: Copy) -> str:
    proof = "; its databases were restored from there" if copy.restored else ""
    return (
        f"{copy.app or 'the host'}: copied to vault {copy.vault}, {size_of(copy.sent)} sent, "
        f"{size_of(copy.size)} read back{proof}"
    )


def _stores(backup: Backup) -> str:
    return ", ".join(file.store for file in backup.files)


db_command.add_command(admin_command)
db_command.add_command(tunnel_command)
db_command.add_command(archive_command)
db_command.add_command(wal_command)
db_command.add_command(upgrade_command)
