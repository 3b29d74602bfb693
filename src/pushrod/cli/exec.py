"""exec and run: a program of one's own in the app's environment."""

import sys
from pathlib import Path
from typing import NoReturn

import click

from pushrod.cli import remote
from pushrod.cli.context import find_app, with_app
from pushrod.core.errors import UnknownNameError
from pushrod.core.values import Program, Release, Service
from pushrod.engines import registry
from pushrod.state.apps import App
from pushrod.state.releases import Releases
from pushrod.state.secrets import Secrets
from pushrod.system import processes

_REST = {"ignore_unknown_options": True, "allow_interspersed_args": False}


def _program(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """The program and its words, without the `--` before them; an option in its place is a wrong call."""
    words = given[1:] if given[:1] == ("--",) else given
    if not words or words[0].startswith("-"):
        raise click.BadParameter(f"`{''.join(words[:1])}` is no program; options come before it")
    return words


@click.command("exec", cls=remote.Verb, context_settings=_REST)
@click.argument("service")
@click.argument(
    "argv", metavar="-- CMD...", nargs=-1, required=True, type=click.UNPROCESSED, callback=_program
)
@with_app
def exec_command(service: str, argv: tuple[str, ...], app_name: str | None, root: str | None) -> None:
    """Run CMD as an instance of SERVICE would run.

    In its directory, with its environment and its database role.
    """
    app = find_app(root, app_name)
    release, found, environment = _live(app, service, key=service)
    _attach(registry.of(app.root).inside(app, release, found, argv, environment))


@click.command("run", cls=remote.Verb, context_settings=_REST)
@click.argument("argv", metavar="CMD...", nargs=-1, required=True, type=click.UNPROCESSED, callback=_program)
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
    _attach(registry.of(app.root).one_shot(app, release, found, argv, environment))


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


def _attach(program: Program) -> NoReturn:
    sys.exit(processes.attach(program.argv, cwd=Path(program.cwd), env=program.environment))
