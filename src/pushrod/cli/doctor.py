"""doctor: what is wrong here, and what to do about it."""

import sys

import click

from pushrod.cli.context import find_root, named_app, pipeline, with_app, with_json
from pushrod.cli.output import print_json
from pushrod.cli.terminal import Styled, say
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
            say(f"{app.name}: {repaired}")
        say(f"{app.name}: live is release {line.journal.story().live}")
        return
    results = diagnostics.examine(find_root(root))
    if as_json:
        print_json(results)
    else:
        for f in results:
            colour = {"ok": "green", "warning": "yellow", "broken": "red"}[f.state]
            say(Styled(f"{f.state:<8}", fg=colour), f" {f.what:<11} {f.detail}")
            if f.mend:
                say(f"{'':<8} {'':<11} to do: {f.mend}")
    if any(f.state == "broken" for f in results):
        sys.exit(10)
