"""gate: what sshd runs for the owner of a key, whatever they asked for (`hosting/gate.py` decides)."""

import os

import click

from pushrod import creation
from pushrod.apps import Root, check_name
from pushrod.cli.context import find_root
from pushrod.cli.terminal import say
from pushrod.engines import choice
from pushrod.errors import UnknownNameError
from pushrod.gears import git
from pushrod.hosting import gate


@click.command("gate", hidden=True)
@click.argument("name")
@click.option("--app", "apps", multiple=True)
def gate_command(name: str, apps: tuple[str, ...]) -> None:
    """Called by sshd, not by people."""
    asked = gate.read(os.environ.get("SSH_ORIGINAL_COMMAND", ""), apps)
    root = find_root(None)
    os.environ["LOGNAME"] = name  # so that the record of a release says whose key it was
    if asked is None:
        say(gate.greeting(name, apps))
    elif isinstance(asked, gate.Git):
        _serve(root, asked)
    else:
        _run(root, asked, apps)


def _serve(root: Root, asked: gate.Git) -> None:
    """Become the half of Git that the client talks to. The first push to a name makes the app."""
    if asked.makes and asked.app not in {a.name for a in root.apps()}:
        app = creation.create(choice.of(root), check_name(asked.app), source=None)
    else:
        app = root.app(asked.app)
    environment = git.environment()
    if protocol := os.environ.get("GIT_PROTOCOL"):
        environment["GIT_PROTOCOL"] = protocol
    os.execvpe("git", ["git", asked.service, str(app.repository)], environment)  # noqa: S606


def _run(root: Root, asked: gate.Verb, apps: tuple[str, ...]) -> None:
    """Run a verb as the command line would, for these apps only."""
    from pushrod.cli import cli

    if not asked.argv:
        raise UnknownNameError("nothing to run")
    if apps:
        os.environ[gate.APPS] = ",".join(apps)
    cli.main(["--root", str(root.path), *asked.argv], prog_name="pushrod", standalone_mode=False)
