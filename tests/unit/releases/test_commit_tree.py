"""A commit's tree, with files of Git LFS; submodules need a server (tests/integration/test_what_git_holds.py)."""

import hashlib
from pathlib import Path

import msgspec
import pytest

from pushrod.adapters import git
from pushrod.core.errors import PushrodError
from pushrod.releases import app_lifecycle, commit_tree
from pushrod.state.apps import App, Root
from tests.conftest import Tree
from tests.unit.engines.memory import Memory
from tests.unit.samples import LIMITS

STORED, LACKING = b"a picture", b"another picture"


def pointer(content: bytes) -> str:
    """The pointer that Git LFS commits in place of a file."""
    digest = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n"


@pytest.fixture
def shop(root: Root, tree: Tree) -> App:
    return app_lifecycle.create(Memory(root).engine, "shop", source=tree.path)


def commit(shop: App, tree: Tree) -> str:
    """A commit with a plain file and two pointers; the file of the first one is in the app's repository."""
    files = {"app.py": "pass\n", "here.png": pointer(STORED), "gone.png": pointer(LACKING)}
    made = tree.commit("pictures", **files)
    git.transfer(tree.path, shop.repository, made)
    digest = hashlib.sha256(STORED).hexdigest()
    place = shop.repository / "lfs" / "objects" / digest[:2] / digest[2:4]
    place.mkdir(parents=True)
    (place / digest).write_bytes(STORED)
    return made


def test_pointers_become_files_and_missing_ones_a_note(shop: App, tree: Tree, tmp_path: Path) -> None:
    checkout, noted = tmp_path / "checkout", list[str]()
    (note,) = commit_tree.write(shop, commit(shop, tree), checkout, LIMITS, noted.append)
    assert (checkout / "app.py").read_text() == "pass\n"
    assert (checkout / "here.png").read_bytes() == STORED
    assert (checkout / "gone.png").read_text() == pointer(LACKING)
    assert note.startswith("1 of the commit's files are in Git LFS and could not be fetched;")
    assert ": gone.png." in note
    assert noted == []


def test_a_tree_beyond_the_limit_is_refused_before_it_is_written(
    shop: App, tree: Tree, tmp_path: Path
) -> None:
    few = msgspec.structs.replace(LIMITS, tree_files=2)
    with pytest.raises(PushrodError, match="files"):
        commit_tree.write(shop, commit(shop, tree), tmp_path / "checkout", few, print)
    assert not (tmp_path / "checkout").exists()
