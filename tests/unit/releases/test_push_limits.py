"""How much a commit may hold: known before any of it is written."""

import contextlib
import os
import random
import time
from pathlib import Path

import msgspec
import pytest

from pushrod.adapters import git
from pushrod.core import limits
from pushrod.core.errors import HostError, RepositoryError
from pushrod.core.limits import Limits, Machine
from pushrod.releases import push_limits
from pushrod.system import files, locks, processes
from tests.conftest import Tree

MOST = limits.defaults(Machine(memory=4 << 30, cpus=2, tasks=10_000))


def most(**changed: int) -> Limits:
    return msgspec.structs.replace(MOST, **changed)


def mktree(tree: Tree, entries: str) -> str:
    made = processes.run(["git", "-C", tree.path, "mktree"], stdin=entries, env=git.environment())
    assert made.status == 0, made.stderr
    return made.stdout.strip()


def commit_of(tree: Tree, oid: str) -> str:
    return tree.git("commit-tree", "-m", "bomb", oid).stdout.strip()


def bomb(tree: Tree, levels: int, width: int = 2, content: str = "") -> str:
    """A commit of `width ** levels` files, which are one, in as many directories as there are levels."""
    tree.write("seed", content)
    blob = tree.git("hash-object", "-w", "seed").stdout.strip()
    oid = mktree(tree, "".join(f"100644 blob {blob}\t{n}\n" for n in range(width)))
    for _ in range(levels - 1):
        oid = mktree(tree, "".join(f"040000 tree {oid}\t{n}\n" for n in range(width)))
    return commit_of(tree, oid)


def test_an_ordinary_commit_is_accepted(tree: Tree) -> None:
    commit = tree.commit("one", a="1", **{"b/c": "22"})
    assert [(b.path, b.size) for b in push_limits.measure(tree.path, commit, MOST)] == [("a", 1), ("b/c", 2)]


@pytest.mark.slow
@pytest.mark.parametrize("levels, width", [(17, 2), (10, 10), (40, 8)])
def test_a_tree_bomb_is_refused_without_listing_its_files(levels: int, width: int, tree: Tree) -> None:
    """The last one has 10 ** 36 files."""
    with pytest.raises(RepositoryError, match="limit tree-files of this host, 100000") as e:
        push_limits.measure(tree.path, bomb(tree, levels, width), MOST)
    assert "pushrod host limits tree-files=200000" in e.value.hint


def test_other_files_in_the_same_tree_are_counted(tree: Tree) -> None:
    commit = tree.commit("one", a="1" * 600)
    beside = push_limits.measure(tree.path, commit, most(tree_files=1, tree_size=1000))
    for limits_of, name in ((most(tree_files=1), "tree-files"), (most(tree_size=1000), "tree-size")):
        with pytest.raises(RepositoryError, match=name):
            push_limits.measure(tree.path, commit, limits_of, beside=beside)


@pytest.mark.slow
@pytest.mark.parametrize("leaf", ["nothing", "submodules"])
def test_directories_without_a_file_are_counted(leaf: str, tree: Tree) -> None:
    """Git would go through all of them, or make a directory of each, without ever coming to a file."""
    lines = "" if leaf == "nothing" else "".join(f"160000 commit {'1' * 40}\t{n}\n" for n in range(10))
    oid = mktree(tree, lines)
    for _ in range(12):
        oid = mktree(tree, "".join(f"040000 tree {oid}\t{n}\n" for n in range(10)))
    with pytest.raises(RepositoryError, match="limit tree-files"):
        push_limits.measure(tree.path, commit_of(tree, oid), MOST)


@pytest.mark.slow
def test_a_tree_that_is_large_by_repetition_is_refused(tree: Tree) -> None:
    commit = bomb(tree, 10, content="0" * (2 << 20) + "\n")
    with pytest.raises(RepositoryError, match="limit tree-size of this host, 1 GiB") as e:
        push_limits.measure(tree.path, commit, most(tree_size=1 << 30))
    assert "pushrod host limits tree-size=2048M" in e.value.hint


@pytest.mark.slow
def test_a_large_file_is_refused_by_name(tree: Tree) -> None:
    with (tree.path / "zeros").open("wb") as f:
        f.truncate(3 << 20)
    commit = tree.commit("zeros")
    with pytest.raises(RepositoryError, match="limit file-size of this host, 1 MiB: zeros has 3 MiB") as e:
        push_limits.measure(tree.path, commit, most(file_size=1 << 20))
    assert "pushrod host limits file-size=3M" in e.value.hint
    push_limits.measure(tree.path, commit, most(file_size=3 << 20))


