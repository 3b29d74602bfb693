"""Where the mounts of a service are on this machine, and what becomes of them."""

from pathlib import Path

import pytest

from pushrod.core.errors import ManifestError
from pushrod.core.values import Volume
from pushrod.engines.embedded import volumes
from pushrod.engines.embedded.volumes import Layout
from pushrod.state.apps import App
from pushrod.system import files
from pushrod.system.accounts import Account
from tests.unit.samples import service

MEDIA = Volume("media", "/code/media")
SCRATCH = Volume("", "/code/scratch", tmpfs="mode=1777,size=1m")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("backend/app.py", "backend/media/first.txt", "conf/settings.txt", "uploads/.gitkeep"):
        files.write(tmp_path / "checkout" / name, name)
    return tmp_path / "checkout"


@pytest.fixture
def layout(checkout: Path) -> Layout:
    return Layout("/code", checkout / "backend")


def places(app: App, layout: Layout, checkout: Path, *given: Volume) -> dict[str, str]:
    mounts = volumes.of(app, service(volumes=given), layout, checkout)
    places = volumes.places(mounts, layout, None)
    return {target: str(Path(p).relative_to(checkout.parent)) for p, target, _ in places}


def test_data_are_in_the_directory_of_the_app_and_the_commits_files_in_the_checkout(
    app: App, layout: Layout, checkout: Path
) -> None:
    result = places(
        app,
        layout,
        checkout,
        Volume("", "/code/node_modules"),
        Volume("", "/var/cache/shop"),
        Volume("uploads", "/code/static/uploads", bind=True),
        Volume("var/new", "/new", bind=True),
        Volume("conf/settings.txt", "/etc/shop.txt", bind=True),
        Volume("backend", "/code", bind=True),
        Volume("/var/run/docker.sock", "/var/run/docker.sock", bind=True),
        Volume("../outside", "/outside", bind=True),
        MEDIA,
    )
    own = app.directory.relative_to(checkout.parent)
    assert result == {
        "/new": f"{own}/data/var%2Fnew",
        "/code/media": f"{own}/volumes/media",
        "/etc/shop.txt": "checkout/conf/settings.txt",
        "/var/cache/shop": f"{own}/volumes/backend%3A%2Fvar%2Fcache%2Fshop",
        "/code/static/uploads": f"{own}/data/uploads",
    }
    assert [target.count("/") for target in result] == [1, 2, 2, 3, 3]


def test_a_volume_without_a_name_is_kept_where_the_release_has_no_files(
    app: App, layout: Layout, checkout: Path
) -> None:
    files.write(checkout / "backend" / "avatars" / ".gitkeep", "")
    given = [Volume("", f"/code/{name}") for name in ("uploads", "avatars", "media", "node_modules", ".")]
    result = places(app, layout, checkout, *given)
    assert {*result} == {"/code/uploads", "/code/avatars"}
    mounts = volumes.of(app, service(volumes=tuple(given)), layout, checkout)
    volumes.prepare(mounts, layout, [], checkout, None)
    volumes.link(mounts, layout, None)
    (checkout / "backend" / "uploads" / "one").touch()
    assert {*places(app, layout, checkout, *given)} == {"/code/uploads", "/code/avatars"}

    built = Layout("/app", checkout / "built", built=True)
    up = Volume("", "/app/up")
    assert {*places(app, built, checkout, up)} == {str(checkout / "built" / "up")}
    volumes.check(app, service(volumes=(up,)), built, checkout, "no namespaces", lambda _: True)


def test_a_build_that_releases_share_shows_only_data(app: App, checkout: Path) -> None:
    built = Layout("/app", checkout / "built", built=True)
    result = places(
        app, built, checkout, Volume("backend", "/app", bind=True), Volume("up", "/app/up"), MEDIA
    )
    own = app.directory.relative_to(checkout.parent)
    up = str(checkout / "built" / "up")  # the program's own directory, by whatever name it asks
    assert result == {up: f"{own}/volumes/up", "/code/media": f"{own}/volumes/media"}


def test_each_mount_has_its_options_and_memory_belongs_to_the_account(
    app: App, layout: Layout, checkout: Path
) -> None:
    given = (SCRATCH, Volume("conf", "/conf", bind=True, read_only=True))
    mounts = volumes.of(app, service(volumes=given), layout, checkout)
    owner = Account("nobody", 65534, 65533)
    assert volumes.places(mounts, layout, owner) == [
        (str(checkout / "conf"), "/conf", "ro"),
        ("tmpfs", "/code/scratch", "mode=1777,size=1m,uid=65534,gid=65533"),
    ]


