"""Files, tested with the real system."""

import errno
import os
import pwd
import signal
import threading
from pathlib import Path

import pytest

from pushrod.core.errors import HostError
from pushrod.system import accounts, files, processes
from tests.conftest import beside
from tests.unit.system.children import mode, names, python, root_only


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "owner and mode"),
        (errno.EROFS, "--root"),
        (errno.ENAMETOOLONG, "shorten that name"),
        (errno.EIO, ""),
    ],
)
def test_an_operating_system_error_has_a_place_and_a_hint(number: int, hint: str) -> None:
    error = files.os_error(OSError(number, os.strerror(number), "/srv/file"), "")
    assert (error.what, error.where) == (os.strerror(number).lower(), "/srv/file")
    assert hint in error.hint
    assert bool(hint) == bool(error.hint)


WRITER = """
import sys
from pathlib import Path
from pushrod.system import damaged_paths, files, tails
from pushrod.system import processes
while True:
    for letter in b"ab":
        files.write(Path(sys.argv[1]), bytes([letter]) * 300_000)
        print("written")
"""


def test_write_makes_directories_and_sets_the_mode(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c"
    files.write(path, "ä", mode=0o600)
    assert path.read_text() == "ä"
    assert mode(path) == 0o600
    files.write(path, b"\xff")
    assert path.read_bytes() == b"\xff"
    assert mode(path) == 0o644
    assert names(path.parent) == ["c"]


def test_write_replaces_the_name_not_the_open_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write(path, "old")
    with path.open() as reader:
        files.write(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


@pytest.mark.slow
def test_a_killed_writer_leaves_a_complete_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for _ in range(6):
        with beside(WRITER, path) as writer:
            assert writer.line() == "written"
            seen = {path.read_bytes() for _ in range(50)}
            writer.signal(signal.SIGKILL)
            writer.end()
        for content in (*seen, path.read_bytes()):
            assert len(content) == 300_000
            assert len(set(content)) == 1


def test_a_new_file_has_its_mode_and_replaces_none(tmp_path: Path) -> None:
    files.write_new(tmp_path / "a", "ä")
    assert (tmp_path / "a").read_text() == "ä"
    assert mode(tmp_path / "a") == 0o644
    with pytest.raises(FileExistsError):
        files.write_new(tmp_path / "a", "other")
    assert (tmp_path / "a").read_text() == "ä"


def test_paths_are_fsynced_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink()))
    (tmp_path / "sub").mkdir()
    paths = [tmp_path / name for name in ("sub/b", "a", "sub", "")]
    for path in paths[:2]:
        files.write_new(path, "text")
    files.sync(paths)
    assert synced == paths


