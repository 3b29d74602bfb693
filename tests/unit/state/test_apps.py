"""The paths of a root, and the settings of an app."""

import os
import stat
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pushrod.core.errors import HostError, UnknownNameError
from pushrod.core.times import now
from pushrod.state.apps import App, Root, Settings, check_file, check_name, slug
from pushrod.system import accounts, files


@pytest.mark.parametrize("name", ["a", "shop", "shop-2", "a" * 31])
def test_a_valid_name_is_accepted(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "2shop", "Shop", "-a", "a" * 32, "a/b", "..", "a b", "a\n", "ä", "a_b"])
def test_an_invalid_name_is_refused(name: str) -> None:
    with pytest.raises(UnknownNameError, match="cannot be an app's name"):
        check_name(name)


@pytest.mark.parametrize(
    ("folder", "name"),
    [("Shop", "shop"), ("my_shop v2", "my-shop-v2"), ("--a--", "a"), ("a" * 40, "a" * 31), ("…", "")],
)
def test_a_directory_name_suggests_an_app_name(folder: str, name: str) -> None:
    assert slug(folder) == name


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=50).map("a".__add__))
@pytest.mark.slow
def test_a_directory_name_with_a_leading_letter_suggests_a_valid_name(folder: str) -> None:
    assert check_name(slug(folder))


@pytest.mark.parametrize(
    ("port", "domains", "url"),
    [
        (8000, (), "http://127.0.0.1:8000"),
        (80, (), "http://127.0.0.1"),
        (80, ("shop.example", "www.shop.example"), "http://shop.example"),
        (8000, ("*.shop.example", "shop.example"), "http://shop.example:8000"),
        (80, ("*.shop.example",), "http://127.0.0.1"),
    ],
)
def test_the_url_of_an_app_has_its_domain_or_port(port: int, domains: tuple[str, ...], url: str) -> None:
    assert Settings(name="shop", port=port, engine="docker", created=now()).url(domains) == url


# ---- the root ---------------------------------------------------------------------------------------------


def test_sockets_are_in_the_root_if_its_path_is_short(tmp_path: Path) -> None:
    assert Root(Path("/srv/pushrod")).runtime == Path("/srv/pushrod/run")


def test_sockets_are_outside_the_root_if_its_path_is_long(tmp_path: Path) -> None:
    """A socket's path has at most 108 bytes, including PostgreSQL's `.s.PGSQL.20001` and a process id."""
    one, other = (Root(tmp_path / name / ("x" * 80)).runtime for name in "ab")
    assert one != other
    assert max(len(str(r)) for r in (one, other)) < 60
    assert Root(tmp_path / "a" / ("x" * 80)).runtime == one


@given(st.text(alphabet="ä/x", min_size=1, max_size=120))
@example("ä" * 50)
@pytest.mark.slow
def test_a_path_for_sockets_is_short_enough_in_bytes(name: str) -> None:
    assert len(os.fsencode(Root(Path("/srv") / name.strip("/")).runtime)) <= 72


def test_a_root_can_be_made_twice(root: Root) -> None:
    root.create()
    root.create()
    assert root.apps_directory.is_dir()
    assert list(root.apps()) == []


@pytest.mark.parametrize("group", [None, 65534])
def test_a_root_is_private_and_open_permissions_are_corrected(
    root: Root, group: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if group is not None and os.geteuid() != 0:
        pytest.skip("needs root, to run a child as another user")
    monkeypatch.setattr(accounts, "children_group", lambda: group)
    for directory in (root.path, root.apps_directory, root.runtime):
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o755)
    root.create()
    for directory in (root.path, root.apps_directory, root.runtime):
        result = directory.stat()
        assert stat.S_IMODE(result.st_mode) == (0o700 if group is None else 0o710)
        assert group in (None, result.st_gid)


@pytest.mark.parametrize("theirs", ["directory", "link", "file"])
def test_a_runtime_directory_prepared_by_another_user_is_not_used(tmp_path: Path, theirs: str) -> None:
    """In /tmp, where anybody can predict its name."""
    root = Root(tmp_path / ("x" * 80))
    known = root.runtime
    assert known.parent == Path("/tmp")
    if theirs == "directory":
        if os.geteuid() != 0:
            pytest.skip("needs root, to make a file that another user owns")
        known.mkdir()
        os.chown(known, 65534, 65534)
    elif theirs == "link":
        (tmp_path / "mine").mkdir(mode=0o755)
        known.symlink_to(tmp_path / "mine")
    else:
        known.touch()
    try:
        root.create()
        assert root.runtime not in (known, tmp_path / "mine")
        assert Root(root.path).runtime == root.runtime
        assert stat.S_IMODE(root.runtime.stat().st_mode) & 0o007 == 0
        assert theirs != "link" or stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o755
    finally:
        files.remove_tree(root.runtime)
        known.rmdir() if theirs == "directory" else known.unlink()


def test_a_link_instead_of_the_runtime_directory_is_refused(tmp_path: Path) -> None:
    root = Root(Path(tempfile.mkdtemp()))
    root.runtime.symlink_to(tmp_path)
    try:
        with pytest.raises(HostError, match="belongs to another user"):
            root.create()
    finally:
        files.remove_tree(root.path)


def test_apps_are_found_by_name_and_listed_in_order(app: App) -> None:
    other = App(app.root, "blog")
    other.save(msgspec.structs.replace(app.settings, name="blog"))
    (app.root.apps_directory / "half-made").mkdir()
    assert [a.name for a in app.root.apps()] == ["blog", "shop"]
    assert app.root.app("shop").directory == app.directory


def test_an_unknown_app_is_refused_with_the_known_names(app: App) -> None:
    with pytest.raises(UnknownNameError) as e:
        app.root.app("shoop")
    assert e.value.what == "no app `shoop`"
    assert "shop" in e.value.hint
    with pytest.raises(UnknownNameError, match="cannot be"):
        app.root.app("../shop")


# ---- settings and other state files ----------------------------------------------------------------------------


def test_saved_settings_are_read_back_unchanged(app: App) -> None:
    changed = msgspec.structs.replace(app.settings, replicas={"backend": 3}, down=True)
    app.save(changed)
    assert App(app.root, "shop").settings == changed


@pytest.mark.parametrize(
    ("given", "result"),
    [
        ("deploy/compose.yaml", "deploy/compose.yaml"),
        ("./deploy//compose.yml", "deploy/compose.yml"),
        ("docker-compose.prod.yml", "docker-compose.prod.yml"),
        (".docker/compose.yaml", ".docker/compose.yaml"),
        ("büro/my files/compose.yaml", "büro/my files/compose.yaml"),
        ("deploy/../compose.yaml", "compose.yaml"),
        ("", ""),
    ],
)
def test_a_valid_path_of_a_compose_file_is_accepted(given: str, result: str) -> None:
    assert check_file(given) == result


@pytest.mark.parametrize(
    "given",
    [
        *("/etc/compose.yaml", "../compose.yaml", "a/../../compose.yaml", "~/compose.yaml", "-f.yaml", "-"),
        *("compose", "deploy", "deploy/", "compose.json", ".yaml", "a\n.yaml", "a/$HOME.yaml", "a;b.yaml"),
        *("a/-x.yaml", "https://x.test/compose.yaml", "oci://x/compose.yaml", "x" * 300 + ".yaml"),
    ],
)
def test_an_invalid_path_of_a_compose_file_is_refused(given: str) -> None:
    with pytest.raises(UnknownNameError) as refused:
        check_file(given)
    assert "deploy/compose.yaml" in refused.value.hint
