"""pushrod's own commits: each state can be restored, and the history is bounded."""

from pathlib import Path

import pytest

from pushrod.adapters import git
from pushrod.core.errors import RepositoryError


@pytest.fixture
def state(home: Path, tmp_path: Path) -> Path:
    path = tmp_path / "state"
    git.create_state(path)
    return path


def record(state: Path, text: str) -> None:
    (state / "file").write_text(text)
    git.commit_all(state, text)


def test_a_file_is_restored_from_an_earlier_commit(state: Path) -> None:
    for text in ("one", "two"):
        record(state, text)
    git.commit_all(state, "nothing has changed")
    newest, first = git.history(state, "file")
    (state / ".git" / "index.lock").write_text("")
    assert git.restore(state, first, "file")
    assert (state / "file").read_text() == "one"
    assert not git.restore(state, newest, "other")


def test_stale_git_locks_do_not_block_a_commit(state: Path) -> None:
    record(state, "one")
    for name in ("index.lock", "HEAD.lock", "refs/heads/main.lock"):
        (state / ".git" / name).write_text("")
    record(state, "two")
    assert len(git.history(state, "file")) == 2


@pytest.mark.slow
def test_the_number_of_kept_commits_is_bounded(state: Path) -> None:
    for n in range(7):
        record(state, str(n))
        git.shorten(state, 4)
        assert len(git.history(state, "file")) == n + 1
    record(state, "7")
    git.shorten(state, 4)
    assert len(git.history(state, "file")) == 4
    assert git.is_sound(state)


def test_a_repository_without_its_history_does_not_use_a_parent_repository(
    state: Path, tmp_path: Path
) -> None:
    git.init(tmp_path)
    (state / ".git").rename(tmp_path / "elsewhere")
    assert not git.is_sound(state)
    with pytest.raises(RepositoryError, match="its history is gone"):
        record(state, "one")
    git.create_state(state)
    assert git.is_sound(state)


@pytest.mark.parametrize("damage", ["gone", "changed", "a directory"])
def test_changed_files_are_restored_to_their_committed_content(state: Path, damage: str) -> None:
    (state / "releases" / "1").mkdir(parents=True)
    path = state / "releases" / "1" / "release.json"
    path.write_text("{}")
    record(state, "one")
    assert git.restore_changed(state, ["releases/1"]) == []
    path.unlink()
    if damage == "changed":
        path.write_text("{")
    elif damage == "a directory":
        path.mkdir()
        (path / "x").touch()
    (state / "releases" / "1" / "new").touch()
    assert git.restore_changed(state, ["releases/1"])
    assert path.read_text() == "{}"
    assert (state / "releases" / "1" / "new").exists(), "what was never committed is left alone"