@pytest.mark.slow
@pytest.mark.parametrize("depth, name", [(600, "d"), (5, "n" * 250), (20_000, "d")])
def test_a_path_that_is_too_long_is_refused(depth: int, name: str, tree: Tree) -> None:
    tree.write("seed", "x")
    blob = tree.git("hash-object", "-w", "seed").stdout.strip()
    oid = _chain(tree, f"100644 blob {blob}\tf\n", depth, name)
    with pytest.raises(RepositoryError, match=r"a path of|cannot be listed"):
        push_limits.measure(tree.path, commit_of(tree, oid), MOST)


def _chain(tree: Tree, entries: str, depth: int, name: str) -> str:
    """Directories in one another: written by one Git, which reads a stream of them (git-fast-import(1))."""
    path = "/".join([name] * depth) + "/f"
    stream = (
        "commit refs/heads/deep\ncommitter a <a@localhost> 1700000000 +0000\ndata 1\nx\n"
        f"M 100644 inline {path}\ndata 1\nx\n\n"
    )
    made = processes.run(
        ["git", "-C", tree.path, "fast-import", "--quiet"], stdin=stream, env=git.environment()
    )
    assert made.status == 0, made.stderr[-500:]
    return tree.git("rev-parse", "refs/heads/deep^{tree}").stdout.strip()


def test_a_name_that_is_too_long_is_refused(tree: Tree) -> None:
    tree.write("seed", "x")
    blob = tree.git("hash-object", "-w", "seed").stdout.strip()
    commit = commit_of(tree, mktree(tree, f"100644 blob {blob}\t{'n' * 256}\n"))
    with pytest.raises(RepositoryError, match="names of up to 256"):
        push_limits.measure(tree.path, commit, MOST)


def test_an_unknown_commit_is_an_error(tree: Tree) -> None:
    tree.commit("one", a="1")
    with pytest.raises(RepositoryError, match="cannot be listed"):
        push_limits.measure(tree.path, "1" * 40, MOST)


def test_a_checkout_needs_twice_its_size_on_disk(tmp_path: Path) -> None:
    push_limits.check_room([git.Blob("a", "", 1)], tmp_path)
    with pytest.raises(HostError, match="MiB are free"):
        push_limits.check_room([git.Blob("a", "", files.free_space(tmp_path) // 2)], tmp_path)


# ---- the repository -------------------------------------------------------------------------------------------


def filled(tree: Tree, directory: Path, age: float) -> Path:
    """A repository with a branch of one small commit, and 2 MiB that no ref leads to."""
    repository = directory / "repo.git"
    git.create_repository(repository, ["true"])
    small = tree.commit("one", a="1")
    (tree.path / "noise").write_bytes(random.Random(1).randbytes(2 << 20))
    large = tree.commit("two")
    for commit in (small, large):
        git.transfer(tree.path, repository, commit)
    git.move_branch(repository, small)
    then = time.time() - age
    for path in (repository / "objects").rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))
    return repository


@pytest.mark.slow
def test_a_full_repository_is_cleared_of_old_unreachable_objects(tree: Tree, tmp_path: Path) -> None:
    repository = filled(tree, tmp_path, age=7200)
    push_limits.check_repository(repository, most(repository_size=1 << 20), contextlib.nullcontext())
    assert git.size(repository) < 1 << 20
    assert git.branch_commit(repository)


@pytest.mark.slow
def test_recent_objects_are_kept_and_counted(tree: Tree, tmp_path: Path) -> None:
    """A push that is under way may need it."""
    repository = filled(tree, tmp_path, age=60)
    with pytest.raises(RepositoryError, match="limit repository-size of this host, 1 MiB") as e:
        push_limits.check_repository(repository, most(repository_size=1 << 20), contextlib.nullcontext())
    assert "pushrod host limits repository-size=2M" in e.value.hint
    push_limits.check_repository(repository, most(repository_size=1 << 30), contextlib.nullcontext())


@pytest.mark.slow
def test_nothing_is_cleared_while_a_release_is_made(tree: Tree, tmp_path: Path) -> None:
    repository = filled(tree, tmp_path, age=7200)
    lock = tmp_path / "lock"
    with (
        locks.lock(lock, purpose="deploying", timeout=0),
        pytest.raises(RepositoryError, match="repository-size"),
    ):
        push_limits.check_repository(
            repository, most(repository_size=1 << 20), locks.lock(lock, purpose="clearing", timeout=0)
        )
    assert git.size(repository) > 2 << 20
