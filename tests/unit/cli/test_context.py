"""Which root and which app a command is about, depending on where it is called."""

from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest

from pushrod.adapters import git
from pushrod.cli.context import chosen, find_app, find_root
from pushrod.core.errors import UnknownNameError
from pushrod.state.apps import App
from tests.conftest import Tree
from tests.unit import samples


@pytest.fixture
def context(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[click.Context]:
    """A command called outside any repository, without --root."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    program = click.Context(click.Group("pushrod"), info_name="pushrod")
    with click.Context(click.Command("status"), parent=program, info_name="status") as context:
        yield context


@pytest.fixture
def joined(app: App, tree: Tree, context: click.Context, monkeypatch: pytest.MonkeyPatch) -> App:
    """The app of the repository that the command is called in."""
    git.set_remote(tree.path, str(app.repository))
    monkeypatch.chdir(tree.path)
    return app


def another(app: App, name: str) -> App:
    made = App(app.root, name)
    made.save(msgspec.structs.replace(app.settings, name=name))
    return made


def test_the_users_own_root_is_the_last_resort(
    context: click.Context, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_root(None).path == home / ".local" / "share" / "pushrod"
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert find_root(None).path == Path("/data/pushrod")


def test_the_root_of_the_repositorys_remote_precedes_the_default(joined: App) -> None:
    assert find_root(None).path == joined.root.path


def test_a_remote_that_is_no_local_app_is_ignored(
    context: click.Context, tree: Tree, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree.path)
    for url in ("git@example.com:shop.git", "../apps/shop/repo.git", "/srv/shop.git"):
        git.set_remote(tree.path, url)
        assert find_root(None).path == home / ".local" / "share" / "pushrod"


def test_an_explicit_root_takes_precedence(joined: App, context: click.Context) -> None:
    context.find_root().obj = "/given/before"
    assert find_root(None).path == Path("/given/before")
    assert find_root("/given/after").path == Path("/given/after")
    assert find_root("relative").path == Path.cwd() / "relative"


def test_the_app_of_another_directory_can_be_selected(app: App, tree: Tree, context: click.Context) -> None:
    git.set_remote(tree.path, str(app.repository))
    assert find_app(None, None, tree.path).directory == app.directory


def test_the_app_is_the_one_of_the_repository(
    joined: App, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    another(joined, "blog")
    assert find_app(None, None).name == "shop"
    (tree.path / "below").mkdir()
    monkeypatch.chdir(tree.path / "below")
    assert find_app(None, None).name == "shop"
    assert find_app(None, "blog").name == "blog"


def test_the_only_app_of_a_root_needs_no_name(app: App, context: click.Context) -> None:
    assert find_app(str(app.root.path), None).name == "shop"


def test_one_of_several_apps_must_be_named(app: App, context: click.Context) -> None:
    another(app, "blog")
    with pytest.raises(UnknownNameError, match="which app") as e:
        find_app(str(app.root.path), None)
    assert "apps: blog, shop" in e.value.hint
    with pytest.raises(UnknownNameError, match="no app `news`"):
        find_app(str(app.root.path), "news")


def test_the_repositorys_app_is_not_found_in_another_root(joined: App, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError) as e:
        find_app(str(tmp_path / "other"), None)
    assert "apps: none" in e.value.hint


@pytest.mark.parametrize(
    ("known", "store", "message"),
    [
        (["pg"], "db", "this needs SQL; db is MariaDB"),
        ([], "", "this needs SQL; db is MariaDB, pg is PostgreSQL, search is postgres:17"),
        (["pg"], "other", "no store `other`"),
        (["pg", "pg2"], "", "which store?"),
    ],
)
def test_a_store_of_another_kind_is_named_with_its_kind(known: list[str], store: str, message: str) -> None:
    stores = [samples.store("db", store="mariadb"), samples.store("pg"), samples.store("search", store=None)]
    with pytest.raises(UnknownNameError) as e:
        chosen(known, store, "SQL", stores)
    assert e.value.what == message
    assert chosen(["pg"], "", "SQL", stores) == chosen(["pg"], "pg", "SQL", stores) == "pg"
