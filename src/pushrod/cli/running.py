"""exec and run: a program of one's own in the app's environment."""

import sys
from pathlib import Path
from typing import NoReturn

import click

from pushrod import host
from pushrod.apps import App
from pushrod.cli import remote
from pushrod.cli.context import find_app, with_app
from pushrod.engines import choice
from pushrod.errors import UnknownNameError
from pushrod.releases import Releases
from pushrod.secrets import Secrets
from pushrod.values import Program, Release, Service

_REST = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.command("exec", cls=remote.Verb, context_settings=_REST)
@click.argument("service")
@click.argument("argv", metavar="-- CMD...", nargs=-1, required=True, type=click.UNPROCESSED)
@with_app
def exec_command(service: str, argv: tuple[str, ...], app_name: str | None, root: str | None) -> None:
    """Run CMD as an instance of SERVICE would run.

    In its directory, with its environment and its database role.
    """
    app = find_app(root, app_name)
    release, found, environment = _live(app, service, key=service)
    _attach(choice.of(app.root).inside(app, release, found, _words(argv), environment))


@click.command("run", cls=remote.Verb, context_settings=_REST)
@click.argument("argv", metavar="CMD...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--service", default="", help="Whose image and environment; by default the entry's.")
@with_app
def run_command(argv: tuple[str, ...], service: str, app_name: str | None, root: str | None) -> None:
    """Run CMD once, as the release command is run.

    From the live release, with the database role that may migrate.
    """
    app = find_app(root, app_name)
    live = Releases(app).pointed()
    name = service or (Releases(app).read(live).entry if live else "")
    release, found, environment = _live(app, name, key=f"{name}:release")
    _attach(choice.of(app.root).one_shot(app, release, found, _words(argv), environment))


def _live(app: App, service: str, *, key: str) -> tuple[Release, Service, dict[str, str]]:
    """The live release, a service of it, and the environment sealed under `key`."""
    live = Releases(app).pointed()
    if not live:
        raise UnknownNameError(f"{app.name} has no live release", hint="`pushrod up` first")
    release = Releases(app).read(live)
    known = {s.name: s for s in release.services}
    if service not in known:
        raise UnknownNameError(f"no service `{service}`", hint=f"services with instances: {', '.join(known)}")
    return release, known[service], Secrets(app).sealed(live)[key]


def _words(argv: tuple[str, ...]) -> tuple[str, ...]:
    return argv[1:] if argv[0] == "--" else argv


def _attach(program: Program) -> NoReturn:
    sys.exit(host.attach(program.argv, cwd=Path(program.cwd), env=program.environment))
