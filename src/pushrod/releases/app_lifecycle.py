"""Create and destroy apps."""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pushrod.adapters import git, reporting
from pushrod.core.errors import UnknownNameError
from pushrod.core.times import now
from pushrod.engines.protocols import Engine
from pushrod.ingress.basic_auth import Passwords
from pushrod.ingress.certificates import Certificates
from pushrod.ingress.static_files import Static
from pushrod.releases import scrape_targets
from pushrod.state.apps import App, Settings, check_file
from pushrod.system import files, locks

_REPORTING = (sys.executable, "-P", "-m", reporting.__name__)


def create(
    engine: Engine, name: str, *, source: Path | None = None, port: int = 0, sha256: bool = False
) -> App:
    """Create an app for a work tree, or return the existing one.

    An interrupted attempt may have left any of its parts; `app.json` is written last. `source` is None if the work
    tree is on another machine, whose owner pushes to the app. The repository uses the source's object format, or
    SHA-256 on request.

    Raises UnknownNameError if the name belongs to another work tree, HostError if the port is taken.
    """
    root = engine.root
    root.create()
    app = App(root, name)
    if app.settings_path.exists():
        if source is not None:
            _check_source(app, source)
        # the hooks contain the paths of this installation and this root: either may have moved
        make_places(app)
        if port and port != app.settings.port:
            with engine.platform.choose_port(port) as chosen:
                app.save(msgspec.structs.replace(app.settings, port=chosen))
        return app
    engine.platform.check_name(name)
    with engine.platform.choose_port(port) as chosen:
        settings = Settings(
            name=name,
            port=chosen,
            engine=engine.traits.name,
            created=now(),
            source=str(source or ""),
            down=True,
        )
        make_places(app, sha256=sha256 or (source is not None and git.uses_sha256(source)))
        app.save(settings)
    return app


def make_places(app: App, *, sha256: bool = False) -> None:
    """Create the app's missing directories and repositories, and make its hooks call this installation."""
    for directory in (app.checkouts, app.stores):  # instances and stores run below it, whatever their account
        files.make_open(directory)
    app.logs.mkdir(parents=True, exist_ok=True)
    files.make_private(app.secrets)
    git.create_repository(app.repository, _hook(app), _REPORTING, sha256=sha256)
    git.create_state(app.state)


def are_current(app: App) -> bool:
    """Whether the app's repository is as `make_places` leaves it and calls this installation."""
    return git.is_current(app.repository, _hook(app), _REPORTING)


def _hook(app: App) -> list[str]:
    return [sys.executable, "-m", "pushrod", "--root", str(app.root.path), "hook", app.name]


def _check_source(app: App, source: Path) -> None:
    settings = app.settings
    known = git.remote_url(source) == str(app.repository)
    if settings.source != str(source) and not known:
        raise UnknownNameError(
            f"the name `{app.name}` is taken by {_owner(settings)}",
            where=str(app.root.path),
            hint=f"choose another with --app, or join it: git remote add pushrod {app.repository}",
        )
    if settings.source != str(source):
        app.save(msgspec.structs.replace(settings, source=str(source)))


def allow(app: App, grant_words: Sequence[str], *, remove: bool = False) -> tuple[str, ...]:
    """Add grants to an app, or remove them; returns the grants it then has.

    Run as root, it keeps the files in the ownership of the app's account.
    """
    owner = app.directory.stat()
    with locks.lock(app.lock, purpose="changing its grants", timeout=60):
        files.chown(app.lock, (owner.st_uid, owner.st_gid))
        before = app.settings.allowed
        after = set(before) - set(grant_words) if remove else {*before, *grant_words}
        app.save(msgspec.structs.replace(app.settings, allowed=tuple(sorted(after))))
        files.chown(app.settings_path, (owner.st_uid, owner.st_gid))
    return tuple(sorted(after))


def choose_file(app: App, file: str) -> None:
    """Set the compose file in the repository that the app's next deployments read; empty for the one at the top."""
    with locks.lock(app.lock, purpose="choosing the compose file", timeout=60):
        app.save(msgspec.structs.replace(app.settings, file=check_file(file)))


def _owner(settings: Settings) -> str:
    return f"the app of {settings.source}" if settings.source else "an app that is pushed from elsewhere"


def destroy(app: App, engine: Engine) -> None:
    """Remove an app that is down, with its data. If interrupted, it can be repeated until the app is gone."""
    source = app.settings.source
    engine.resources.remove_directory(app, app.directory / "data")
    for place in (app.checkouts, app.directory / "copies"):
        for directory in place.iterdir() if place.is_dir() else ():
            engine.resources.remove_directory(app, directory)
    engine.resources.remove_app(app)
    Certificates(app).remove_all()
    Static(app, engine.ingress.places).remove_all()
    Passwords(app, engine.ingress.places).remove_all()
    engine.ingress.remove_app(app.name)
    scrape_targets.write(app, None)
    for path in (app.journal, app.settings_path):  # without both, it no longer counts as an app
        files.remove(path)
    files.remove_tree(app.directory)
    if source and Path(source).is_dir() and git.remote_url(Path(source)) == str(app.repository):
        git.remove_remote(Path(source))
    engine.platform.stop_if_idle()
