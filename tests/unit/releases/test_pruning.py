"""What goes once nothing needs it, and what stays."""

import os
import time
from pathlib import Path

import pytest

from pushrod.adapters import git
from pushrod.cli import context
from pushrod.releases import pruning
from pushrod.state.apps import App
from pushrod.state.journal import Journal
from pushrod.state.releases import RELEASE, Releases
from tests.conftest import Tree
from tests.unit.samples import make_live


@pytest.mark.slow
def test_the_size_of_records_does_not_grow_with_deployments(
    app: App, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a history of four instead of the usual one, of which the fiftieth deployment has seen twice as much."""
    assert 2 * pruning.HISTORY <= 50
    monkeypatch.setattr(pruning, "HISTORY", 4)
    line, releases = context.pipeline(app), Releases(app)
    git.create_bare(app.repository)
    commit = tree.commit("every release is of this commit", a="1")
    git.transfer(tree.path, app.repository, commit)
    git.move_branch(app.repository, commit)
    seen: dict[Path, list[tuple[int, int]]] = {app.state: [], app.repository: []}
    events = []
    for number in range(1, 41):
        make_live(app, number)
        releases.remove(number - 3)
        releases.record(f"release {number} is live")
        git.tag(app.repository, f"release/{number}", commit, f"release {number} is live")
        hours_ago = time.time() - 7200  # only then does Git remove what is unreachable
        for path in (app.repository / "objects").rglob("*"):
            os.utime(path, (hours_ago, hours_ago))
        before = line.journal.story()
        line.pruning.shorten_records()
        assert line.journal.story() == Journal(app.journal).story() == before
        for directory, sizes in seen.items():
            result = [path.stat().st_size for path in directory.rglob("*") if path.is_file()]
            sizes.append((len(result), sum(result)))
        events.append(len(line.journal.entries()))
    assert max(events[8:]) <= max(events[:8])
    for sizes in seen.values():
        assert max(count for count, _ in sizes[16:]) <= max(count for count, _ in sizes[:16])
        assert max(size for _, size in sizes[16:]) <= 1.05 * max(size for _, size in sizes[:16])
    # What stays is whole: a file that is gone comes back from the history, which Git finds in order.
    for directory in seen:
        git.git(directory, "fsck", "--strict")
    assert git.is_sound(app.state)
    (releases.directory / "39" / RELEASE).unlink()
    assert git.restore(app.state, git.history(app.state, "releases/39")[0], "releases/39")
    assert releases.read(39).number == 39
    tags = git.git(app.repository, "tag").split()
    assert {f"release/{number}" for number in releases.numbers()} <= set(tags)
    assert len(tags) <= 2 * pruning.HISTORY
    assert git.branch_commit(app.repository) == git.resolve(app.repository, "release/40") == commit


@pytest.fixture
def damaged(app: App) -> App:
    """An app of eight releases, the last of them live, of which the sixth cannot be read; five are kept."""
    make_live(app, *range(1, 9))
    (app.state / "releases" / "6" / "release.json").write_text("{")
    return app


def test_an_unreadable_release_does_not_prevent_pruning_of_others(
    damaged: App, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        context.pipeline(damaged).prune()
        assert Releases(damaged).numbers() == [4, 5, 6, 7, 8]
        (message,) = [line for line in capsys.readouterr().err.splitlines() if "cannot be read" in line]
        assert "shop: release 6 cannot be read" in message
        assert "doctor --repair" in message


def test_an_unreadable_release_is_pruned_in_its_turn(
    damaged: App, capsys: pytest.CaptureFixture[str]
) -> None:
    make_live(damaged, *range(9, 12))
    context.pipeline(damaged).prune()
    assert Releases(damaged).numbers() == [7, 8, 9, 10, 11]
    assert "cannot be read" not in capsys.readouterr().err


def test_pruning_continues_if_the_live_release_cannot_be_read(
    damaged: App, capsys: pytest.CaptureFixture[str]
) -> None:
    (damaged.state / "releases" / "8" / "release.json").write_text("{")
    old = damaged.logs / "r0"
    old.mkdir(parents=True)
    context.pipeline(damaged).prune()
    assert not old.exists()
    assert Releases(damaged).numbers() == [*range(1, 9)], "how many are kept is what the live one says"
    assert "shop: release 6, 8 cannot be read" in capsys.readouterr().err


def test_password_files_are_kept_until_a_damaged_release_is_repaired(damaged: App) -> None:
    line = context.pipeline(damaged)
    file = line.context.sealing.passwords.directory / "0123456789abcdef"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("")
    line.prune()
    assert file.exists()
    Releases(damaged).remove(6)
    make_live(damaged, 9, 10)
    line.prune()
    assert not file.exists()
