"""Damage at each of an app's paths."""

from pathlib import Path

import pytest

from pushrod.state import places
from pushrod.state.apps import App
from pushrod.system import files
from tests.unit.samples import make_live


def damaged(app: App) -> list[str]:
    return [str(Path(e.where).relative_to(app.directory)) for e in places.damage(app)]


def test_intact_files_are_not_damaged(app: App) -> None:
    assert damaged(app) == []
    make_live(app, 1, 2)
    assert damaged(app) == []


@pytest.mark.parametrize(
    "path", ["app.json", "journal", "lock", "claims.json", "secrets/passwords.json", "stores/stores.json"]
)
def test_a_directory_instead_of_a_file_is_damage(app: App, path: str) -> None:
    make_live(app, 1)
    files.remove(app.directory / path)
    (app.directory / path).mkdir(parents=True)
    assert path in damaged(app)


@pytest.mark.parametrize("path", ["checkouts", "repo.git", "secrets"])
def test_a_file_instead_of_a_directory_is_damage(app: App, path: str) -> None:
    files.remove(app.directory / path)
    (app.directory / path).touch()
    assert path in damaged(app)


@pytest.mark.parametrize("way", ["a directory", "a file"])
def test_a_file_or_directory_instead_of_the_live_link_is_damage(app: App, way: str) -> None:
    make_live(app, 1)
    pointer = app.state / "live"
    pointer.unlink()
    pointer.touch() if way == "a file" else pointer.mkdir()
    assert damaged(app) == ["state/live"]


@pytest.mark.parametrize("text", [b"", b"{", b"\0\xff"])
@pytest.mark.parametrize("path", ["secrets/variables.json", "secrets/releases/1.json"])
def test_an_unreadable_file_is_damage(app: App, path: str, text: bytes) -> None:
    make_live(app, 1)
    files.write(app.directory / path, text)
    assert damaged(app) == [path]


def test_a_missing_journal_of_an_app_with_releases_is_damage(app: App) -> None:
    make_live(app, 1)
    app.journal.unlink()
    assert damaged(app) == ["journal"]
