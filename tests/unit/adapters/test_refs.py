"""Reading a branch from its own file."""

from pathlib import Path

import pytest

from pushrod.adapters import git, refs
from tests.conftest import Tree

REF = f"refs/heads/{refs.BRANCH}"


@pytest.fixture
def repository(home: Path, tree: Tree, tmp_path: Path) -> Path:
    """An app's repository whose branch leads to the tree's one commit."""
    path = tmp_path / "repo.git"
    git.create_repository(path, ["true"])
    git.transfer(tree.path, path, tree.commit("one", a="1"))
    git.move_branch(path, tree.git("rev-parse", "HEAD").stdout.strip())
    return path


def test_a_branch_is_read_from_its_file(repository: Path) -> None:
    text = git.git(repository, "rev-parse", REF).strip()
    assert refs.loose(str(repository), REF) == git.branch_commit(repository) == text


def test_a_packed_branch_is_resolved_by_git(repository: Path) -> None:
    before = git.branch_commit(repository)
    git.git(repository, "pack-refs", "--all")
    assert refs.loose(str(repository), REF) == ""
    assert git.branch_commit(repository) == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "ref: refs/heads/other\n",
        f"{'1' * 39}\n",
        f"{'1' * 40}",
        f"{'0' * 40}\n",
        f"{'1' * 40}\n\n",
        "é\n",
    ],
)
def test_unexpected_content_of_a_ref_file_is_left_to_git(repository: Path, text: str) -> None:
    (repository / REF).write_text(text)
    assert refs.loose(str(repository), REF) == ""


def test_a_directory_or_a_missing_file_is_not_a_branch(tmp_path: Path) -> None:
    (tmp_path / REF).mkdir(parents=True)
    assert refs.loose(str(tmp_path), REF) == refs.loose(str(tmp_path), "refs/heads/none") == ""
