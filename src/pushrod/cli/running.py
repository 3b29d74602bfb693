"""exec and run: a program of one's own in the app's environment."""

import sys

import click

from pushrod import host
from pushrod.apps import App
from pushrod.cli.context import find_app, with_app
from pushrod.engines.embedded.engine import Embedded
from pushrod.errors import UnknownNameError
from pushrod.releases import Releases
from pushrod.secrets import Secrets

_REST = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.command("exec", context_settings=_REST)
@click.argument("service")
@click.argument("argv", metavar="-- CMD...", nargs=-1, required=True, type=click.UNPROCESSED)
@with_app
def exec_command(service: str, argv: tuple[str, ...], app_name: str | None, root: str | None) -> None:
    """Run CMD as an instance of SERVICE would run.

    In its directory, with its environment and its database role.
    """
    _attach(find_app(root, app_name), service, argv, key=service)


@click.command("run", context_settings=_REST)
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
    _attach(app, name, argv, key=f"{name}:release")


def _attach(app: App, service: str, argv: tuple[str, ...], *, key: str) -> None:
    live = Releases(app).pointed()
    if not live:
        raise UnknownNameError(f"{app.name} has no live release", hint="`pushrod up` first")
    release = Releases(app).read(live)
    known = {s.name: s for s in release.services}
    if service not in known:
        raise UnknownNameError(f"no service `{service}`", hint=f"services with instances: {', '.join(known)}")
    words = argv[1:] if argv[0] == "--" else argv
    environment = Secrets(app).sealed(live)[key]
    command, cwd, variables = Embedded(app.root).one_shot(app, release, known[service], words, environment)
    sys.exit(host.attach(command, cwd=cwd, env=variables))
