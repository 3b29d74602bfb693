"""Commits and their content."""

import pytest

from pushrod.adapters import git
from pushrod.core.errors import RepositoryError
from tests.conftest import Tree

ODD = ["a b", "ä", "new\nline", "ta\tb", 'quo"te', "-e", "HEAD:x", ":colon", "back\\slash", "deep/er"]


def test_a_name_means_a_commit(tree: Tree) -> None:
    first, second = tree.commit("one", a="1"), tree.commit("two", a="2")
    tree.git("tag", "--annotate", "v1", "--message", "x", first)
    assert git.resolve(tree.path, "HEAD") == git.resolve(tree.path, second[:9]) == second
    assert git.resolve(tree.path, "v1") == git.resolve(tree.path, "HEAD~1") == first
    assert git.is_commit(tree.path, first)
    assert not git.is_commit(tree.path, "0" * 40)
    assert git.is_ancestor(tree.path, first, second)
    assert not git.is_ancestor(tree.path, second, first)
    assert git.subject(tree.path, first) == "one"


def test_a_name_that_means_no_commit(tree: Tree) -> None:
    with pytest.raises(RepositoryError, match="no commit yet"):
        git.resolve(tree.path, "HEAD")
    tree.commit("one", a="1")
    for name in ("none", "HEAD:a", "--all", ""):
        with pytest.raises(RepositoryError, match="no commit `"):
            git.resolve(tree.path, name)


@pytest.mark.slow
def test_of_a_message_without_end_the_beginning_is_told(tree: Tree) -> None:
    tree.commit("one")
    message = tree.path / "message"
    message.write_text("ä" * 3_000_000)
    commit = tree.git("commit-tree", "-F", "message", "HEAD^{tree}").stdout.strip()
    assert git.subject(tree.path, commit) == "ä" * 200 + "…"


def test_every_file_is_listed_whatever_its_name(tree: Tree) -> None:
    for name in ODD:
        tree.write(name, f"in {name}")
    (tree.path / "link").symlink_to("ä")
    commit = tree.commit("odd names")
    blobs = {b.path: b for b in git.tree(tree.path, commit)}
    assert sorted(blobs) == sorted([*ODD, "link"])
    for name in ODD:
        assert blobs[name].size == len(f"in {name}".encode())
    oids = [blobs[name].oid for name in ODD]
    assert list(git.contents(tree.path, oids)) == [(blobs[n].oid, f"in {n}".encode()) for n in ODD]
    assert list(git.contents(tree.path, [])) == []


def test_contents_that_are_not_there_are_an_error(tree: Tree) -> None:
    tree.commit("one", a="x")
    with pytest.raises(RepositoryError, match="cannot be read"):
        list(git.contents(tree.path, ["1" * 40], timeout=20))
