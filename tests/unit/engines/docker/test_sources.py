"""Sources of mounts: no two overlap, whatever links the commit or a container has."""

import itertools
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pushrod.adapters import git
from pushrod.core.errors import ManifestError
from pushrod.engines.docker import names, sources
from pushrod.engines.docker.sources import Sources
from pushrod.state.apps import App, Root
from pushrod.state.secrets import Secrets


@pytest.fixture
def app(tmp_path: Path) -> App:
    app = App(Root(tmp_path / "root"), "shop")
    app.directory.mkdir(parents=True)
    return app


def bind(source: str, target: str = "/x", **more: object) -> dict[str, object]:
    return {"type": "bind", "source": source, "target": target, **more}


PLACES = ("media/.gitkeep", "storage/logs/.gitignore", "storage/app/public/.gitignore", "db/.keep")


def of(
    app: App, tmp_path: Path, services: Mapping[str, list[dict[str, object]]], *more: str, **document: Any
) -> Sources:
    """The sources of a commit with code/app.py, conf/site.conf, conf/sub/more.conf, `more`, and a link
    `alias` to conf. `db` is a store.
    """
    tree = tmp_path / "tree"
    if not app.repository.exists():
        for name in ("code/app.py", "conf/site.conf", "conf/sub/more.conf", *more):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text(f"{name}\n")
        (tree / "alias").symlink_to("conf")
        git.init(tree)
        git.commit_first(tree, "first")
        git.git(tmp_path, "clone", "--quiet", "--bare", str(tree), str(app.repository))
        git.checkout(app.repository, "HEAD", app.checkout(7))
    whole = {"services": {name: {"volumes": volumes} for name, volumes in services.items()}, **document}
    return Sources(app, git.resolve(app.repository, "HEAD"), app.checkout(7), whole, {"db"})


def test_a_tracked_path_is_mounted_as_a_copy_of_the_release(app: App, tmp_path: Path) -> None:
    result = of(app, tmp_path, {"web": [bind("conf")]})
    copy = Path(result.instance("conf"))
    assert not app.copies(7).exists()
    result.make(set())
    assert copy.parent == app.copies(7)
    assert (copy / "site.conf").read_text() == "conf/site.conf\n"
    (copy / "site.conf").write_text("changed")
    assert (app.checkout(7) / "conf" / "site.conf").read_text() == "conf/site.conf\n"
    result.make(set())
    assert (copy / "site.conf").read_text() == "changed"


def test_an_untracked_path_is_data_writable_by_any_account(app: App, tmp_path: Path) -> None:
    result = of(app, tmp_path, {"web": [bind("uploads"), bind("media/photos")]})
    paths = [Path(result.instance(source)) for source in ("uploads", "./media//photos/")]
    result.make(set())
    assert {path.parent for path in paths} == {names.data(app)}
    assert [path.name for path in paths] == ["uploads", "media%2Fphotos"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o777}
    assert stat.S_IMODE(names.data(app).stat().st_mode) == 0o700


def test_a_directory_with_only_placeholder_files_in_git_is_data(app: App, tmp_path: Path) -> None:
    result = of(
        app, tmp_path, {"web": [bind("media"), bind("storage"), bind(".")], "db": [bind("db")]}, *PLACES
    )
    media, storage, code = (Path(result.instance(source)) for source in ("media", "storage", "."))
    kept = Path(result.store("db"))
    assert dict(result.inner(".")) == {"media": str(media), "storage": str(storage)}
    result.make(set())
    assert {media.parent, storage.parent, kept.parent} == {names.data(app)}
    assert code.parent == app.copies(7)
    assert {stat.S_IMODE(p.stat().st_mode) for p in storage.rglob("*")} == {0o777}
    assert sorted(str(p.relative_to(storage)) for p in storage.rglob("*")) == ["app", "app/public", "logs"]
    (storage / "logs").rmdir()
    result.make(set())
    assert not (storage / "logs").exists(), "what is there is the app's"
    assert not sources.tracked(app.checkout(7), "storage")
    assert sources.tracked(app.checkout(7), "conf")
    assert sources.tracked(app.checkout(7), ".")
    assert not sources.tracked(app.checkout(7), "nowhere")


def test_existing_data_of_a_store_stays_in_its_old_place(app: App, tmp_path: Path) -> None:
    identity = git.tree_id(of(app, tmp_path, {}, *PLACES)._app.repository, "HEAD", "db")
    before = app.stores / "files" / identity / "db"
    before.mkdir(parents=True)
    (before / "ibdata1").write_text("rows")
    result = of(app, tmp_path, {"db": [bind("db")]})
    assert Path(result.store("db")) == before
    result.make(set())
    assert (before / "ibdata1").read_text() == "rows"