def test_a_new_volume_has_what_the_image_has_there_and_an_old_one_keeps_its_own(
    app: App, layout: Layout, checkout: Path
) -> None:
    for text in ("one", "two"):
        files.write(checkout / "backend" / "media" / "first.txt", text)
        mounts = volumes.of(app, service(volumes=(MEDIA, Volume("conf", "/conf"))), layout, checkout)
        volumes.prepare(mounts, layout, [("conf", "/conf")], checkout, None)
    assert (app.directory / "volumes" / "media" / "first.txt").read_text() == "one"
    assert (app.directory / "volumes" / "conf" / "settings.txt").read_text() == "conf/settings.txt"


def test_without_namespaces_data_are_linked_below_the_working_directory(
    app: App, layout: Layout, checkout: Path
) -> None:
    mounts = volumes.of(app, service(volumes=(MEDIA, SCRATCH)), layout, checkout)
    volumes.prepare(mounts, layout, [], checkout, None)
    for _ in range(2):
        volumes.link(mounts, layout, None)
    (checkout / "backend" / "media" / "new.txt").write_text("new")
    assert (checkout / "backend" / "scratch").is_dir()
    assert sorted(p.name for p in (app.directory / "volumes" / "media").iterdir()) == ["first.txt", "new.txt"]


@pytest.mark.parametrize(
    ("volume", "refusal", "words"),
    [
        (MEDIA, "", ""),
        (MEDIA, "no", ""),
        (SCRATCH, "no", ""),
        (Volume("", "/scratch", tmpfs="mode=1777"), "", ""),
        (
            Volume("", "/scratch", tmpfs="mode=1777"),
            "no",
            "`a tmpfs` cannot be mounted at /scratch: the kernel",
        ),
        (Volume("", "/tmp", tmpfs="mode=1777"), "no", ""),
        (
            Volume("", "/usr", tmpfs="mode=1777"),
            "",
            "`a tmpfs` cannot be mounted at /usr, which this machine",
        ),
        (Volume("backend", "/code", bind=True), "no", ""),
        (Volume("media", "/data"), "", ""),
        (Volume("media", "/data"), "no", "`media` cannot be mounted at /data: the kernel"),
        (Volume("conf", "/conf", bind=True), "no", "`conf` cannot be mounted at /conf: the kernel"),
        (
            Volume("shop.db", "/data/shop.db", bind=True),
            "",
            "the file `shop.db`, mounted at /data/shop.db, is not in",
        ),
        (Volume("media", "/usr"), "", "`media` cannot be mounted at /usr, which this machine needs"),
    ],
)
def test_what_cannot_be_mounted_is_refused_with_service_and_path(
    app: App, layout: Layout, checkout: Path, volume: Volume, refusal: str, words: str
) -> None:
    def check() -> None:
        one = service(volumes=(volume,))
        volumes.check(app, one, layout, checkout, refusal, lambda target: target != "/usr")

    if not words:
        check()
        return
    with pytest.raises(ManifestError) as refused:
        check()
    assert f"backend: {words}" in refused.value.what
    assert refused.value.where == f"services.backend.{'tmpfs' if volume.tmpfs else 'volumes'}"
    assert refused.value.hint


def test_a_path_of_the_machine_gets_a_note_unless_it_is_there_anyway() -> None:
    same = Volume("/var/run/docker.sock", "/var/run/docker.sock", bind=True)
    (note,) = volumes.notes(service(volumes=(same, Volume("/srv/media", "/media", bind=True), MEDIA)), "")
    assert "/srv/media at /media" in note
    assert "docker.sock" not in note


def test_what_a_mount_does_not_have_here_is_noted() -> None:
    closed, memory = Volume("conf", "/conf", read_only=True), Volume("", "/run", tmpfs="mode=1777")
    assert [*volumes.notes(service(volumes=(closed, SCRATCH), read_only=True), "")] == []
    (own,) = volumes.notes(service(volumes=(memory,)), "no")
    assert "`tmpfs` at /run is the machine's own directory" in own
    for one in (service(volumes=(closed,)), service(read_only=True)):
        (note,) = volumes.notes(one, "no")
        assert note.startswith("backend: `read_only` not applied: the kernel of this machine refuses")
