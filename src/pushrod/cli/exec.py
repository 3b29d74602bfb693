"""exec and run: any program in the app's environment."""

import click

from pushrod.cli import remote
from pushrod.cli.context import find_app, with_app
from pushrod.cli.terminal import attach
from pushrod.core.errors import UnknownNameError
from pushrod.core.values import Release, Service
from pushrod.engines import registry
from pushrod.state.apps import App
from pushrod.state.releases import Releases
from pushrod.state.secrets import Secrets

_REST = {"ignore_unknown_options": True, "allow_interspersed_args": False}


def _program(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """The program and its arguments, without a `--` before them; an option instead of a
    program is a usage error."""
    words = given[1:] if given[:1] == ("--",) else given
    if not words or words[0].startswith("-"):
        raise click.BadParameter(
            f"`{''.join(words[:1])}` is not a program; options come before it, or before a `--`"
        )
    return words


class _Service(remote.Verb):
    """A verb with a service and a program, which also accepts options after the service, before the `--` that
    precedes the program."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move these options in front of the service."""
        end = args.index("--") if "--" in args else 0
        if end > 1 and not args[0].startswith("-") and self._are_options(args[1:end]):
            args = [*args[1:end], args[0], *args[end:]]
        return super().parse_args(ctx, args)

    def _are_options(self, words: list[str]) -> bool:
        known = {name for p in self.params if isinstance(p, click.Option) for name in p.opts}
        rest = list(words)
        while rest:
            name, _, value = rest.pop(0).partition("=")
            if name not in known:
                return False
            if not value and rest:
                rest.pop(0)
        return True


@click.command("exec", cls=_Service, context_settings=_REST)
@click.argument("service")
@click.argument(
    "argv", metavar="-- CMD...", nargs=-1, required=True, type=click.UNPROCESSED, callback=_program
)
@with_app
def exec_command(service: str, argv: tuple[str, ...], app_name: str | None, root: str | None) -> None:
    """Run CMD as an instance of SERVICE would run.

    It has that instance's directory, environment and database role.
    """
    app = find_app(root, app_name)
    release, chosen, environment = _live(app, service, key=service)
    attach(registry.of(app.root).programs.exec(app, release, chosen, argv, environment))


@click.command("run", cls=remote.Verb, context_settings=_REST)
@click.argument("argv", metavar="CMD...", nargs=-1, required=True, type=click.UNPROCESSED, callback=_program)
@click.option(
    "--service", default="", help="The service whose image and environment to use; by default the entry."
)
@with_app
def run_command(argv: tuple[str, ...], service: str, app_name: str | None, root: str | None) -> None:
    """Run CMD once, like the release command.

    It uses the live release and the database role that may migrate.
    """
    app = find_app(root, app_name)
    live = Releases(app).pointed()
    name = service or (Releases(app).read(live).entry if live else "")
    release, chosen, environment = _live(app, name, key=f"{name}:release")
    attach(registry.of(app.root).programs.run_program(app, release, chosen, argv, environment))


def _live(app: App, service: str, *, key: str) -> tuple[Release, Service, dict[str, str]]:
    """The live release, the service, and the environment sealed under `key`."""
    live = Releases(app).pointed()
    if not live:
        raise UnknownNameError(f"{app.name} has no live release", hint="`pushrod up` first")
    release = Releases(app).read(live)
    known = {s.name: s for s in release.services}
    if service not in known:
        raise UnknownNameError(f"no service `{service}`", hint=f"services with instances: {', '.join(known)}")
    return release, known[service], Secrets(app).sealed(live)[key]
