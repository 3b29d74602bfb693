"""Where mounts are: each in a place of its own, in no other's way, whatever links the commit or a container has."""

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


def test_what_git_tracks_is_a_copy_of_the_releases_own(app: App, tmp_path: Path) -> None:
    found = of(app, tmp_path, {"web": [bind("conf")]})
    copy = Path(found.instance("conf"))
    assert not app.copies(7).exists()
    found.make(set())
    assert copy.parent == app.copies(7)
    assert (copy / "site.conf").read_text() == "conf/site.conf\n"
    (copy / "site.conf").write_text("changed")
    assert (app.checkout(7) / "conf" / "site.conf").read_text() == "conf/site.conf\n"
    found.make(set())
    assert (copy / "site.conf").read_text() == "changed"


def test_what_git_does_not_track_is_data_open_to_any_account(app: App, tmp_path: Path) -> None:
    found = of(app, tmp_path, {"web": [bind("uploads"), bind("media/photos")]})
    paths = [Path(found.instance(source)) for source in ("uploads", "./media//photos/")]
    found.make(set())
    assert {path.parent for path in paths} == {names.data(app)}
    assert [path.name for path in paths] == ["uploads", "media%2Fphotos"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o777}
    assert stat.S_IMODE(names.data(app).stat().st_mode) == 0o700


def test_a_directory_of_which_git_has_the_place_alone_is_data(app: App, tmp_path: Path) -> None:
    found = of(
        app, tmp_path, {"web": [bind("media"), bind("storage"), bind(".")], "db": [bind("db")]}, *PLACES
    )
    media, storage, code = (Path(found.instance(source)) for source in ("media", "storage", "."))
    kept = Path(found.store("db"))
    assert dict(found.inner(".")) == {"media": str(media), "storage": str(storage)}
    found.make(set())
    assert {media.parent, storage.parent, kept.parent} == {names.data(app)}
    assert code.parent == app.copies(7)
    assert {stat.S_IMODE(p.stat().st_mode) for p in storage.rglob("*")} == {0o777}
    assert sorted(str(p.relative_to(storage)) for p in storage.rglob("*")) == ["app", "app/public", "logs"]
    (storage / "logs").rmdir()
    found.make(set())
    assert not (storage / "logs").exists(), "what is there is the app's"
    assert not sources.tracked(app.checkout(7), "storage")
    assert sources.tracked(app.checkout(7), "conf")
    assert sources.tracked(app.checkout(7), ".")
    assert not sources.tracked(app.checkout(7), "nowhere")


def test_what_a_store_has_kept_in_a_place_since_before_stays_there(app: App, tmp_path: Path) -> None:
    identity = git.tree_id(of(app, tmp_path, {}, *PLACES)._app.repository, "HEAD", "db")
    before = app.stores / "files" / identity / "db"
    before.mkdir(parents=True)
    (before / "ibdata1").write_text("rows")
    found = of(app, tmp_path, {"db": [bind("db")]})
    assert Path(found.store("db")) == before
    found.make(set())
    assert (before / "ibdata1").read_text() == "rows"


@pytest.mark.parametrize(
    ("read_only", "others", "directory", "file"),
    [(False, set(), 0o755, 0o644), (False, {"web"}, 0o777, 0o666), (True, {"web"}, 0o755, 0o644)],
)
def test_only_who_mounts_it_to_write_may_write_into_a_copy(
    app: App, tmp_path: Path, read_only: bool, others: set[str], directory: int, file: int
) -> None:
    found = of(app, tmp_path, {"web": [bind("code", read_only=read_only)]})
    copy = Path(found.instance("code"))
    found.make(others)
    assert stat.S_IMODE(copy.stat().st_mode) == directory
    assert stat.S_IMODE((copy / "app.py").stat().st_mode) == file


