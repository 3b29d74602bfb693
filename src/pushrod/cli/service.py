"""service: let systemd start the apps of a root at boot."""

import click

from pushrod.cli.context import find_root, with_root
from pushrod.cli.terminal import say
from pushrod.engines import registry
from pushrod.system import signals


@click.group("service")
def service_command() -> None:
    """Start the apps at boot (without Docker)."""


@service_command.command("install")
@with_root
def install_command(root: str | None) -> None:
    """Have systemd start this root's apps and stores at boot.

    As root this writes a unit of the system, as another user one of the user's own manager. What runs now is not
    touched: it moves into the unit when it next starts.
    """
    where = find_root(root)
    with signals.interruptible():
        unit = registry.of(where).platform.start_at_boot(True)
    say(f"{unit} starts the apps of {where.path} at boot")


@service_command.command("remove")
@with_root
def remove_command(root: str | None) -> None:
    """Do not start them at boot any more. What runs now goes on running."""
    where = find_root(root)
    with signals.interruptible():
        registry.of(where).platform.start_at_boot(False)
    say(f"the apps of {where.path} no longer start at boot")
