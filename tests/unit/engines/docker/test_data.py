"""The layout of an app's data, and the migration of an older pushrod's tree."""

import threading
from pathlib import Path

import pytest

from pushrod.core.errors import StateError
from pushrod.engines.docker import data
from pushrod.system import trees

PATHS = (
    "uploads",
    "media/photos",
    "media%2Fphotos",
    "media%252Fphotos",
    "a/b/c",
    "a%2Fb/c",
    "é/ü",
    "x" * 255,
    "x/" * 300 + "y",
)


def test_each_path_has_a_distinct_valid_file_name(tmp_path: Path) -> None:
    result = {data.name(tuple(path.split("/"))) for path in (*PATHS, "x/" * 301 + "y", "x" * 254)}
    assert len(result) == len(PATHS) + 2
    for name in result:
        (tmp_path / name).mkdir()
    assert data.name(("uploads",)) == "uploads"


def test_data_of_an_older_version_is_found_again(tmp_path: Path) -> None:
    """Also at the paths in its sealed files, which its releases mount."""
    old = tmp_path / "data" / "media" / "photos"
    old.mkdir(parents=True)
    (old / "one.jpg").write_text("photo")
    (tmp_path / "data" / "uploads").mkdir()
    (tmp_path / "data" / "uploads" / "file").write_text("upload")
    for _ in range(2):
        data.make(tmp_path / "data", ("media", "photos"))
        data.make(tmp_path / "data", ("uploads",))
        assert (tmp_path / "data" / "media%2Fphotos" / "one.jpg").read_text() == "photo"
        assert (old / "one.jpg").read_text() == "photo"
        assert (tmp_path / "data" / "uploads" / "file").read_text() == "upload"
    assert not (tmp_path / "data" / "media%2Fphotos").is_symlink()
    assert str(old.readlink()) == "../media%2Fphotos"


@pytest.mark.parametrize("link", ["/", "../../outside"])
def test_a_link_left_by_a_container_is_not_adopted(tmp_path: Path, link: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "data" / "media").mkdir(parents=True)
    (tmp_path / "data" / "media" / "photos").symlink_to(link)
    data.make(tmp_path / "data", ("media", "photos"))
    own = tmp_path / "data" / "media%2Fphotos"
    assert own.is_dir() and not own.is_symlink()


def test_a_link_above_the_directory_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside" / "photos").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "media").symlink_to(tmp_path / "outside")
    data.make(tmp_path / "data", ("media", "photos"))
    assert (tmp_path / "outside" / "photos").is_dir()
    assert list((tmp_path / "data" / "media%2Fphotos").iterdir()) == []


def test_a_link_instead_of_a_data_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "media%2Fphotos").symlink_to("/")
    with pytest.raises(StateError, match="is not a directory"):
        data.make(tmp_path / "data", ("media", "photos"))


@pytest.mark.slow
def test_a_race_during_adoption_does_not_mount_a_link(tmp_path: Path) -> None:
    """The attacker is a container of an older release that can still write above it."""
    stop = threading.Event()
    for number in range(150):
        place = tmp_path / str(number) / "data" / "media"
        (place / "photos").mkdir(parents=True)
        (place / "link").symlink_to("/")
    current = [tmp_path / "0" / "data" / "media"]

    def swap() -> None:
        while not stop.is_set():
            place = current[0]
            try:
                (place / "photos").rename(place / "real")
                (place / "link").rename(place / "photos")
                (place / "photos").rename(place / "link")
                (place / "real").rename(place / "photos")
            except OSError:
                continue  # it was taken over just now

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for number in range(150):
            current[0] = tmp_path / str(number) / "data" / "media"
            data.make(tmp_path / str(number) / "data", ("media", "photos"))
            own = tmp_path / str(number) / "data" / "media%2Fphotos"
            assert own.is_dir() and not own.is_symlink()
    finally:
        stop.set()
        thread.join()


def test_a_missing_directory_is_not_adopted(tmp_path: Path) -> None:
    with trees.top(tmp_path) as top:
        assert not data.adopt(top, ("media", "photos"))
        assert not data.adopt(top, ("uploads",))