def test_a_store_reads_a_copy_named_by_its_contents(app: App, tmp_path: Path) -> None:
    found = of(app, tmp_path, {"db": [bind("conf/site.conf")]})
    copy = Path(found.store("conf/site.conf"))
    found.make(set())
    assert copy.read_text() == "conf/site.conf\n"
    assert copy.is_relative_to(app.stores)
    assert found.store("alias/site.conf") == str(copy)
    assert found.store("conf") != str(copy.parent)


def test_what_git_knows_only_in_a_submodule_has_a_name_by_its_contents_too(app: App, tmp_path: Path) -> None:
    found = of(app, tmp_path, {"db": [bind("theirs/init.sql")]})
    (app.checkout(7) / "theirs").mkdir()
    (app.checkout(7) / "theirs" / "init.sql").write_text("select 1")
    first = found.store("theirs/init.sql")
    assert Path(first).is_relative_to(app.stores)
    (app.checkout(7) / "theirs" / "init.sql").write_text("select 2")
    assert found.store("theirs/init.sql") != first


def test_what_is_only_planned_has_paths_too(app: App, tmp_path: Path) -> None:
    of(app, tmp_path, {})
    planned = app.checkout(7).rename(app.checkouts / "plan-123")
    found = Sources(app, git.resolve(app.repository, "HEAD"), planned, {}, set())
    assert found.instance("conf").endswith("/copies/plan-123/conf")


