"""Making an app and removing it."""

import sys
from pathlib import Path

import msgspec

from pushrod import host
from pushrod.apps import App, Settings, now
from pushrod.engines.embedded import ports
from pushrod.engines.embedded.engine import Embedded
from pushrod.errors import UnknownNameError
from pushrod.gears import git


def create(engine: Embedded, name: str, *, source: Path, port: int = 0) -> App:
    """Make an app for a work tree, or find the one it has; everything but `app.json`, which comes last, can be
    there already from an attempt that was interrupted.

    Raises UnknownNameError if the name is taken by another work tree, HostError if the port is.
    """
    root = engine.root
    root.create()
    app = App(root, name)
    if app.settings_path.exists():
        _check_source(app, source)
        _make_places(app)  # the hooks name this installation and this root: either may have moved
        if port and port != app.settings.port:
            with ports.choosing(root):
                app.save(msgspec.structs.replace(app.settings, port=ports.for_edge(root, port)))
        return app
    with ports.choosing(root):
        settings = Settings(
            name=name,
            port=ports.for_edge(root, port),
            engine=engine.name,
            created=now(),
            source=str(source),
            down=True,
        )
        _make_places(app)
        app.save(settings)
    return app


def _make_places(app: App) -> None:
    for directory in (app.checkouts, app.stores, app.logs):
        directory.mkdir(parents=True, exist_ok=True)
    host.make_private(app.secrets)
    hook = [sys.executable, "-m", "pushrod", "--root", str(app.root.path), "hook", app.name]
    git.create_repository(app.repository, hook)
    git.create_state(app.state)


def _check_source(app: App, source: Path) -> None:
    settings = app.settings
    known = git.remote_url(source) == str(app.repository)
    if settings.source != str(source) and not known:
        raise UnknownNameError(
            f"the name `{app.name}` is taken by the app of {settings.source}",
            where=str(app.root.path),
            hint=f"choose another with --app, or join it: git remote add pushrod {app.repository}",
        )
    if settings.source != str(source):
        app.save(msgspec.structs.replace(settings, source=str(source)))


def destroy(app: App, engine: Embedded) -> None:
    """Remove an app that is down, with its data."""
    source = Path(app.settings.source)
    app.settings_path.unlink()
    host.remove_tree(app.directory)
    if source.is_dir() and git.remote_url(source) == str(app.repository):
        git.remove_remote(source)
    engine.rest()
    if not any(engine.root.apps()):
        host.remove_tree(engine.root.runtime)  # in /tmp where the root's own path is too long for sockets
