"""db upgrade: a store's data to another major version."""

import contextlib
import math
import os
import sys
from collections.abc import Iterator

import click

from pushrod.cli import db_tools, recording, remote
from pushrod.cli.context import find_app, pipeline, with_app, with_store
from pushrod.cli.terminal import ask, echo
from pushrod.core.amounts import size_of
from pushrod.core.errors import UnknownNameError
from pushrod.core.upgrades import Carried, UpgradePlan
from pushrod.state import releases
from pushrod.state.apps import App
from pushrod.stores.registry import products
from pushrod.system import processes, signals

_BESIDE = 8.0  # seconds that instances and servers take to end and to start, besides what the copy takes


@click.command("upgrade", cls=remote.Verb)
@click.option("--to", type=click.IntRange(10, 99), help="The major version, such as 17.")
@click.option(
    "--image", default="", help="Docker: the image of that version, if pushrod cannot derive its name."
)
@click.option("--programs", help="Embedded engine: the directory with the old version's programs.")
@click.option(
    "--rehearse",
    is_flag=True,
    help="Only try it with a copy, and print the time and disk space that it takes.",
)
@click.option("--remove-old", is_flag=True, help="Remove the old clusters that upgrades have kept.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@with_store
@with_app
def upgrade_command(
    to: int | None,
    image: str,
    programs: str | None,
    rehearse: bool,
    remove_old: bool,
    yes: bool,
    store: str,
    app_name: str | None,
    root: str | None,
) -> None:
    """Upgrade the app's PostgreSQL to another major version.

    It is rehearsed with a copy first. During the upgrade itself the edge answers 503. If the app is not
    healthy on the new version, it returns to the old one. The old data is kept.
    """
    from pushrod.releases.upgrading import Upgrading

    if bool(to) == remove_old:
        raise UnknownNameError("which version?", hint="--to 17, for example; or --remove-old")
    app = find_app(root, app_name)
    release = releases.running(app)
    name = db_tools.store_of(app, release, store)
    product = products(release.stores)[name]
    upgrading = Upgrading(app, pipeline(app))
    if remove_old:
        with signals.interruptible():
            gone = list(upgrading.remove_old(name))
        echo(f"removed: {', '.join(gone)}" if gone else "there is no old cluster")
        return
    with signals.interruptible():
        plan, carried = upgrading.rehearse(name, str(to), image or programs or "")
    echo(_rehearsed(product, plan, carried))
    if rehearse:
        return
    if not yes and ask("Type the app's name to begin") != app.name:
        raise click.Abort
    with _guarded(app), signals.interruptible():
        done = upgrading.run(name, str(to), image or programs or "")
    recording.add(f"{product} {plan.before} to {plan.after}, {done.down:.1f} s of downtime")
    echo(f"{name} is {product} {plan.after}: {done.carried.rows} rows, {done.down:.1f} s of downtime")
    echo(f"the old cluster is kept in {plan.old}; `pushrod db upgrade --remove-old` removes it")
    if plan.cluster:
        echo(
            f"name {product} {plan.after} in the compose file before the next push: "
            f"other commits with {plan.before} are refused"
        )


@contextlib.contextmanager
def _guarded(app: App) -> Iterator[None]:
    """Have another process undo or finish the upgrade if this one is killed: nobody may call pushrod for hours, and
    the edge answers for the app.
    """
    reading, writing = os.pipe()
    try:
        argv = [sys.executable, "-P", "-m", "pushrod", "--root", str(app.root.path)]
        processes.start_apart([*argv, "recover", "--after-input", app.name], os.environ, stdin=reading)
        yield
    finally:
        os.close(reading)
        os.close(writing)


def _rehearsed(product: str, plan: UpgradePlan, carried: Carried) -> str:
    down = math.ceil(carried.seconds + _BESIDE)
    disk = carried.after + carried.dump
    return (
        f"{product} {plan.before} to {plan.after}: a copy of {carried.rows} rows took {carried.seconds:.1f} s, "
        f"so expect about {down} s of downtime; it needs {size_of(disk)} of disk ({size_of(carried.after)} stay, "
        f"beside the old {size_of(carried.before)})"
    )
