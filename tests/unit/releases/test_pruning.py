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
from pushrod.system import processes
from tests.conftest import Tree
from tests.unit.samples import make_live

KEPT = 3


def make_old(repository: Path) -> None:
    """Git removes what is unreachable only after a while."""
    hours_ago = time.time() - 7200
    for path in (repository / "objects").rglob("*"):
        os.utime(path, (hours_ago, hours_ago))


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
        make_old(app.repository)
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


def import_history(app: App, numbers: range, commit: str) -> None:
    """The commits and tags of these deployments, by one process for each repository instead of five a deployment."""
    who = "pushrod <pushrod@localhost> 1767225600 +0000"
    changes = []
    for number in numbers:
        sealed = (app.state / "releases" / str(number) / RELEASE).read_text()
        message = f"release {number} is live"
        changes.append(
            f"commit refs/heads/{git.BRANCH}\ncommitter {who}\ndata {len(message)}\n{message}\n"
            + (f"from refs/heads/{git.BRANCH}^0\n" if 1 < number == numbers.start else "")
            + f"M 644 inline releases/{number}/{RELEASE}\ndata {len(sealed.encode())}\n{sealed}\n"
            + (f"D releases/{number - KEPT}\n" if number > KEPT else "")
        )
    feed(app.state, "".join(changes))
    git.git(app.state, "reset", "--quiet")
    tag = "tag release/{n}\nfrom {commit}\ntagger {who}\ndata 4\nlive\n"
    feed(app.repository, "".join(tag.format(n=n, commit=commit, who=who) for n in numbers))


def feed(directory: Path, text: str) -> None:
    argv = ["git", "-C", str(directory), "fast-import", "--quiet"]
    done = processes.run(argv, env=git.environment(), stdin=text)
    assert done.status == 0, done.stderr


@pytest.mark.slow
def test_the_thousandth_deployment_finds_no_more_records_than_the_fiftieth(
    app: App, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand deployments' records, as they are written and shortened; only Git's part comes in packs."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    git.create_bare(app.repository)
    commit = tree.commit("every release is of this commit", a="1")
    git.transfer(tree.path, app.repository, commit)
    git.move_branch(app.repository, commit)
    releases, sizes = Releases(app), list[tuple[int, int, int]]()
    for first in range(1, 1001, 25):
        for number in range(first, first + 25):
            make_live(app, number)
        import_history(app, range(first, first + 25), commit)
        for number in range(max(1, first - KEPT), first + 25 - KEPT):
            releases.remove(number)
        make_old(app.repository)
        line = context.pipeline(app)
        before = line.journal.story()
        line.pruning.shorten_records()
        assert Journal(app.journal).story() == before
        paths = [p for top in (app.state, app.repository) for p in top.rglob("*") if p.is_file()]
        total = sum(p.stat().st_size for p in paths) + app.journal.stat().st_size
        sizes.append((len(line.journal.entries()), len(paths), total))
    assert before.last == 1000
    events, count, total = sizes[1]  # at the fiftieth
    assert max(e for e, _, _ in sizes[2:]) <= events
    assert max(n for _, n, _ in sizes[2:]) <= count
    assert max(t for _, _, t in sizes[2:]) <= 1.1 * total
    assert git.is_sound(app.state)


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
