"""What is to be at each place of an app, so that what is there instead is found in one way, whoever looks."""

from collections.abc import Iterator
from pathlib import Path

from pushrod.core.errors import StateError
from pushrod.state.apps import App
from pushrod.state.journal import Journal, Story
from pushrod.state.releases import Releases
from pushrod.state.secrets import Secrets
from pushrod.system import files

_MEND = "`pushrod doctor --repair` mends it"


def damage(app: App) -> Iterator[StateError]:
    """What of an app's files is not as it should be, one error for each; changes nothing but copies beside them."""
    for path in misplaced(app):
        kind = "a directory" if path.is_dir() else "no directory"
        yield StateError(f"{kind} is in its place", where=str(path), hint=_MEND)
    try:
        live = story(app).live
        if live:
            Secrets(app).sealed(live)
    except StateError as e:
        yield e
    yield from Secrets(app).damaged()


def story(app: App) -> Story:
    """What the journal says. Raises StateError where it cannot be read, or is gone while there are releases."""
    found = Journal(app.journal).story()
    if not found.last and Releases(app).numbers():
        hint = "`pushrod doctor --repair` begins a new one at the release that serves now"
        raise StateError("there are releases, and it says nothing of any", where=str(app.journal), hint=hint)
    return found


def misplaced(app: App) -> Iterator[Path]:
    """The places of an app where something else is: a directory for a file, a file for a directory or a link."""
    for path in _directories(app):
        if files.is_misplaced(path, directory=True):
            yield path
    for path in _files(app):
        if files.is_misplaced(path):
            yield path
    pointer = app.state / "live"
    if pointer.exists() and not pointer.is_symlink():
        yield pointer


def _directories(app: App) -> Iterator[Path]:
    yield from (app.repository, app.state, app.state / "releases", app.checkouts, app.directory / "copies")
    yield from (app.secrets, app.secrets / "releases", app.stores, app.logs, app.home, app.backups)


def _files(app: App) -> Iterator[Path]:
    yield from (app.settings_path, app.journal, app.lock, app.directory / "claims.json")
    yield from (app.secrets / name for name in ("variables.json", "passwords.json", "digest.key"))
    yield app.stores / "stores.json"
    for directory, name in ((app.secrets / "releases", "*.json"), (app.state / "releases", "*/release.json")):
        yield from sorted(directory.glob(name)) if directory.is_dir() else ()
