"""A developer's work tree and its remote."""

from pathlib import Path

import pytest

from pushrod.adapters import git
from pushrod.core.errors import RepositoryError
from tests.conftest import Tree


def test_the_work_tree_is_found_from_a_subdirectory(tree: Tree) -> None:
    (tree.path / "a" / "b").mkdir(parents=True)
    assert git.toplevel(tree.path / "a" / "b") == tree.path


def test_a_directory_that_is_missing_or_outside_a_repository_is_refused(home: Path, tmp_path: Path) -> None:
    (tmp_path / "it's").mkdir()
    with pytest.raises(RepositoryError, match="not a git repository") as e:
        git.toplevel(tmp_path / "it's")
    assert "init" in e.value.hint
    with pytest.raises(RepositoryError, match="no such directory"):
        git.toplevel(tmp_path / "none")


def test_a_remote_is_made_moved_and_removed(tree: Tree) -> None:
    assert git.remote_url(tree.path) == ""
    git.set_remote(tree.path, "/one")
    git.set_remote(tree.path, "/two")
    assert git.remote_url(tree.path) == "/two"
    git.remove_remote(tree.path)
    assert git.remote_url(tree.path) == ""