@pytest.mark.parametrize(
    ("read_only", "others", "directory", "file"),
    [(False, set(), 0o755, 0o644), (False, {"web"}, 0o777, 0o666), (True, {"web"}, 0o755, 0o644)],
)
def test_only_a_service_with_a_writable_mount_may_write_to_a_copy(
    app: App, tmp_path: Path, read_only: bool, others: set[str], directory: int, file: int
) -> None:
    result = of(app, tmp_path, {"web": [bind("code", read_only=read_only)]})
    copy = Path(result.instance("code"))
    result.make(others)
    assert stat.S_IMODE(copy.stat().st_mode) == directory
    assert stat.S_IMODE((copy / "app.py").stat().st_mode) == file


def test_a_store_reads_a_copy_named_by_its_contents(app: App, tmp_path: Path) -> None:
    result = of(app, tmp_path, {"db": [bind("conf/site.conf")]})
    copy = Path(result.store("conf/site.conf"))
    result.make(set())
    assert copy.read_text() == "conf/site.conf\n"
    assert copy.is_relative_to(app.stores)
    assert result.store("alias/site.conf") == str(copy)
    assert result.store("conf") != str(copy.parent)


def test_the_content_of_a_submodule_determines_its_name(app: App, tmp_path: Path) -> None:
    result = of(app, tmp_path, {"db": [bind("theirs/init.sql")]})
    (app.checkout(7) / "theirs").mkdir()
    (app.checkout(7) / "theirs" / "init.sql").write_text("select 1")
    first = result.store("theirs/init.sql")
    assert Path(first).is_relative_to(app.stores)
    (app.checkout(7) / "theirs" / "init.sql").write_text("select 2")
    assert result.store("theirs/init.sql") != first


def test_a_plan_has_mount_paths_too(app: App, tmp_path: Path) -> None:
    of(app, tmp_path, {})
    planned = app.checkout(7).rename(app.checkouts / "plan-123")
    result = Sources(app, git.resolve(app.repository, "HEAD"), planned, {}, set())
    assert result.instance("conf").endswith("/copies/plan-123/conf")


