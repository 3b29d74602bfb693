"""apps: what is on this machine."""

from pathlib import Path

import click

from pushrod import creation, host
from pushrod.apps import check_name
from pushrod.cli.context import find_root, pipeline, with_json, with_root
from pushrod.cli.output import print_json, print_table
from pushrod.cli.reading import all_of
from pushrod.engines.embedded.engine import Embedded
from pushrod.gears import git


@click.group("apps")
def apps_command() -> None:
    """The apps of this machine."""


@apps_command.command("list")
@with_root
@with_json
def list_apps(root: str | None, as_json: bool) -> None:
    """List the apps with their addresses."""
    where = find_root(root)
    found, damaged = all_of(list(where.apps()))
    if as_json:
        print_json(found)
    elif not found and not damaged:
        click.echo(f"none in {where.path}")
    else:
        rows = [(s.app, s.condition, str(s.release or "-"), s.url) for s in found]
        print_table(("APP", "STATE", "RELEASE", "URL"), rows)
    if damaged:
        raise damaged[0]


@apps_command.command("create")
@click.argument("name")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Where it should answer; by default the first free from 8000.",
)
@with_root
def create_app(name: str, port: int | None, root: str | None) -> None:
    """Make an app for the repository you are in, to be pushed to: `git push pushrod HEAD:main`."""
    tree = git.toplevel(Path())
    app = creation.create(Embedded(find_root(root, tree)), check_name(name), source=tree, port=port or 0)
    git.set_remote(tree, str(app.repository))
    click.echo(f"{name}: `git push pushrod HEAD:main` deploys it to http://127.0.0.1:{app.settings.port}")


@apps_command.command("destroy")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_root
def destroy_app(name: str, yes: bool, root: str | None) -> None:
    """Stop an app and remove it: releases, stores and their data, secrets. It cannot be undone."""
    app = find_root(root).app(name)
    if not yes:
        click.echo(f"This removes {app.directory}: every release, all data in its stores, its secrets.")
        if click.prompt("Type the app's name to go on") != name:
            raise click.Abort
    with host.interruptible():
        pipeline(app).down()
        creation.destroy(app, Embedded(app.root))
    click.echo(f"{name} is gone")
