"""service: let systemd start the apps of a root at boot."""

import click

from pushrod.cli.context import find_root, with_root
from pushrod.cli.terminal import echo
from pushrod.core.site import METRICS
from pushrod.engines import registry
from pushrod.system import signals


@click.group("service")
def service_command() -> None:
    """Start the apps of a root at boot, without Docker."""


@service_command.command("install")
@click.option("--metrics", is_flag=True, help="Have systemd write the metrics every 15 s, too.")
@with_root
def install_command(metrics: bool, root: str | None) -> None:
    """Let systemd start the apps and stores of this root at boot.

    Root gets a system unit, any other user a unit of the user's own manager. Running processes are not touched: they
    move into the unit at their next start.
    """
    where = find_root(root)
    with signals.interruptible():
        unit = registry.of(where).platform.start_at_boot(True, metrics=metrics)
    echo(f"{unit} starts the apps of {where.path} at boot")
    if metrics:
        echo(f"metrics are in {where.path / 'edge' / METRICS}")


@service_command.command("remove")
@with_root
def remove_command(root: str | None) -> None:
    """Remove the unit; running apps keep running."""
    where = find_root(root)
    with signals.interruptible():
        registry.of(where).platform.start_at_boot(False)
    echo(f"the apps of {where.path} no longer start at boot")
