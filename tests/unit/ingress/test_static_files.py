"""The files of a commit that the edge serves itself, and how long they are cached."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from pushrod.core.errors import ManifestError
from pushrod.core.values import Route, Routing
from pushrod.ingress.static_files import Static
from pushrod.state.apps import App
from pushrod.system import files
from tests.unit.ingress.places import places

PAGES = Routing((Route("/assets/", files="dist/assets"), Route("/", files="dist", fallback="index.html")))


@pytest.fixture
def static(app: App, tmp_path: Path) -> Static:
    return Static(app, places(tmp_path))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return tmp_path / "checkout"


def write(directory: Path, *names: str) -> None:
    for name in names:
        files.write(directory / name, name)


def below(directory: Path) -> list[str]:
    return sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())


def release(static: Static, checkout: Path, number: int, *names: str) -> None:
    """Publish a release whose commit has these files, as the switch does."""
    files.remove_tree(checkout)
    write(checkout, *names)
    static.publish(number, Routing((Route("/", files="dist"),)), checkout)


def test_files_are_published_at_the_path_of_their_route(static: Static, checkout: Path) -> None:
    write(checkout, "dist/index.html", "dist/assets/app-BWgbA4nX.js", "other/x.txt")
    static.check(PAGES, checkout)
    static.publish(7, PAGES, checkout)
    assert below(static.directory) == [
        "7/0/assets/app-BWgbA4nX.js",
        "7/1/assets/app-BWgbA4nX.js",
        "7/1/index.html",
    ]


def test_hidden_files_are_not_published_except_well_known(static: Static, checkout: Path) -> None:
    write(
        checkout,
        "dist/.env",
        "dist/.git/config",
        "dist/a/.htpasswd",
        "dist/.well-known/security.txt",
        "dist/a/b",
    )
    static.publish(1, Routing((Route("/", files="dist"),)), checkout)
    assert below(static.directory / "1" / "0") == [".well-known/security.txt", "a/b"]


def test_published_files_are_replaced(static: Static, checkout: Path) -> None:
    release(static, checkout, 1, "dist/old.txt")
    release(static, checkout, 1, "dist/new.txt")
    assert below(static.directory) == ["1/0/new.txt"]


def test_published_files_are_readable_by_everyone_whatever_the_umask(static: Static, checkout: Path) -> None:
    write(checkout, "dist/a/app-BWgbA4nX.js")
    (checkout / "dist/a").chmod(0o700)
    (checkout / "dist/a/app-BWgbA4nX.js").chmod(0o600)
    before = os.umask(0o077)
    try:
        static.publish(1, Routing((Route("/x/y/", files="dist"),)), checkout)
        static.pool([1])
    finally:
        os.umask(before)
    places = [static.directory, *static.directory.rglob("*")]
    assert {stat.S_IMODE(p.stat().st_mode) for p in places if p.is_dir()} == {0o755}
    assert {stat.S_IMODE(p.stat().st_mode) for p in places if p.is_file()} == {0o644}


def test_the_pool_has_the_hashed_files_of_all_kept_releases(static: Static, checkout: Path) -> None:
    release(static, checkout, 1, "dist/a/app-0000aaaa.js", "dist/index.html", "dist/logo.png")
    release(static, checkout, 2, "dist/a/app-0000bbbb.js", "dist/index.html")
    static.pool([1, 2])
    pool = static.directory / "pool"
    assert below(pool) == ["a/app-0000aaaa.js", "a/app-0000bbbb.js"]
    assert (pool / "a/app-0000aaaa.js").samefile(static.directory / "1/0/a/app-0000aaaa.js")
    static.remove(1)
    static.pool([2])
    assert below(static.directory) == ["2/0/a/app-0000bbbb.js", "2/0/index.html", "pool/a/app-0000bbbb.js"]
    static.remove_all()
    assert not static.directory.exists()


@pytest.mark.parametrize("numbers", [[1, 2], [2, 1]])
def test_a_file_that_is_a_directory_in_another_release_is_skipped(
    static: Static, checkout: Path, numbers: list[int]
) -> None:
    release(static, checkout, 1, "dist/a-0000aaaa.js")
    release(static, checkout, 2, "dist/a-0000aaaa.js/b-0000bbbb.js", "dist/c-0000cccc.js")
    static.pool(numbers)
    assert "c-0000cccc.js" in below(static.directory / "pool")


@pytest.mark.parametrize(
    ("name", "pooled"),
    [
        *[
            (name, True)
            for name in ("index-BWgbA4nX.js", "main.3f2a9c1b.css", "a.3f2a9c1b.js.map", "x-abcdefgh.woff2")
        ],
        *[
            (name, False)
            for name in ("index.html", "jquery.min.js", "a-b.css", "3f2a9c1b.js", "x-3f2a9c1.js")
        ],
    ],
)
def test_only_file_names_with_a_content_hash_are_pooled(
    static: Static, checkout: Path, name: str, *, pooled: bool
) -> None:
    release(static, checkout, 1, f"dist/{name}")
    static.pool([1])
    assert below(static.directory / "pool") == ([name] if pooled else [])


# ---- what is refused ------------------------------------------------------------------------------------------


def refused(static: Static, checkout: Path, **route: Any) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        static.check(Routing((Route("/", **{"files": "dist", **route}),)), checkout)
    assert caught.value.hint
    return caught.value


def test_a_missing_directory_is_refused(static: Static, checkout: Path) -> None:
    write(checkout, "frontend/package.json")
    error = refused(static, checkout)
    assert (error.what, error.where) == ("the commit has no directory `dist`", "routes./.files")
    assert "serve them from its image" in error.hint


def test_a_directory_that_will_be_built_is_not_missed(static: Static, checkout: Path) -> None:
    routing = Routing((Route("/", files="dist"),))
    static.check(routing, checkout, lambda directory: directory == "dist")
    with pytest.raises(ManifestError):
        static.check(routing, checkout, lambda directory: directory == "other")


def test_a_file_instead_of_a_directory_is_refused(static: Static, checkout: Path) -> None:
    write(checkout, "dist")
    assert "no directory" in refused(static, checkout).what


def test_a_missing_fallback_file_is_refused(static: Static, checkout: Path) -> None:
    write(checkout, "dist/a.txt")
    error = refused(static, checkout, fallback="index.html")
    assert (error.what, error.where) == ("`dist` has no file `index.html`", "routes./.try")


def test_a_directory_outside_the_repository_is_refused(
    static: Static, checkout: Path, tmp_path: Path
) -> None:
    write(tmp_path, "outside/key.pem", "checkout/x")
    (checkout / "dist").symlink_to("../outside")
    assert "no directory" in refused(static, checkout).what


@pytest.mark.parametrize(
    "target", ["../secret", "/etc/passwd", "nothing", ".", "..", "a", "loop"], ids=["above", *"rndpal"]
)
def test_a_link_to_anything_but_a_file_of_the_directory_is_refused(
    static: Static, checkout: Path, target: str
) -> None:
    write(checkout, "secret", "dist/a/b.txt")
    (checkout / "dist/loop").symlink_to(target)
    assert refused(static, checkout).where == "dist/loop"


def test_a_link_to_a_file_of_the_directory_is_published_as_a_copy(static: Static, checkout: Path) -> None:
    write(checkout, "dist/a/b.txt")
    (checkout / "dist/c.txt").symlink_to("a/b.txt")
    routing = Routing((Route("/", files="dist"),))
    static.check(routing, checkout)
    static.publish(1, routing, checkout)
    assert not (static.directory / "1/0/c.txt").is_symlink()
    assert (static.directory / "1/0/c.txt").read_text() == "dist/a/b.txt"


def test_data_of_the_app_are_served_by_a_link_beside_the_files_of_the_release(
    static: Static, app: App, checkout: Path
) -> None:
    write(app.directory / "volumes/media", "later-BWgbA4nX.png")
    write(checkout, "static/a.css")
    routing = Routing(
        (
            Route("/static/", files="static", volume="volumes/static"),
            Route("/media", volume="volumes/media"),
            Route("/new/", files="not/built", volume="volumes/new"),
        )
    )
    static.check(routing, checkout)
    for _ in range(2):
        static.publish(7, routing, checkout)
    static.pool([7])
    assert below(static.directory) == ["7/0/static/a.css"]
    media = static.directory / "7/data/1/media"
    assert not media.readlink().is_absolute()
    assert (media / "later-BWgbA4nX.png").is_file()
    static.remove(7)
    assert (app.directory / "volumes/media/later-BWgbA4nX.png").is_file()
