"""A release as a Compose project: its argv, its networks with the stores on them, and why it did not start."""

import re

from pushrod.adapters import docker, start_failures
from pushrod.core.errors import ReadyError
from pushrod.core.values import Release
from pushrod.engines.docker import bring_up, calls, gates, names
from pushrod.state.apps import App


def place(app: App) -> bring_up.App:
    """An app as `bring_up` knows it."""
    return bring_up.App(str(app.root.path), app.name)


def compose(app: App, release: Release, *argv: str) -> list[str]:
    """The argv of Compose with a release's file."""
    file = names.files(app, release.number) / names.COMPOSE
    return [*place(app).program(), "--progress", "quiet", "--file", str(file), *argv]


def join(app: App, release: Release) -> None:
    """Create the release's networks and connect the stores to them."""
    gates.open_gate(app.name)
    try:
        bring_up.join(place(app), names.files(app, release.number))
    except calls.Trouble as e:
        if docker.known(str(e), f"app {app.name}") is None and start_failures.find(str(e)):
            raise not_started(app, release, e) from e
        raise docker.failed(str(e), f"app {app.name}") from e


def not_started(app: App, release: Release, trouble: calls.Trouble) -> ReadyError:
    """The error for Compose's failure: a missing program in the image, or an instance that others wait for has
    ended.
    """
    why = str(trouble)
    containers = {names.instance(app, release.number, i.name): i for i in release.instances}
    named = next((c for c in containers if re.search(rf"\b{re.escape(c)}(?![\w.-])", why)), "")
    hook = (
        trouble.hook if isinstance(trouble, bring_up.HookTrouble) else None
    )  # its message already names the problem with its command
    log = hook.log if hook else tuple(docker.logs(named)) if named else ()
    cause = None if hook else start_failures.find(why, log)
    name = f"{containers[named].name} was not started: " if named and cause else ""
    return ReadyError(
        name + (cause.what if cause else start_failures.plain(why)),
        where=f"service {containers[named].service}" if named else f"release {release.number}",
        hint=f"{f'{cause.hint}; ' if cause else ''}the live release is unchanged. Fix it, commit and push again",
        log=log or ((start_failures.plain(why),) if cause else ()),
    )
