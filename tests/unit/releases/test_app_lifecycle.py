"""Making an app and removing it; nothing of it runs here."""

import json
import os
import shlex
import socket
import stat
import sys
from pathlib import Path

import pytest

from pushrod.adapters import git
from pushrod.core.errors import HostError, UnknownNameError
from pushrod.engines.embedded import engine as embedded
from pushrod.engines.embedded import ports
from pushrod.engines.protocols import Engine
from pushrod.releases import app_lifecycle
from pushrod.state.apps import App, Root
from tests.conftest import Tree


@pytest.fixture
def engine(root: Root) -> Engine:
    return embedded.of(root)


@pytest.fixture
def port() -> int:
    """A port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        return int(s.getsockname()[1])


def test_a_new_app_has_its_directories_and_is_down(engine: Engine, tree: Tree, port: int) -> None:
    app = app_lifecycle.create(engine, "shop", source=tree.path, port=port)
    settings = app.settings
    assert (settings.name, settings.port, settings.engine) == ("shop", port, "embedded")
    assert (settings.source, settings.down) == (str(tree.path), True)
    for place in (app.checkouts, app.stores, app.logs, app.state / ".git", app.repository):
        assert place.is_dir()
    assert stat.S_IMODE(app.secrets.stat().st_mode) == 0o700
    assert [a.name for a in engine.root.apps()] == ["shop"]


@pytest.mark.parametrize("sha256", [True, False])
def test_the_repository_has_the_requested_hash(engine: Engine, sha256: bool) -> None:
    app = app_lifecycle.create(engine, "shop", sha256=sha256)
    assert git.uses_sha256(app.repository) is sha256


def test_the_hooks_call_this_installation_with_its_root(engine: Engine, tree: Tree) -> None:
    app = app_lifecycle.create(engine, "shop", source=tree.path)
    hook = (app.repository / "hooks" / "pre-receive").read_text()
    command = [
        sys.executable,
        "-m",
        "pushrod",
        "--root",
        str(engine.root.path),
        "hook",
        "shop",
        "pre-receive",
    ]
    assert shlex.join(command) in hook


@pytest.mark.slow
def test_directories_of_an_older_version_are_recognized(engine: Engine, tree: Tree) -> None:
    """They are made anew at the next push: what Git may be asked for and what its hooks call has grown."""
    app = app_lifecycle.create(engine, "shop", source=tree.path)
    for name in ("pushrod.config", "hooks/pre-receive", "hooks/proc-receive"):
        assert app_lifecycle.are_current(app)
        (app.repository / name).write_text("# older\n")
        assert not app_lifecycle.are_current(app)
        app_lifecycle.make_places(app)
    (app.repository / "pushrod.config").unlink()
    assert not app_lifecycle.are_current(app)


def test_creating_an_app_again_changes_nothing(engine: Engine, tree: Tree) -> None:
    first = app_lifecycle.create(engine, "shop", source=tree.path).settings
    assert app_lifecycle.create(engine, "shop", source=tree.path).settings == first


def test_an_interrupted_creation_is_completed(engine: Engine, tree: Tree) -> None:
    app = app_lifecycle.create(engine, "shop", source=tree.path)
    app.settings_path.unlink()
    assert list(engine.root.apps()) == []
    app_lifecycle.create(engine, "shop", source=tree.path)
    assert [a.name for a in engine.root.apps()] == ["shop"]


def test_an_app_can_move_to_another_port(engine: Engine, tree: Tree, port: int) -> None:
    app = app_lifecycle.create(engine, "shop", source=tree.path)
    app_lifecycle.create(engine, "shop", source=tree.path, port=port)
    assert app.settings.port == port


def test_a_port_in_use_is_refused_before_anything_is_created(engine: Engine, tree: Tree) -> None:
    with socket.create_server(("127.0.0.1", 0)) as s:
        taken = s.getsockname()[1]
        with pytest.raises(HostError, match=f"port {taken} "):
            app_lifecycle.create(engine, "shop", source=tree.path, port=taken)
    assert list(engine.root.apps()) == []
    assert not (engine.root.apps_directory / "shop").exists()


def test_two_apps_never_have_the_same_port(engine: Engine, tree: Tree, port: int) -> None:
    app_lifecycle.create(engine, "shop", source=tree.path, port=port)
    with pytest.raises(HostError, match=f"port {port} "):
        app_lifecycle.create(engine, "blog", source=tree.path, port=port)
    assert app_lifecycle.create(engine, "blog", source=tree.path).settings.port != port


def test_a_name_used_by_another_work_tree_is_refused(engine: Engine, tree: Tree, tmp_path: Path) -> None:
    app = app_lifecycle.create(engine, "shop", source=tree.path)
    other = Tree(tmp_path / "other")
    other.path.mkdir()
    other.git("init", "--quiet")
    with pytest.raises(UnknownNameError, match="is taken by the app of") as e:
        app_lifecycle.create(engine, "shop", source=other.path)
    assert str(app.repository) in e.value.hint
    assert app.settings.source == str(tree.path)

    git.set_remote(other.path, str(app.repository))
    app_lifecycle.create(engine, "shop", source=other.path)
    assert app.settings.source == str(other.path)


def test_a_destroyed_app_leaves_only_the_users_own_files(engine: Engine, tree: Tree) -> None:
    app = app_lifecycle.create(engine, "shop", source=tree.path)
    other = app_lifecycle.create(engine, "blog", source=tree.path)
    git.set_remote(tree.path, str(app.repository))
    (app.stores / "postgres").mkdir()
    app_lifecycle.destroy(app, engine)
    assert not app.directory.exists()
    assert git.remote_url(tree.path) == ""
    assert [a.name for a in engine.root.apps()] == [other.name]
    assert tree.path.is_dir()


def test_destroying_keeps_a_remote_of_another_app(engine: Engine, tree: Tree) -> None:
    app = app_lifecycle.create(engine, "shop", source=tree.path)
    git.set_remote(tree.path, "/elsewhere/repo.git")
    app_lifecycle.destroy(app, engine)
    assert git.remote_url(tree.path) == "/elsewhere/repo.git"


def test_an_app_that_is_down_keeps_its_port(engine: Engine, tree: Tree) -> None:
    app = app_lifecycle.create(engine, "shop", source=tree.path)
    assert app.settings.port in ports.taken(engine.root)
    assert json.loads(app.settings_path.read_bytes())["port"] == app.settings.port


def test_an_app_that_is_pushed_from_elsewhere_has_no_work_tree(engine: Engine, tree: Tree) -> None:
    app = app_lifecycle.create(engine, "shop")
    assert app.settings.source == ""
    assert app_lifecycle.create(engine, "shop").settings == app.settings
    with pytest.raises(UnknownNameError, match="an app that is pushed from elsewhere"):
        app_lifecycle.create(engine, "shop", source=tree.path)
    app_lifecycle.destroy(app, engine)
    assert list(engine.root.apps()) == []


def test_the_engine_removes_an_app_before_its_files_are_deleted(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is cut off there can be done again: the app is still known."""
    app = app_lifecycle.create(engine, "shop")

    def forget(result: App) -> None:
        assert result.settings_path.exists()
        raise HostError("a volume is in use")

    monkeypatch.setattr(engine.resources, "remove_app", forget)
    with pytest.raises(HostError, match="volume"):
        app_lifecycle.destroy(app, engine)
    assert [a.name for a in engine.root.apps()] == ["shop"]


