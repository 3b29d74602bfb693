"""doctor: problems of this machine and its apps, each with its remedy."""

import sys

import click

from pushrod.cli.context import find_root, named_app, pipeline, with_app, with_json
from pushrod.cli.output import print_json
from pushrod.cli.terminal import Styled, echo
from pushrod.observe import diagnostics


@click.command("doctor")
@click.option("--repair", is_flag=True, help="Repair an app's damaged state.")
@with_app
@with_json
def doctor_command(repair: bool, app_name: str | None, root: str | None, as_json: bool) -> None:
    """Check this machine and every app on it.

    Shows the external programs in use with their versions, and how to fix each problem. Exits with 10 if something
    is broken.
    """
    if repair:
        app = named_app(root, app_name)
        line = pipeline(app)
        for repaired in line.repair() or ["nothing was damaged"]:
            echo(f"{app.name}: {repaired}")
        echo(f"{app.name}: live is release {line.journal.story().live}")
        return
    results = diagnostics.examine(find_root(root))
    if as_json:
        print_json(results)
    else:
        for diagnostic in results:
            colour = {"ok": "green", "warning": "yellow", "broken": "red"}[diagnostic.state]
            echo(Styled(f"{diagnostic.state:<8}", fg=colour), f" {diagnostic.what:<11} {diagnostic.detail}")
            if diagnostic.remedy:
                echo(f"{'':<8} {'':<11} to do: {diagnostic.remedy}")
    if any(d.state == "broken" for d in results):
        sys.exit(10)
