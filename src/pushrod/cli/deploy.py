"""up, down, deploy, rollback, restart, scale: the verbs that change what is live."""

from pathlib import Path

import click

from pushrod.adapters import git
from pushrod.cli import admission, recording, remote
from pushrod.cli.context import find_app, find_root, pipeline, with_app, with_root
from pushrod.cli.terminal import echo
from pushrod.core.errors import UnknownNameError
from pushrod.engines import registry
from pushrod.releases.app_lifecycle import choose_file, create
from pushrod.state.apps import App, check_file, check_name, slug
from pushrod.system import signals


@click.command("up")
@click.argument("directory", default=".", type=click.Path(path_type=Path))
@click.option("--app", "app_name", help="The app's name; by default the folder's name.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="The app's port; by default the first free one from 8000, on a Docker host 80.",
)
@click.option("--file", help="The app's compose file from now on, if not at the top: deploy/compose.yaml.")
@with_root
def up_command(
    directory: Path, app_name: str | None, port: int | None, file: str | None, root: str | None
) -> None:
    """Deploy the HEAD of DIRECTORY on this machine.

    It runs in the background. The first call creates the app and the Git remote `pushrod`; from then on
    `git push pushrod HEAD:main` deploys. Prints the URL.
    """
    where = find_root(root, directory)
    tree = git.toplevel(directory)
    commit = git.resolve(tree, "HEAD")
    chosen = None if file is None else check_file(file)
    name = check_name(app_name or _remote_app(where.path, tree) or slug(tree.name))
    recording.about(name)
    with signals.interruptible():
        app = create(registry.of(where), name, source=tree, port=port or 0)
        if remote.parse(git.remote_url(tree)) is None:  # a remote on another machine stays
            git.set_remote(tree, str(app.repository))
        if chosen is not None:
            choose_file(app, chosen)
        _deploy(app, tree, commit)


def _remote_app(root: Path, tree: Path) -> str:
    """The app of this root that the work tree's `pushrod` remote already points to."""
    url = Path(git.remote_url(tree))
    return url.parent.name if url.name == "repo.git" and url.parent.parent.parent == root else ""


@click.command("deploy")
@click.argument("ref", default="HEAD")
@with_app
def deploy_command(ref: str, app_name: str | None, root: str | None) -> None:
    """Deploy REF of the current repository, by default HEAD."""
    if there := remote.find(root, app_name):
        there.push(f"{git.resolve(git.toplevel(Path()), ref)}:refs/heads/{git.BRANCH}")
        return
    find_root(root)  # may become the account: Git trusts only its own user's work trees
    tree = git.toplevel(Path())
    commit = git.resolve(tree, ref)
    with signals.interruptible():
        _deploy(find_app(root, app_name), tree, commit)


def _deploy(app: App, tree: Path, commit: str) -> None:
    line = pipeline(app)
    before = 0 if app.settings.down else line.journal.story().live
    admission.check(app, tree, commit)
    git.transfer(tree, app.repository, commit)
    release = line.deploy(commit)
    admission.record(app, commit)
    if release.number == before:
        echo(f"already live: release {release.number} ({commit[:7]}) at {line.url}")
    else:
        echo(line.url)


@click.command("down", cls=remote.Verb)
@click.argument("directory", default=".", type=click.Path(path_type=Path))
@with_app
def down_command(directory: Path, app_name: str | None, root: str | None) -> None:
    """Stop the app of DIRECTORY and its stores; its data stays.

    `pushrod up` starts everything again.
    """
    app = find_app(root, app_name, directory)
    with signals.interruptible():
        pipeline(app).down()
    echo(f"{app.name} is down; its data is in {app.directory}")


@click.command("rollback", cls=remote.Verb)
@click.argument("number", metavar="[RELEASE]", default=0, type=int)
@click.option(
    "--across-migrations", is_flag=True, help="Roll back even if the schema has changed since that release."
)
@with_app
def rollback_command(number: int, across_migrations: bool, app_name: str | None, root: str | None) -> None:
    """Make an older release live again.

    By default the previous one. Nothing is built, so it takes seconds.
    """
    line = pipeline(find_app(root, app_name))
    with signals.interruptible():
        release = line.rollback(number, across_migrations=across_migrations)
    echo(f"release {release.number} ({release.commit[:7]} “{release.subject}”) is live at {line.url}")


@click.command("restart", cls=remote.Verb)
@with_app
def restart_command(app_name: str | None, root: str | None) -> None:
    """Replace every instance with a new one of the same commit.

    It drops no request, and does not run the release command.
    """
    app = find_app(root, app_name)
    with signals.interruptible():
        release = pipeline(app).renew()
    echo(f"release {release.number} has replaced the previous one")


@click.command("scale", cls=remote.Verb)
@click.argument("counts", metavar="SERVICE=N...", nargs=-1, required=True)
@with_app
def scale_command(counts: tuple[str, ...], app_name: str | None, root: str | None) -> None:
    """Set the number of a service's instances.

    It drops no request. The numbers override the manifest's, in later releases too.
    """
    replicas = dict(map(_count, counts))
    line = pipeline(find_app(root, app_name))
    with signals.interruptible():
        line.renew(replicas)
    echo(", ".join(f"{name}: {n}" for name, n in replicas.items()))


def _count(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not number.isdecimal() or not 1 <= int(number) <= 100:
        hint = "options come before `--`" if text.startswith("-") else "N is from 1 to 100"
        raise UnknownNameError(f"`{text}` is not SERVICE=N", hint=hint)
    return name, int(number)
