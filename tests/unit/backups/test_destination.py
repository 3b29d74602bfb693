"""A directory of backups: each one in it is complete, and a failed one is never listed."""

import hashlib
import resource
from pathlib import Path

import pytest

from pushrod.backups import destination
from pushrod.backups.destination import RECORD, Directory
from pushrod.core.errors import StoreError
from pushrod.system import files, streams

NAME = "2026-01-02T03-04-05Z"
LARGE = bytes(range(256)) * 4096  # many blocks


@pytest.fixture
def place(tmp_path: Path) -> Directory:
    return Directory(tmp_path / "backups")


def make(place: Directory, name: str = NAME, content: bytes = LARGE) -> streams.Measured:
    with place.begin() as draft:
        with draft.write("db.dump") as sink:
            for at in range(0, len(content), 1000):
                sink.write(content[at : at + 1000])
        with draft.read("db.dump") as source:
            assert streams.digest(source) == sink.sha256
        draft.finish(name, b"{}")
    return sink


def test_written_files_are_read_back_and_measured(place: Directory) -> None:
    assert place.names() == []
    sink = make(place)
    assert place.names() == [NAME]
    with place.read(NAME, "db.dump") as source:
        assert source.read() == LARGE
    assert (sink.size, sink.sha256) == (len(LARGE), hashlib.sha256(LARGE).hexdigest())
    at = place.path / NAME
    modes = [oct(p.stat().st_mode & 0o777) for p in (place.path, at, at / "db.dump", at / RECORD)]
    assert modes == ["0o700", "0o700", "0o600", "0o600"]


def test_the_newest_is_first_and_backups_without_a_record_are_omitted(place: Directory) -> None:
    for name in (NAME, "2026-02-01T00-00-00Z"):
        make(place, name)
    (place.path / "2026-03-01T00-00-00Z").mkdir()
    (place.path / "mine").mkdir()
    assert place.names() == ["2026-02-01T00-00-00Z", NAME]


def test_a_dump_that_fails_in_the_middle_leaves_no_backup(place: Directory) -> None:
    make(place)
    with pytest.raises(StoreError, match="gone"), place.begin() as draft, draft.write("db.dump") as sink:
        sink.write(LARGE)
        raise StoreError("the server is gone")
    assert [p.name for p in place.path.iterdir()] == [NAME]


def test_a_write_error_is_reported_and_leaves_no_backup(place: Directory) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(LARGE) // 2, before[1]))
    try:
        with pytest.raises(StoreError, match=r"cannot be written: file too large") as caught:
            make(place)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.where.endswith("db.dump")
    assert not list(place.path.iterdir())


def test_an_endless_dump_leaves_free_disk_space(place: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "free_space", lambda _: destination.SPARE - 1)
    block, sent = bytes(1 << 20), []
    with (
        pytest.raises(StoreError, match="no space left on device: its last 268 mb stay free"),
        place.begin() as draft,
        draft.write("db.dump") as sink,
    ):
        for n in range(32):
            sink.write(block)
            sent.append(n)
    assert 8 < len(sent) < 24
    assert not list(place.path.iterdir())


def test_remains_of_an_interrupted_backup_are_removed(place: Directory) -> None:
    (place.path / ".new").mkdir(parents=True)
    (place.path / ".new" / RECORD).write_text("{}")
    assert place.names() == []
    make(place)
    assert [p.name for p in place.path.iterdir()] == [NAME]


def test_a_backup_is_removed(place: Directory) -> None:
    make(place)
    place.remove(NAME)
    assert place.names() == []
    assert not list(place.path.iterdir())
    with pytest.raises(FileNotFoundError), place.read(NAME, "db.dump"):
        pass
