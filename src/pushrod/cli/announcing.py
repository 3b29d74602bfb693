"""Sends notices of a deployment after its command has ended, from another process: a recipient that does not answer
delays no deployment.

On a Docker host `pushrod-notify.path` starts that process when `ROOT/alarm/due` appears; on the embedded engine the
command starts it.
"""

import contextlib
import os
import sys

import click

from pushrod.core.errors import PushrodError
from pushrod.core.times import now
from pushrod.engines import registry
from pushrod.state.apps import App
from pushrod.system import files, processes

DUE = "due"
"""The file in ROOT/alarm whose presence starts `pushrod-notify.service`."""

_SEEN = "pushrod.announced"


def at_end(app: App) -> None:
    """Have the app's deployments announced once the current command has ended, however it ends."""
    context = click.get_current_context(silent=True)
    if context is None or context.meta.get(_SEEN):
        return
    context.meta[_SEEN] = True
    began = now()
    context.call_on_close(lambda: announce(app, began))


def announce(app: App, began: str) -> None:
    """Start sending notices of what the command that began then has done, if there is a recipient. A failure here
    does not fail the deployment."""
    from pushrod.observe import announcements

    with contextlib.suppress(PushrodError, OSError):
        if not announcements.has_recipients(app.root, app):
            return
        announcements.begin(app.root, began)  # the first deployment that names a recipient is announced too
        if registry.traits(app.root).hosted:
            files.make_private(app.root.path / "alarm")
            files.write(app.root.path / "alarm" / DUE, "", mode=0o600)
            return
        argv = [sys.executable, "-P", "-m", "pushrod", "--root", str(app.root.path)]
        variables = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        processes.start_apart([*argv, "host", "notify", "check", "--retry"], variables)
