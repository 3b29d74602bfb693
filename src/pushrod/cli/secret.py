"""secret: variables for the app that are not in Git."""

import os
import sys
from pathlib import Path

import click

from pushrod.adapters import dotenv
from pushrod.cli import recording, remote, sent
from pushrod.cli.context import find_app, with_app, with_json
from pushrod.cli.output import print_json
from pushrod.cli.terminal import ask, echo
from pushrod.core.errors import HostError
from pushrod.state.secrets import Secrets


@click.group("secret")
def secret_command() -> None:
    """Manage variables that are not in Git.

    They reach the app with its next release.
    """


_NEVER = (
    "a value is never an argument, because others could see it: use standard input, as in "
    "printf %s … | pushrod secret set"
)


def _bare(_context: click.Context, _parameter: click.Parameter, name: str) -> str:
    """The name alone; an error about a value appended to it must not repeat the value."""
    if "=" in name:
        raise click.BadParameter(f"{_NEVER} NAME")
    return name


def _stdin(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """A dash for standard input, or nothing."""
    if given not in ((), ("-",)):
        raise click.BadParameter(f"{_NEVER} NAME")
    return given


@secret_command.command("set")
@click.argument("name", callback=_bare)
@click.argument("given", metavar="[-]", nargs=-1, callback=_stdin)
@with_app
def set_secret(name: str, given: tuple[str, ...], app_name: str | None, root: str | None) -> None:
    """Set the variable NAME.

    The value is read from a prompt or from standard input, never from an argument.
    """
    there = remote.find(root, app_name)
    secrets = None if there else Secrets(find_app(root, app_name))  # fails before the user is prompted
    value = ask(name, hidden=True) if sys.stdin.isatty() and not given else sent.text().rstrip("\n")
    if there:
        there.feed(value, "secret", "set", "--app", there.app, name)
    if secrets:
        secrets.store({name: value})
    echo(f"{name} is set; `pushrod deploy` gives it to the app")


@secret_command.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@with_app
def import_secrets(file: Path, app_name: str | None, root: str | None) -> None:
    """Set every variable of a .env FILE, or of standard input (`-`)."""
    if str(file) != "-" and not (file.is_file() and os.access(file, os.R_OK)):
        hint = "name the .env file to import, or use standard input: -"
        raise HostError("the file does not exist or is not readable", where=str(file), hint=hint)
    if there := remote.find(root, app_name):
        there.feed(_read(file), "secret", "import", "-", "--app", there.app)
    app = find_app(
        root, app_name
    )  # first: on a Docker host root becomes the host's account here, in a new process
    variables = dotenv.read(_read(file))
    if not variables:
        echo("nothing is set: it has no NAME=value lines")
        return
    Secrets(app).store(variables)
    recording.add(", ".join(variables))
    echo(f"{len(variables)} set: {', '.join(variables)}; `pushrod deploy` gives them to the app")


def _read(file: Path) -> str:
    """The file's text with its line ends unchanged: within quotes they belong to the value."""
    raw = sent.exactly() if str(file) == "-" else file.read_bytes()
    try:
        return raw.decode()
    except UnicodeDecodeError as e:
        line = raw[: e.start].count(b"\n") + 1
        hint = "save it as UTF-8 and import it again"
        raise HostError("the file is not UTF-8", where=f"line {line} of the file", hint=hint) from None


@secret_command.command("list", cls=remote.Verb)
@with_app
@with_json
def list_secrets(app_name: str | None, root: str | None, as_json: bool) -> None:
    """List the names, never the values."""
    names = sorted(Secrets(find_app(root, app_name)).variables())
    if as_json:
        print_json(names)
    elif not names:
        echo("none; `pushrod secret set NAME` or `pushrod secret import .env`")
    for name in [] if as_json else names:
        echo(name)


@secret_command.command("unset", cls=remote.Verb)
@click.argument("names", nargs=-1, required=True)
@with_app
def unset_secrets(names: tuple[str, ...], app_name: str | None, root: str | None) -> None:
    """Remove variables; the app loses them with its next release."""
    Secrets(find_app(root, app_name)).unset(names)
    echo(f"{', '.join(names)} unset; `pushrod deploy` removes them from the app")
