"""apps: the apps of this machine, and `prune`."""

import os
from pathlib import Path

import click

from pushrod.adapters import git
from pushrod.cli import remote
from pushrod.cli.context import find_root, pipeline, with_json, with_root
from pushrod.cli.host_context import permitted, visible
from pushrod.cli.inspect import all_of
from pushrod.cli.output import conclude, print_json, print_table
from pushrod.cli.terminal import ask, echo
from pushrod.core.errors import BusyError, HostError, PushrodError, RepositoryError, UnknownNameError
from pushrod.engines import registry
from pushrod.manifest.grants import check_word
from pushrod.releases import app_lifecycle
from pushrod.releases.rounds import Round
from pushrod.state.apps import check_file, check_name
from pushrod.system import accounts, files, signals

_PRUNING = 900.0  # seconds for one app


@click.group("apps")
def apps_command() -> None:
    """Manage the apps of this machine."""


@apps_command.command("list")
@with_root
@with_json
def list_apps(root: str | None, as_json: bool) -> None:
    """List the apps with their addresses."""
    where = find_root(root)
    statuses, damaged = all_of(visible(where))
    if as_json:
        print_json(statuses)
    elif not statuses and not damaged:
        echo(f"none in {where.path}")
    else:
        rows = [(s.app, s.condition, str(s.release or "-"), s.url) for s in statuses]
        print_table(("APP", "STATE", "RELEASE", "URL"), rows)
    if damaged:
        raise damaged[0]


@apps_command.command("create")
@click.argument("name")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="The app's port; by default the first free one from 8000, on a Docker host 80.",
)
@click.option("--sha256", is_flag=True, help="For a repository in Git's SHA-256 format.")
@with_root
def create_app(name: str, port: int | None, sha256: bool, root: str | None) -> None:
    """Create an app for the current repository.

    `git push pushrod HEAD:main` then deploys it. On a Docker host no repository is needed: pushes to the app arrive
    over SSH.
    """
    engine = registry.of(find_root(root))
    tree = git.toplevel(Path()) if engine.traits.needs_work_tree else _tree()
    app = app_lifecycle.create(engine, check_name(name), source=tree, port=port or 0, sha256=sha256)
    if tree is None:
        echo(f"{name}: in its repository, git remote add pushrod {accounts.user_name()}@HOST:{name}")
        return
    git.set_remote(tree, str(app.repository))
    echo(f"{name}: `git push pushrod HEAD:main` deploys it to {app.settings.url()}")


def _tree() -> Path | None:
    """The work tree of the current directory, if there is one."""
    try:
        return git.toplevel(Path())
    except RepositoryError:
        return None


@apps_command.command("allow")
@click.argument("name")
@click.argument("words", metavar="WHAT...", nargs=-1, required=True)
@click.option("--remove", is_flag=True, help="Revoke it, from the next deployment on.")
@with_root
def allow_app(name: str, words: tuple[str, ...], remove: bool, root: str | None) -> None:
    """Grant an app something that only the host's owner may allow.

    WHAT is for example `privileged`, `NET_ADMIN` or `/srv/media`. A grant takes effect with the next deployment. On a
    Docker host this requires root, because people who push must not decide it.
    """
    app = find_root(root).app(check_name(name))
    if os.geteuid() != 0 and registry.traits(app.root).hosted:
        raise HostError(
            "only the host's owner may grant this", where=app.name, hint="run it as root, on the host"
        )
    allowed = app_lifecycle.allow(app, [check_word(w) for w in words], remove=remove)
    echo(f"{name} may have: {', '.join(allowed) or 'nothing extra'}")


@apps_command.command("set")
@click.argument("name")
@click.argument("settings", metavar="KEY=VALUE...", nargs=-1, required=True)
@with_root
def set_app(name: str, settings: tuple[str, ...], root: str | None) -> None:
    """Change a setting of an app: file=deploy/compose.yaml.

    `file` is the path in the repository of the compose file for its next deployments; `file=` returns to the one at
    the top. Paths in the file are relative to its folder, and no override file is read.
    """
    file = check_file(_setting(settings))
    if there := remote.find(root, check_name(name)):
        there.run("apps", "set", there.app, f"file={file}")
    app = find_root(root).app(permitted(name))
    app_lifecycle.choose_file(app, file)
    echo(
        f"{name}: its compose file is {file or 'the one at the top of the commit'}, from the next deployment on"
    )


def _setting(settings: tuple[str, ...]) -> str:
    """The value of the only setting."""
    key, equals, value = settings[-1].partition("=")
    if len(settings) > 1 or not equals or key != "file":
        raise UnknownNameError(
            f"`{' '.join(settings)}` is not a setting of an app",
            hint="file=deploy/compose.yaml is the only one; its ports, names and sizes are in its compose file",
        )
    return value


@apps_command.command("destroy")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@with_root
def destroy_app(name: str, yes: bool, root: str | None) -> None:
    """Stop an app and remove it with all its data.

    This removes its releases, its stores with their data, and its secrets. It cannot be undone.
    """
    app = find_root(root).app(name)
    if not yes:
        echo(f"This removes {app.directory}: every release, all data in its stores, its secrets.")
        if ask("Type the app's name to confirm") != name:
            raise click.Abort
    with signals.interruptible():
        pipeline(app).down()
        app_lifecycle.destroy(app, registry.of(app.root))
    echo(f"{name} is gone")


@click.command("prune")
@with_root
def prune_command(root: str | None) -> None:
    """Remove unused images, logs and build cache.

    These are images and logs that no kept release needs, and build cache that was not used for a week. Every
    deployment removes the images and logs of its own app. An app that another command works on is skipped.
    """
    where = find_root(root)
    engine = registry.of(where)
    failed: list[PushrodError] = []
    turns = Round(where, "pruning", _PRUNING)
    for app in turns.order(visible(where)):
        try:
            with turns.turn(app):
                pipeline(app).prune()
        except BusyError as e:
            echo(f"{app.name} is skipped: {e.what}", err=True)
        except PushrodError as e:
            failed.append(e.of(app.name))
        except OSError as e:
            failed.append(files.os_error(e, "").of(app.name))
    try:
        failed += engine.resources.remove_stale_builds()
    except PushrodError as e:  # the engine's own failure; those of apps are reported too
        failed.append(e)
    conclude(failed)