def test_destroying_the_last_app_removes_the_socket_directory(engine: Engine) -> None:
    shop, blog = app_lifecycle.create(engine, "shop"), app_lifecycle.create(engine, "blog")
    app_lifecycle.destroy(shop, engine)
    assert engine.root.runtime.is_dir()
    app_lifecycle.destroy(blog, engine)
    assert not engine.root.runtime.exists()


def test_permissions_are_added_and_removed(engine: Engine) -> None:
    app = app_lifecycle.create(engine, "shop")
    assert app_lifecycle.allow(app, ["privileged", "/srv/media"]) == ("/srv/media", "privileged")
    assert app_lifecycle.allow(app, ["NET_ADMIN", "privileged"]) == ("/srv/media", "NET_ADMIN", "privileged")
    assert app_lifecycle.allow(app, ["privileged", "devices"], remove=True) == ("/srv/media", "NET_ADMIN")
    assert app.settings.allowed == ("/srv/media", "NET_ADMIN")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to change the owner of a file")
def test_files_changed_by_root_keep_their_owner(engine: Engine) -> None:
    app = app_lifecycle.create(engine, "shop")
    for path in (app.directory, app.settings_path):
        os.chown(path, 12345, 12345)
    app_lifecycle.allow(app, ["privileged"])
    owners = {path.stat().st_uid for path in (app.settings_path, app.lock)}
    assert owners == {12345}