def test_a_file_with_the_same_text_is_hard_linked(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    files.write_new(other, "ä")
    assert files.link_same(one, other, "ä")
    assert one.samefile(other)


@pytest.mark.parametrize("held", ["a", "äb", ""])
def test_a_file_with_another_text_is_not_linked(tmp_path: Path, held: str) -> None:
    files.write_new(tmp_path / "other", held)
    assert not files.link_same(tmp_path / "one", tmp_path / "other", "ä")
    assert names(tmp_path) == ["other"]


def test_a_private_file_is_not_linked(tmp_path: Path) -> None:
    files.write_new(tmp_path / "other", "ä", mode=0o600)
    assert not files.link_same(tmp_path / "one", tmp_path / "other", "ä")
    assert names(tmp_path) == ["other"]


def test_a_missing_file_or_a_failed_link_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not files.link_same(tmp_path / "one", tmp_path / "other", "")
    files.write_new(tmp_path / "other", "ä")

    def refused(*args: object, **more: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refused)
    assert not files.link_same(tmp_path / "one", tmp_path / "other", "ä")
    assert names(tmp_path) == ["other"]


def test_append_adds_a_line_and_keeps_the_content(tmp_path: Path) -> None:
    files.append(tmp_path / "file", "one", mode=0o600)
    files.append(tmp_path / "file", "zwei ä")
    assert (tmp_path / "file").read_text() == "one\nzwei ä\n"
    assert mode(tmp_path / "file") == 0o600


def test_append_fsyncs_the_directory_of_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(files, "sync_directory", synced.append)
    files.append(tmp_path / "file", "one")
    files.append(tmp_path / "file", "two")
    assert synced == [tmp_path]


@pytest.mark.parametrize("there", [False, True])
def test_a_moving_link_is_never_missing(tmp_path: Path, there: bool) -> None:
    link, releases = tmp_path / "live", tmp_path / "releases"
    for n in range(1, 60 if there else 1):
        (releases / str(n)).mkdir(parents=True)
    files.point(link, "releases/1")
    stop = threading.Event()
    missed: list[int] = []

    def watch() -> None:
        while not stop.is_set():
            if not link.is_symlink():
                missed.append(1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for n in range(2, 60):
        files.point(link, f"releases/{n}")
    stop.set()
    watcher.join()
    assert not missed
    assert link.readlink() == Path("releases/59")
    assert names(tmp_path) == (["live", "releases"] if there else ["live"])
    files.remove_link(link)
    files.remove_link(link)
    assert names(tmp_path) == (["releases"] if there else [])


def test_a_private_directory_is_accessible_only_to_its_owner(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    assert mode(files.make_private(tmp_path / "open")) == 0o700
    assert mode(files.make_private(tmp_path / "new" / "below")) == 0o700


def test_remove_tree_accepts_a_missing_tree(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    files.remove_tree(tmp_path / "a")
    files.remove_tree(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_free_space_is_in_bytes(tmp_path: Path) -> None:
    result = os.statvfs(tmp_path)
    assert abs(files.free_space(tmp_path) - result.f_bavail * result.f_frsize) < 1 << 30


def test_make_open_ignores_the_umask_and_keeps_existing_modes(
    tmp_path: Path,
) -> None:
    files.make_private(tmp_path / "a")
    before = os.umask(0o077)
    try:
        assert files.make_open(tmp_path / "a" / "b" / "c") == tmp_path / "a" / "b" / "c"
    finally:
        os.umask(before)
    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/c")] == [0o700, 0o755, 0o755]


def test_published_files_are_readable_by_all_and_keep_their_times(tmp_path: Path) -> None:
    for name in ("source/.secret", "source/a/.secret", "source/a/.hidden/b", "source/a/c"):
        files.write(tmp_path / name, name, mode=0o600)
    os.utime(tmp_path / "source/a/c", (1000, 2000))
    files.publish(tmp_path, "source", tmp_path / "to" / "target", lambda name: name.startswith("."))
    assert names(tmp_path / "to") == ["target"]
    assert sorted(
        str(p.relative_to(tmp_path / "to/target")) for p in (tmp_path / "to").rglob("*") if p.is_file()
    ) == ["a/c"]
    assert mode(tmp_path / "to/target/a/c") == 0o644
    assert (tmp_path / "to/target/a/c").stat().st_mtime == 2000


def test_a_failed_publication_leaves_nothing(tmp_path: Path) -> None:
    files.write(tmp_path / "source" / "a", "a")
    (tmp_path / "source" / "b").symlink_to("nowhere")
    with pytest.raises(HostError, match="no such file") as caught:
        files.publish(tmp_path, "source", tmp_path / "target", lambda _: False)
    assert caught.value.where == str(tmp_path / "source" / "b")
    assert names(tmp_path) == ["source"]


def test_a_hard_link_is_created_below_open_directories(tmp_path: Path) -> None:
    files.write(tmp_path / "a", "a")
    files.link(tmp_path / "a", tmp_path / "b" / "c" / "d")
    assert (tmp_path / "b/c/d").samefile(tmp_path / "a")
    with pytest.raises(FileExistsError):
        files.link(tmp_path / "a", tmp_path / "b" / "c" / "d")


@root_only
def test_owning_gives_a_file_to_the_account(outside: Path, account: pwd.struct_passwd) -> None:
    path = outside / "file"
    path.touch()
    files.own(path, None)
    assert path.stat().st_uid == 0
    files.own(path, accounts.child_account([outside]))
    assert path.stat().st_uid == account.pw_uid


def test_the_digest_of_a_file_is_sha256(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    # the test vector of FIPS 180-2, appendix B.1
    assert files.digest(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def limited(tmp_path: Path, source: str, limit: int) -> processes.Completed:
    """Run source in a process whose files cannot grow beyond `limit` bytes."""
    head = "import sys, resource\nfrom pathlib import Path\nfrom pushrod.system import files\n"
    head += f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
    return processes.run(python(head + source), cwd=tmp_path)


def test_a_failed_write_keeps_the_old_file_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    source = "try:\n    files.write(Path('file'), 'x' * 2000)\nexcept OSError as e:\n    print(e.errno)"
    done = limited(tmp_path, source, 1000)
    assert done.stdout.split() == [str(errno.EFBIG)], done.stderr
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


@root_only
def test_append_raises_when_the_disk_is_full(tmp_path: Path) -> None:
    source = "import errno, os\nfrom pathlib import Path\nfrom pushrod.system import files\n"
    source += "try:\n    while True:\n        files.append(Path('file'), 'y' * 1000)\nexcept OSError as e:\n"
    source += "    print(errno.errorcode[e.errno], e.filename or '')"
    mount = 'mount -t tmpfs -o size=16k tmpfs "$1" && cd "$1" && shift && exec "$@"'
    done = processes.run(["unshare", "--mount", "sh", "-c", mount, "sh", tmp_path, *python(source)])
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("no file system can be mounted here")
    assert done.stdout.split()[0] == "ENOSPC", done.stderr


def test_append_removes_a_partly_written_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x" * 990 + "\n")
    source = (
        "try:\n    files.append(Path('file'), 'y' * 50)\nexcept OSError as e:\n    print(e.errno, e.filename)"
    )
    done = limited(tmp_path, source, 1000)
    assert done.stdout.split() == [str(errno.ENOSPC), "file"], done.stderr
    assert (tmp_path / "file").read_text() == "x" * 990 + "\n"
