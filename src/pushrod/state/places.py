"""The expected kind of content of each of an app's paths; `doctor` and repairs both find deviations here."""

from collections.abc import Iterator
from pathlib import Path

from pushrod.core.errors import StateError
from pushrod.state.apps import App
from pushrod.state.journal import Journal, Story
from pushrod.state.releases import Releases
from pushrod.state.secrets import Secrets
from pushrod.system import damaged_paths

_REPAIR = "`pushrod doctor --repair` fixes it"


def damage(app: App) -> Iterator[StateError]:
    """An error for each damaged file of an app. Changes nothing, but may write a copy beside a damaged file."""
    for path in misplaced_paths(app):
        kind = "a directory" if path.is_dir() else "a file"
        yield StateError(f"wrong type: it is {kind}", where=str(path), hint=_REPAIR)
    try:
        live = story(app, Journal(app.journal)).live
        if live:
            Secrets(app).sealed(live)
    except StateError as e:
        yield e
    yield from Secrets(app).damaged()


def story(app: App, journal: Journal) -> Story:
    """The journal's summary. Raises StateError if it is unreadable, or empty although there are releases."""
    summary = journal.story()
    if not summary.last and Releases(app).numbers():
        hint = "`pushrod doctor --repair` starts a new one at the release that serves now"
        raise StateError(
            "the app has releases, but the journal lists none", where=str(app.journal), hint=hint
        )
    return summary


def misplaced_paths(app: App) -> Iterator[Path]:
    """The paths of an app with the wrong kind of content: a directory instead of a file, or the reverse."""
    for path in _directories(app):
        if damaged_paths.is_misplaced(path, directory=True):
            yield path
    for path in _files(app):
        if damaged_paths.is_misplaced(path):
            yield path
    pointer = app.state / "live"
    if pointer.exists() and not pointer.is_symlink():
        yield pointer


def _directories(app: App) -> Iterator[Path]:
    yield from (app.repository, app.state, app.state / "releases", app.checkouts, app.directory / "copies")
    yield from (app.secrets, app.secrets / "releases", app.stores, app.logs, app.home, app.backups)
    yield from (app.directory / "vault", app.directory / "wal")


def _files(app: App) -> Iterator[Path]:
    yield from (app.settings_path, app.journal, app.lock, app.directory / "claims.json")
    yield from (app.secrets / name for name in ("variables.json", "passwords.json", "digest.key"))
    yield app.stores / "stores.json"
    for directory, name in ((app.secrets / "releases", "*.json"), (app.state / "releases", "*/release.json")):
        yield from sorted(directory.glob(name)) if directory.is_dir() else ()
