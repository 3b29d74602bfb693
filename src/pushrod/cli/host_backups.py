"""host backups: the vaults outside this machine that backups are copied to."""

import sys
from collections.abc import Sequence
from typing import TextIO

import click

from pushrod.adapters import dotenv
from pushrod.backups import rebuild, vaulting
from pushrod.cli import host_commands
from pushrod.cli.context import find_root, with_json, with_root
from pushrod.cli.output import Steps, conclude, print_json, print_table
from pushrod.cli.terminal import echo
from pushrod.core.errors import PushrodError, UnknownNameError
from pushrod.core.values import USUAL_VAULT
from pushrod.engines import registry
from pushrod.provisioning.server import rebuild as rebuild_server
from pushrod.state.vaults import CREDENTIALS, Vaults
from pushrod.system import signals


@click.group("backups")
def backups_group() -> None:
    """Manage where backups are copied to, outside this machine."""


@backups_group.command("set")
@click.argument("place")
@click.option("--name", default=USUAL_VAULT, show_default=True, help="The vault's name, for manifests.")
@click.option(
    "--credentials",
    type=click.File("r", errors="replace"),
    help="A file with the server's credentials as NAME=value lines; - for standard input.",
)
@with_root
def set_command(place: str, name: str, credentials: TextIO | None, root: str | None) -> None:
    """Copy backups to PLACE: a directory, sftp:user@host:/path or s3:https://host/bucket.

    The copies are encrypted with a password that is shown once.
    """
    where = find_root(root)
    where.create()
    given = _read(credentials) if credentials else {}
    vault, fresh = vaulting.establish(where, name, place, given, Steps().note)
    allow = f" and may (`pushrod apps allow APP vault:{name}`)" if registry.traits(where).hosted else ""
    named = f" by apps that name {name}{allow}" if name != USUAL_VAULT else ""
    echo(f"backups are copied to {vault.url}{named}")
    if fresh:
        echo(f"the password of vault {name}, shown only now: {vault.password}")
        echo(
            "Keep it outside this machine: without it, nobody can read the backups once this machine is lost."
        )


def _read(credentials: TextIO) -> dict[str, str]:
    given = dotenv.read(credentials.read())
    if unknown := sorted(set(given) - set(CREDENTIALS)):
        raise UnknownNameError(
            f"`{unknown[0]}` is not a credential of a vault",
            where=credentials.name,
            hint=f"allowed: {', '.join(CREDENTIALS)}",
        )
    return given


@click.command("restore")
@click.option("--from", "place", required=True, help="The vault: as for `host backups set`.")
@click.option(
    "--credentials",
    type=click.File("r", errors="replace"),
    required=True,
    help="A file with RESTIC_PASSWORD and the server's credentials; - for standard input.",
)
@click.option("--host", default="", help="The host whose copies to use, if the vault has several.")
@click.option("--app", "apps", multiple=True, help="Only this app; repeatable.")
@click.argument("server", required=False)
@with_root
def restore_command(
    place: str, credentials: TextIO, host: str, apps: tuple[str, ...], server: str | None, root: str | None
) -> None:
    """Rebuild a host from a vault: its apps with their data, secrets and certificates.

    SERVER is an empty server (user@server), which first becomes a host; by default this machine, which must
    be a host. The vault then belongs to that host.
    """
    # On a host, root continues as the account of the root: that process must find the credentials unread.
    where = None if server else find_root(root)
    given = _read(credentials)
    if "RESTIC_PASSWORD" not in given:
        raise UnknownNameError(
            "the vault's password is missing", where=credentials.name, hint="add RESTIC_PASSWORD=…"
        )
    if where is None:
        options = ["--from", place, *(["--host", host] if host else []), *_repeated("--app", apps)]
        text = "".join(f"{name}={value}\n" for name, value in given.items())
        sys.exit(rebuild_server(str(server), options, text, on_line=Steps().line, out=echo))
    where.create()
    vault = vaulting.reopen(where, USUAL_VAULT, place, given, Steps().note)
    copies = rebuild.newest(where, vault, host, apps)
    if not any(copies):
        raise UnknownNameError("there is no copy of an app in this vault", where=vault.url)
    failed, lines = list[PushrodError](), list[str]()
    with signals.interruptible():
        for outcome in rebuild.rebuild(
            registry.of(where), vault, copies, Steps(), lambda its: lines.extend(host_commands.commands(its))
        ):
            if isinstance(outcome, PushrodError):
                failed.append(outcome)
                continue
            echo(f"{outcome.app}: release {outcome.release} serves at {outcome.url}, as of {outcome.at}")
            for message in outcome.messages:
                echo(f"  {message}")
    if lines:
        echo("Read these commands; they set the lost host's own settings, recipients and members again:")
    for line in lines:
        echo(f"  {line}")
    conclude(failed)


def _repeated(option: str, values: Sequence[str]) -> list[str]:
    return [word for value in values for word in (option, value)]


@backups_group.command("list")
@with_root
@with_json
def list_command(root: str | None, as_json: bool) -> None:
    """List the vaults, and ask each whether it answers."""
    where = find_root(root)
    rows = [vaulting.state(where, vault) for vault in Vaults(where).all()]
    if as_json:
        print_json(rows)
    elif not rows:
        echo("none: backups stay on this machine; `pushrod host backups set PLACE` changes that")
    else:
        print_table(("VAULT", "PLACE", "STATE"), [(r.name, r.place, r.state) for r in rows])
        for row in rows:
            if row.key:
                echo(f"the key of {row.name}: {row.key}")


@backups_group.command("unset")
@click.argument("name", default=USUAL_VAULT)
@with_root
def unset_command(name: str, root: str | None) -> None:
    """Stop copying to a vault; its contents stay."""
    where = find_root(root)
    vault = Vaults(where).find(name)
    if vault is None:
        raise UnknownNameError(f"no vault `{name}`", hint="`pushrod host backups list` lists them")
    Vaults(where).remove(name)
    echo(f"backups are no longer copied to {vault.url}; what is there stays, and needs its password")
