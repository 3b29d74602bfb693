"""Access to files of a tree: links are followed inside it, and nothing leads out, even during concurrent
changes."""

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pushrod.system import trees


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree beside a secret: a/b/file, and links of every kind."""
    (tmp_path / "secret").write_text("secret")
    top = tmp_path / "tree"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "b" / "file").write_text("mine")
    (top / "run").write_text("#!/bin/sh\n")
    (top / "run").chmod(0o4755)
    (top / "to-b").symlink_to("a/b")
    (top / "a" / "up").symlink_to("../run")
    return top


@pytest.mark.parametrize(
    ("path", "leads"),
    [
        ("a/b/file", "a/b/file"),
        ("./a//b/", "a/b"),
        (".", "."),
        ("", "."),
        ("to-b/file", "a/b/file"),
        ("to-b/../up", "run"),
        ("a/b/../../run", "run"),
    ],
)
def test_a_path_resolves_as_in_the_kernel(tree: Path, path: str, leads: str) -> None:
    assert trees.resolve(tree, path) == trees.Place(tuple(w for w in leads.split("/") if w != "."), True)
    assert (tree / leads).samefile(tree / path)


@pytest.mark.parametrize(
    ("path", "leads"),
    [("new", "new"), ("to-b/new/er", "a/b/new/er"), ("new/../other", "other"), ("a/x/../../y", "y")],
)
def test_a_missing_path_resolves_to_its_future_place(tree: Path, path: str, leads: str) -> None:
    assert trees.resolve(tree, path) == trees.Place(tuple(leads.split("/")), False)


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("../secret", errno.EXDEV),
        ("/etc/passwd", errno.EXDEV),
        ("a/../../secret", errno.EXDEV),
        ("new/../../secret", errno.EXDEV),
        ("out", errno.EXDEV),
        ("absolute/secret", errno.EXDEV),
        ("out/..", errno.EXDEV),
        ("circle", errno.ELOOP),
        ("run/below", errno.ENOTDIR),
        ("a\0b", errno.EXDEV),
    ],
)
def test_a_path_out_of_the_tree_is_refused(tree: Path, path: str, number: int) -> None:
    (tree / "out").symlink_to("../secret")
    (tree / "absolute").symlink_to(tree.parent)
    (tree / "circle").symlink_to("circle")
    with pytest.raises(OSError) as refused:
        trees.resolve(tree, path)
    assert refused.value.errno == number
    with pytest.raises(OSError):
        trees.read(tree, path)


def test_only_files_and_directories_are_opened(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    with pytest.raises(OSError) as refused:
        trees.read(tree, "pipe")
    assert refused.value.errno == errno.EINVAL
    with pytest.raises(FileNotFoundError):
        trees.read(tree, "none")


def test_a_file_above_the_size_limit_is_not_read(tree: Path) -> None:
    assert trees.read(tree, "a/b/file", 4) == b"mine"
    with pytest.raises(OSError) as refused:
        trees.read(tree, "a/b/file", 3)
    assert refused.value.errno == errno.EFBIG


@pytest.mark.parametrize(
    ("shared", "directory", "file", "program"), [(False, 0o755, 0o644, 0o755), (True, 0o777, 0o666, 0o777)]
)
def test_a_copy_has_new_files_with_plain_modes(
    tree: Path, tmp_path: Path, shared: bool, directory: int, file: int, program: int
) -> None:
    """No set-ID bit of another account, and no hard link, is copied."""
    (tree / "a" / "twin").hardlink_to(tree / "a" / "b" / "file")
    copy = tmp_path / "copy"
    trees.copy(tree, ".", copy, shared=shared)
    modes = {
        str(p.relative_to(copy)): p.lstat().st_mode & 0o7777 for p in copy.rglob("*") if not p.is_symlink()
    }
    assert modes == {"a": directory, "a/b": directory, "a/b/file": file, "a/twin": file, "run": program}
    assert copy.stat().st_mode & 0o7777 == directory
    assert {p.stat().st_nlink for p in copy.rglob("*") if p.is_file()} == {1}
    assert str((copy / "to-b").readlink()) == "a/b"
    assert (copy / "run").stat().st_mtime_ns == (tree / "run").stat().st_mtime_ns


def test_a_file_or_the_target_of_a_link_is_copied(tree: Path, tmp_path: Path) -> None:
    trees.copy(tree, "a/up", tmp_path / "one")
    assert (tmp_path / "one").read_text() == "#!/bin/sh\n"
    trees.copy(tree, "to-b", tmp_path / "two")
    assert (tmp_path / "two" / "file").read_text() == "mine"
    with pytest.raises(FileExistsError):
        trees.copy(tree, "a/up", tmp_path / "one")


def test_followed_links_become_files_and_stay_inside_the_copied_tree(tree: Path, tmp_path: Path) -> None:
    (tree / "a" / "alias").symlink_to("b/file")
    (tree / "a" / "up").unlink()
    trees.copy(tree, "a", tmp_path / "copy", follow=True, leave_out=lambda name: name.startswith("."))
    assert (tmp_path / "copy" / "alias").read_text() == "mine"
    assert not (tmp_path / "copy" / "alias").is_symlink()
    (tree / "a" / "out").symlink_to("../run")  # inside the tree, but outside of what is copied
    with pytest.raises(OSError):
        trees.copy(tree, "a", tmp_path / "other", follow=True)


def test_a_digest_covers_names_links_contents_and_executable_bits(tree: Path, tmp_path: Path) -> None:
    trees.copy(tree, ".", tmp_path / "copy")
    before = trees.digest(tree, ".")
    assert trees.digest(tmp_path / "copy", ".") == before
    assert trees.digest(tree, "run") != trees.digest(tree, "a/b/file")
    seen = {before}
    for change in (
        lambda: (tree / "run").chmod(0o644),
        lambda: (tree / "a" / "b" / "file").write_text("other"),
        lambda: (tree / "a" / "b" / "file").rename(tree / "a" / "file"),
        lambda: (tree / "to-b").unlink(),
        lambda: (tree / "to-b").symlink_to("a"),
        lambda: (tree / "run").unlink(),
    ):
        change()
        seen.add(trees.digest(tree, "."))
    assert len(seen) == 7


@pytest.mark.slow
def test_a_deep_tree_needs_few_descriptors(tmp_path: Path) -> None:
    deep = tmp_path / "deep"
    deep.mkdir()
    with trees.top(deep) as top:
        trees.make_directory(top, ("d",) * 700, mode=0o755)
    before = len([*Path("/proc/self/fd").iterdir()])
    trees.copy(deep, ".", tmp_path / "copy")
    assert len([*Path("/proc/self/fd").iterdir()]) == before
    assert trees.resolve(tmp_path / "copy", "/".join("d" * 700)).there


# ---- concurrent changes
# -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def swapping(place: Path, outside: str, spare: Path) -> Iterator[None]:
    """A thread that repeatedly replaces a directory or file by a link to `outside` and restores it."""
    stop = threading.Event()
    link = spare / "link"
    link.symlink_to(outside)

    def swap() -> None:
        while not stop.is_set():
            place.rename(spare / "real")
            link.rename(place)
            place.rename(link)
            (spare / "real").rename(place)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _read(tree: Path, _: Path) -> str:
    return trees.read(tree, "a/b/file").decode()


def _copied(tree: Path, target: Path) -> str:
    trees.copy(tree, "a", target)
    linked = any(path.is_symlink() for path in (target / "b", target / "b" / "file"))
    return "mine" if linked else (target / "b" / "file").read_text()


def _followed(tree: Path, target: Path) -> str:
    trees.copy(tree, "a", target, follow=True)
    return (target / "b" / "file").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("act", [_read, _copied, _followed])
@pytest.mark.parametrize("swapped", ["a", "a/b", "a/b/file"])
def test_a_racing_link_does_not_lead_out_of_the_tree(
    tmp_path: Path, act: Callable[[Path, Path], str], swapped: str
) -> None:
    """The outside has the same structure with other content, so that a step that follows the link succeeds."""
    for top, text in ((tmp_path / "tree", "mine"), (tmp_path / "outside", "secret")):
        (top / "a" / "b").mkdir(parents=True)
        (top / "a" / "b" / "file").write_text(text)
    spare = tmp_path / "spare"
    spare.mkdir()
    seen: set[str] = set()
    with swapping(tmp_path / "tree" / swapped, str(tmp_path / "outside" / swapped), spare):
        for number in range(400):
            with contextlib.suppress(OSError):
                seen.add(act(tmp_path / "tree", tmp_path / f"copy-{number}"))
    assert seen <= {"mine"}
    seen.add(act(tmp_path / "tree", tmp_path / "at-rest"))
    assert seen == {"mine"}