def test_copies_are_bounded_together(app: App, tmp_path: Path) -> None:
    found = of(app, tmp_path, {"web": [bind("."), bind("conf"), bind("conf/sub"), bind("alias")]})
    for source in (".", "conf", "conf/sub", "alias"):
        found.instance(source)
    of_all = (
        len("conf/site.conf\n") * 2 + len("conf/sub/more.conf\n") * 3 + len("code/app.py\n") + len("conf")
    )
    found.check(-(-of_all // 2))
    with pytest.raises(ManifestError, match="mounted files take"):
        found.check(of_all // 2 - 1)


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
def test_no_source_lies_in_another(app: App, tmp_path: Path) -> None:
    """Whatever is mounted with whatever: who writes into one is above no other, in this release or a later one."""
    found = of(
        app, tmp_path, {"web": [bind(source) for source in SOURCES], "db": [bind("data/db"), bind("conf")]}
    )
    paths = {Path(found.instance(source)) for source in SOURCES} | {Path(found.store(s)) for s in SOURCES}
    found.make({"web"})
    for one, other in itertools.permutations(paths, 2):
        assert one not in other.parents, (one, other)
    for path in paths:
        assert path.resolve() == path
        assert path.exists()


def test_a_link_of_the_commit_leads_to_the_copy_of_what_it_leads_to(app: App, tmp_path: Path) -> None:
    """`a` and `b`, which is a link to `a`, are one source, and so is what lies in both."""
    found = of(app, tmp_path, {"web": [bind("alias"), bind("conf")]})
    assert found.instance("alias") == found.instance("conf")
    assert found.instance("alias/sub") == found.instance("conf/sub")
    assert found.instance("alias/new") == found.instance("conf/new")


@pytest.mark.parametrize("method", ["instance", "store"])
@pytest.mark.parametrize("source", ["out", "out/below", "../x", "conf/../../x", "none/../../x"])
def test_what_leads_out_of_the_commit_is_refused(app: App, tmp_path: Path, method: str, source: str) -> None:
    found = of(app, tmp_path, {})
    (app.checkout(7) / "out").symlink_to("/etc")
    with pytest.raises(ManifestError):
        getattr(found, method)(source)


# ---- one in another ------------------------------------------------------------------------------------------------


def test_what_lies_in_a_mount_is_mounted_there_too(app: App, tmp_path: Path) -> None:
    """nginx serves ./media, and the app, whose code is mounted whole, writes to it: both see one directory."""
    found = of(
        app, tmp_path, {"web": [bind(".")], "nginx": [bind("media"), bind("conf/sub", read_only=True)]}
    )
    code, media = Path(found.instance(".")), found.instance("media")
    assert found.inner(".") == [("conf/sub", found.instance("conf/sub")), ("media", media)]
    assert found.inner("media") == []
    found.make(set())
    assert (code / "media").is_dir()


def test_who_may_write_into_a_mount_may_write_into_what_lies_in_it(app: App, tmp_path: Path) -> None:
    """The app makes static files in its code, and nginx only reads them."""
    found = of(app, tmp_path, {"web": [bind(".")], "nginx": [bind("conf", read_only=True)]})
    found.instance(".")
    inner = Path(found.instance("conf"))
    found.make({"web"})
    assert stat.S_IMODE(inner.stat().st_mode) == 0o777


def test_a_stores_data_are_mounted_by_the_store_alone(app: App, tmp_path: Path) -> None:
    found = of(app, tmp_path, {"web": [bind(".")], "db": [bind("data/db")]})
    assert found.inner(".") == []
    assert found.store("data/db") == str(names.data(app) / "data%2Fdb")


def test_what_nobody_writes_is_not_mounted_twice(app: App, tmp_path: Path) -> None:
    only: dict[str, Any] = {"read_only": True}
    found = of(
        app,
        tmp_path,
        {"web": [bind(".", **only)], "nginx": [bind("conf/sub", **only), bind("conf/site.conf")]},
    )
    assert found.inner(".") == []


# ---- configs and secrets -------------------------------------------------------------------------------------------

TEXTS = {
    "configs": {"a": {"content": "hello\n"}, "f": {"file": "conf/site.conf"}},
    "secrets": {"token": {"environment": "TOKEN"}},
}


def test_texts_become_private_files_under_a_name_of_their_own(app: App, tmp_path: Path) -> None:
    Secrets(app).store({"TOKEN": "geheim"})
    found = of(app, tmp_path, {}, **TEXTS)
    a, token = (
        Path(found.file(*which, {}, "image", store=False))
        for which in (("configs", "a"), ("secrets", "token"))
    )
    assert not names.private_files(app).exists()
    found.make(set())
    assert (a.read_text(), token.read_text()) == ("hello\n", "geheim")
    assert stat.S_IMODE(token.stat().st_mode) == 0o444
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700
    assert found.file("configs", "f", {}, "image", store=False) == found.instance("conf/site.conf")
    Secrets(app).store({"TOKEN": "other"})
    assert found.file("secrets", "token", {}, "image", store=False) != str(token)


def test_rights_make_another_file(app: App, tmp_path: Path) -> None:
    found = of(app, tmp_path, {}, **TEXTS)
    references: list[dict[str, str]] = [{}, {"mode": "0400"}, {"mode": "0400", "uid": "1000"}, {"gid": "5"}]
    for name in ("a", "f"):
        assert len({found.file("configs", name, r, "image", store=False) for r in references}) == len(
            references
        )
    with pytest.raises(ManifestError, match="not numbers"):
        found.file("configs", "a", {"mode": "0400", "uid": "www-data"}, "image", store=False)


def test_a_secret_that_nothing_gives_is_refused(app: App, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="TOKEN has no value"):
        of(app, tmp_path, {}, **TEXTS).file("secrets", "token", {}, "image", store=False)


def test_what_no_kept_file_names_is_removed(app: App, tmp_path: Path) -> None:
    Secrets(app).store({"TOKEN": "geheim"})
    found = of(app, tmp_path, {}, **TEXTS)
    kept, _ = (
        found.file(*which, {}, "image", store=False) for which in (("configs", "a"), ("secrets", "token"))
    )
    found.make(set())
    sources.remove_unused(app, f"source: {kept}")
    assert [str(path) for path in names.private_files(app).iterdir()] == [kept]


@pytest.mark.parametrize(
    ("path", "reference", "said"),
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
def test_a_file_of_the_host_keeps_its_own_rights(path: str, reference: dict[str, str], said: str) -> None:
    web = {"secrets": [{"source": "key", **reference}]}
    found = sources.remarks({"services": {"web": web}, "secrets": {"key": {"file": path}}})
    assert found == ([said] if said else [])
