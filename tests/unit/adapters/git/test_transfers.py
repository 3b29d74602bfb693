"""Transfers between repositories, past the quarantine of a push."""

from pathlib import Path

import pytest

from pushrod.adapters import git
from pushrod.core.errors import RepositoryError
from tests.conftest import Tree
from tests.unit.adapters.git.making import with_hook

REFUSES = "sys.exit('refused')"


KEEPS = "git.transfer(repo, repo, sys.stdin.read().split()[1], quarantine=dict(os.environ))\n" + REFUSES


@pytest.mark.slow
def test_a_commit_is_copied_with_all_its_objects(repository: Path, tree: Tree) -> None:
    tree.commit("one", a="1", b="same")
    commit = tree.commit("two", a="2")
    git.transfer(tree.path, repository, commit)
    git.transfer(tree.path, repository, commit)
    assert git.git(repository, "log", "--format=%s", commit).split() == ["two", "one"]
    git.git(repository, "fsck", "--strict")
    assert not list(repository.glob("incoming-*"))


@pytest.mark.slow
def test_only_missing_objects_are_copied(repository: Path, tree: Tree) -> None:
    big = "".join(f"{n}\n" for n in range(20_000))
    first = tree.commit("one", big=big)
    git.transfer(tree.path, repository, first)
    git.tag(repository, "release/1", first, "one")
    packs = {p: p.stat().st_size for p in (repository / "objects" / "pack").glob("*.pack")}
    second = tree.commit("two", a="2")
    git.transfer(tree.path, repository, second)
    (new,) = set((repository / "objects" / "pack").glob("*.pack")) - set(packs)
    assert new.stat().st_size < 2000 < max(packs.values())
    git.git(repository, "fsck", "--strict")


def test_a_commit_of_an_unrelated_history_is_copied(repository: Path, tree: Tree, tmp_path: Path) -> None:
    """Objects that the repository has and the source lacks must not be requested from the source."""
    git.transfer(tree.path, repository, (first := tree.commit("one", a="1")))
    git.move_branch(repository, first)
    other = Tree(tmp_path / "other")
    other.path.mkdir()
    other.git("init", "--quiet")
    commit = other.commit("elsewhere", b="1")
    git.transfer(other.path, repository, commit)
    git.git(repository, "fsck", "--strict")
    assert git.is_commit(repository, commit)


def test_copying_an_unknown_commit_fails(repository: Path, tree: Tree) -> None:
    tree.commit("one", a="1")
    with pytest.raises(RepositoryError, match="pack-objects failed"):
        git.transfer(tree.path, repository, "1" * 40)
    assert not list(repository.glob("incoming-*"))


@pytest.mark.slow
def test_removing_the_pack_of_a_refused_commit_keeps_other_objects(tree: Tree, repository: Path) -> None:
    kept = tree.commit("kept", a="1")
    git.transfer(tree.path, repository, kept)
    git.move_branch(repository, kept)
    refused = tree.commit("refused", a="2", big="x" * 10_000)
    pack = git.transfer(tree.path, repository, refused)
    assert pack is not None
    assert git.is_commit(repository, refused)
    git.remove_pack(repository, refused, pack)
    assert not git.is_commit(repository, refused)
    assert git.is_commit(repository, kept)
    again = git.transfer(tree.path, repository, refused)
    assert again is not None
    git.move_branch(repository, refused)
    git.remove_pack(repository, refused, again)  # it is live meanwhile
    assert git.is_commit(repository, refused)
    assert git.git(repository, "fsck", "--full") == ""


@pytest.mark.parametrize(("source", "kept"), [(REFUSES, False), (KEEPS, True)], ids=["refuses", "keeps"])
@pytest.mark.slow
def test_a_copied_commit_survives_the_quarantine_of_a_refused_push(
    source: str, kept: bool, tmp_path: Path, tree: Tree
) -> None:
    repository = with_hook(tmp_path / "repo.git", source)
    tree.commit("one", a="1")
    commit = tree.commit("two", b="2")
    done = tree.git("push", str(repository), "HEAD:main", check=False)
    assert (done.returncode, "refused" in done.stderr) == (1, True)
    assert git.branch_commit(repository) == ""
    assert git.is_commit(repository, commit) == kept
    if kept:
        git.git(repository, "fsck", "--strict")
        git.checkout(repository, commit, tmp_path / "out")
        assert (tmp_path / "out" / "b").read_text() == "2"


@pytest.mark.slow
def test_a_push_of_a_known_commit_copies_nothing_from_quarantine(repository: Path, tree: Tree) -> None:
    older, newer = tree.commit("one", a="1"), tree.commit("two", a="2")
    git.transfer(tree.path, repository, newer)
    git.move_branch(repository, newer)
    git.transfer(repository, repository, older, quarantine={})
    git.git(repository, "fsck", "--strict")