def test_the_total_size_of_copies_is_bounded(app: App, tmp_path: Path) -> None:
    result = of(app, tmp_path, {"web": [bind("."), bind("conf"), bind("conf/sub"), bind("alias")]})
    for source in (".", "conf", "conf/sub", "alias"):
        result.instance(source)
    of_all = (
        len("conf/site.conf\n") * 2 + len("conf/sub/more.conf\n") * 3 + len("code/app.py\n") + len("conf")
    )
    result.check(-(-of_all // 2))
    with pytest.raises(ManifestError, match="mounted files take"):
        result.check(of_all // 2 - 1)


SOURCES = (
    ".",
    "code",
    "conf",
    "conf/sub",
    "conf/site.conf",
    "alias",
    "alias/sub",
    "data",
    "data/db",
    "conf/new",
    "alias/new/er",
)


@pytest.mark.slow
def test_no_mount_source_contains_another(app: App, tmp_path: Path) -> None:
    """For all combinations: a container that writes into one source is above no other, now or in a later release."""
    result = of(
        app, tmp_path, {"web": [bind(source) for source in SOURCES], "db": [bind("data/db"), bind("conf")]}
    )
    paths = {Path(result.instance(source)) for source in SOURCES} | {Path(result.store(s)) for s in SOURCES}
    result.make({"web"})
    for one, other in itertools.permutations(paths, 2):
        assert one not in other.parents, (one, other)
    for path in paths:
        assert path.resolve() == path
        assert path.exists()


def test_a_link_in_the_commit_leads_to_the_copy_of_its_target(app: App, tmp_path: Path) -> None:
    """`a` and `b`, a link to `a`, are one source, and so are the files in both."""
    result = of(app, tmp_path, {"web": [bind("alias"), bind("conf")]})
    assert result.instance("alias") == result.instance("conf")
    assert result.instance("alias/sub") == result.instance("conf/sub")
    assert result.instance("alias/new") == result.instance("conf/new")


@pytest.mark.parametrize("method", ["instance", "store"])
@pytest.mark.parametrize("source", ["out", "out/below", "../x", "conf/../../x", "none/../../x"])
def test_a_path_out_of_the_commit_is_refused(app: App, tmp_path: Path, method: str, source: str) -> None:
    result = of(app, tmp_path, {})
    (app.checkout(7) / "out").symlink_to("/etc")
    with pytest.raises(ManifestError):
        getattr(result, method)(source)


# ---- one in another ------------------------------------------------------------------------------------------------


def test_a_mount_inside_another_mount_is_mounted_there_too(app: App, tmp_path: Path) -> None:
    """The app mounts all of its code and writes to ./media, which nginx serves: both see one directory."""
    result = of(
        app, tmp_path, {"web": [bind(".")], "nginx": [bind("media"), bind("conf/sub", read_only=True)]}
    )
    code, media = Path(result.instance(".")), result.instance("media")
    assert result.inner(".") == [("conf/sub", result.instance("conf/sub")), ("media", media)]
    assert result.inner("media") == []
    result.make(set())
    assert (code / "media").is_dir()


def test_write_access_to_a_mount_includes_the_mounts_inside_it(app: App, tmp_path: Path) -> None:
    """The app makes static files in its code, and nginx only reads them."""
    result = of(app, tmp_path, {"web": [bind(".")], "nginx": [bind("conf", read_only=True)]})
    result.instance(".")
    inner = Path(result.instance("conf"))
    result.make({"web"})
    assert stat.S_IMODE(inner.stat().st_mode) == 0o777


def test_the_data_of_a_store_is_mounted_only_by_the_store(app: App, tmp_path: Path) -> None:
    result = of(app, tmp_path, {"web": [bind(".")], "db": [bind("data/db")]})
    assert result.inner(".") == []
    assert result.store("data/db") == str(names.data(app) / "data%2Fdb")


def test_read_only_content_is_not_mounted_twice(app: App, tmp_path: Path) -> None:
    only: dict[str, Any] = {"read_only": True}
    result = of(
        app,
        tmp_path,
        {"web": [bind(".", **only)], "nginx": [bind("conf/sub", **only), bind("conf/site.conf")]},
    )
    assert result.inner(".") == []


# ---- configs and secrets -------------------------------------------------------------------------------------------

TEXTS = {
    "configs": {"a": {"content": "hello\n"}, "f": {"file": "conf/site.conf"}},
    "secrets": {"token": {"environment": "TOKEN"}},
}


def test_configs_and_secrets_become_private_files_with_distinct_names(app: App, tmp_path: Path) -> None:
    Secrets(app).store({"TOKEN": "geheim"})
    result = of(app, tmp_path, {}, **TEXTS)
    a, token = (
        Path(result.file(*which, {}, "image", store=False))
        for which in (("configs", "a"), ("secrets", "token"))
    )
    assert not names.private_files(app).exists()
    result.make(set())
    assert (a.read_text(), token.read_text()) == ("hello\n", "geheim")
    assert stat.S_IMODE(token.stat().st_mode) == 0o444
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700
    assert result.file("configs", "f", {}, "image", store=False) == result.instance("conf/site.conf")
    Secrets(app).store({"TOKEN": "other"})
    assert result.file("secrets", "token", {}, "image", store=False) != str(token)


def test_different_permissions_make_different_files(app: App, tmp_path: Path) -> None:
    result = of(app, tmp_path, {}, **TEXTS)
    references: list[dict[str, str]] = [{}, {"mode": "0400"}, {"mode": "0400", "uid": "1000"}, {"gid": "5"}]
    for name in ("a", "f"):
        assert len({result.file("configs", name, r, "image", store=False) for r in references}) == len(
            references
        )
    with pytest.raises(ManifestError, match="not numbers"):
        result.file("configs", "a", {"mode": "0400", "uid": "www-data"}, "image", store=False)


def test_a_secret_without_a_value_is_refused(app: App, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="TOKEN has no value"):
        of(app, tmp_path, {}, **TEXTS).file("secrets", "token", {}, "image", store=False)


def test_unreferenced_private_files_are_removed(app: App, tmp_path: Path) -> None:
    Secrets(app).store({"TOKEN": "geheim"})
    result = of(app, tmp_path, {}, **TEXTS)
    kept, _ = (
        result.file(*which, {}, "image", store=False) for which in (("configs", "a"), ("secrets", "token"))
    )
    result.make(set())
    sources.remove_unused(app, f"source: {kept}")
    assert [str(path) for path in names.private_files(app).iterdir()] == [kept]


@pytest.mark.parametrize(
    ("path", "reference", "remark"),
    [
        (
            "/srv/key",
            {"mode": "0400", "gid": "5"},
            "web: `mode`, `gid` of the secret key not applied: /srv/key is the host's",
        ),
        ("/srv/key", {}, ""),
        ("./key", {"mode": "0400"}, ""),
    ],
)
def test_a_host_file_keeps_its_own_permissions(path: str, reference: dict[str, str], remark: str) -> None:
    web = {"secrets": [{"source": "key", **reference}]}
    result = sources.remarks({"services": {"web": web}, "secrets": {"key": {"file": path}}})
    assert result == ([remark] if remark else [])
