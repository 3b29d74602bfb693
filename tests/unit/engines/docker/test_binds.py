"""Where bind mounts are, and that nothing leads out of there: not by `..`, a link, or one that is made later."""

from pathlib import Path

import pytest

from pushrod.apps import App, Root
from pushrod.engines.docker.binds import Binds, writable
from pushrod.errors import ManifestError
from pushrod.gears import git


@pytest.fixture
def app(tmp_path: Path) -> App:
    app = App(Root(tmp_path / "root"), "shop")
    app.directory.mkdir(parents=True)
    return app


def binds(app: App, tmp_path: Path, *open_to: str) -> Binds:
    """A commit with conf/site.conf in it."""
    tree = tmp_path / "checkout"
    (tree / "conf").mkdir(parents=True, exist_ok=True)
    (tree / "conf" / "site.conf").write_text("server {}\n")
    if not app.repository.exists():
        git.init(tree)
        git.commit_first(tree, "first")
        git.git(tmp_path, "clone", "--quiet", "--bare", str(tree), str(app.repository))
    return Binds(app, git.resolve(app.repository, "HEAD"), tree, frozenset(open_to))


def test_what_git_tracks_is_the_checkouts_own(app: App, tmp_path: Path) -> None:
    found = binds(app, tmp_path)
    assert found.instance("conf/site.conf") == str(found.checkout / "conf" / "site.conf")


def test_what_git_does_not_track_is_the_apps_data_open_to_any_account(app: App, tmp_path: Path) -> None:
    path = Path(binds(app, tmp_path, "uploads").instance("uploads"))
    assert path == app.directory / "data" / "uploads"
    assert path.stat().st_mode & 0o777 == 0o777


def test_a_store_reads_a_copy_named_by_its_contents(app: App, tmp_path: Path) -> None:
    found = binds(app, tmp_path)
    copy = Path(found.store("conf/site.conf"))
    assert copy.read_text() == "server {}\n"
    assert not copy.is_relative_to(found.checkout)
    assert found.store("conf/site.conf") == str(copy)


@pytest.mark.parametrize("place", [".", "conf"])
def test_a_tracked_file_inside_a_mount_that_can_be_written_is_a_copy(
    app: App, tmp_path: Path, place: str
) -> None:
    found = binds(app, tmp_path, place)
    assert found.instance("conf/site.conf") == found.store("conf/site.conf")
    assert found.instance(place) == str(found.checkout / place)


@pytest.mark.parametrize(
    ("outer", "inner"), [("data", "data/sub"), ("./data/", "data/sub/deep"), ("/srv", "/srv/x")]
)
def test_data_inside_a_mount_that_can_be_written_is_refused(
    app: App, tmp_path: Path, outer: str, inner: str
) -> None:
    with pytest.raises(ManifestError, match="lies in"):
        binds(app, tmp_path, outer).instance(inner)


def test_beside_a_mount_that_can_be_written_is_not_in_it(app: App, tmp_path: Path) -> None:
    assert binds(app, tmp_path, "data").instance("database").endswith("/data/database")


@pytest.mark.parametrize("method", ["instance", "store"])
def test_a_link_out_of_the_checkout_is_refused(app: App, tmp_path: Path, method: str) -> None:
    found = binds(app, tmp_path)
    (found.checkout / "out").symlink_to("/etc")
    with pytest.raises(ManifestError):
        getattr(found, method)("out")


def test_a_link_that_the_app_made_in_its_data_is_refused(app: App, tmp_path: Path) -> None:
    found = binds(app, tmp_path)
    (app.directory / "data").mkdir()
    (app.directory / "data" / "uploads").symlink_to("/etc")
    with pytest.raises(ManifestError):
        found.instance("uploads")


def test_writable_are_the_binds_that_are_not_read_only() -> None:
    def bind(source: str, **more: object) -> dict[str, object]:
        return {"type": "bind", "source": source, "target": "/x", **more}

    volumes = [bind("a"), bind("b", read_only=True), {"type": "volume", "source": "c"}, "d:/d"]
    assert writable({"services": {"web": {"volumes": volumes}, "other": {}}}) == {"a"}
