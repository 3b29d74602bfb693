"""What goes once nothing needs it, and what stays."""

import pytest

from pushrod.adapters import git
from pushrod.cli import context
from pushrod.releases import pruning
from pushrod.state.apps import App
from pushrod.state.journal import Journal
from pushrod.state.releases import RELEASE, Releases
from tests.unit.samples import make_live


@pytest.mark.slow
def test_the_thousandth_deployment_finds_no_more_than_the_fiftieth(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a history of four instead of the usual one, of which the fiftieth deployment has seen twice as much."""
    assert 2 * pruning.HISTORY <= 50
    monkeypatch.setattr(pruning, "HISTORY", 4)
    line, releases = context.pipeline(app), Releases(app)
    files, sizes, events = [], [], []
    for number in range(1, 41):
        make_live(app, number)
        releases.remove(number - 3)
        releases.record(f"release {number} is live")
        before = line.journal.story()
        line.pruning.shorten_records()
        assert line.journal.story() == Journal(app.journal).story() == before
        found = [path.stat().st_size for path in app.state.rglob("*") if path.is_file()]
        files.append(len(found))
        sizes.append(sum(found))
        events.append(len(line.journal.entries()))
    assert max(events[8:]) <= max(events[:8])
    assert max(files[16:]) <= max(files[:16])
    assert max(sizes[16:]) <= 1.05 * max(sizes[:16])
    # What stays is whole: a file that is gone comes back from the history, which Git finds in order.
    assert git.is_sound(app.state)
    git.git(app.state, "fsck", "--strict")
    (releases.directory / "39" / RELEASE).unlink()
    assert git.restore(app.state, git.history(app.state, "releases/39")[0], "releases/39")
    assert releases.read(39).number == 39


@pytest.fixture
def damaged(app: App) -> App:
    """An app of eight releases, the last of them live, of which the sixth cannot be read; five are kept."""
    make_live(app, *range(1, 9))
    (app.state / "releases" / "6" / "release.json").write_text("{")
    return app


def test_a_release_that_cannot_be_read_keeps_no_other_from_being_pruned(
    damaged: App, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        context.pipeline(damaged).prune()
        assert Releases(damaged).numbers() == [4, 5, 6, 7, 8]
        (said,) = [line for line in capsys.readouterr().err.splitlines() if "cannot be read" in line]
        assert "shop: release 6 cannot be read" in said
        assert "doctor --repair" in said


def test_it_goes_itself_when_its_turn_has_come(damaged: App, capsys: pytest.CaptureFixture[str]) -> None:
    make_live(damaged, *range(9, 12))
    context.pipeline(damaged).prune()
    assert Releases(damaged).numbers() == [7, 8, 9, 10, 11]
    assert "cannot be read" not in capsys.readouterr().err


def test_what_can_go_goes_where_the_live_one_cannot_be_read(
    damaged: App, capsys: pytest.CaptureFixture[str]
) -> None:
    (damaged.state / "releases" / "8" / "release.json").write_text("{")
    old = damaged.logs / "r0"
    old.mkdir(parents=True)
    context.pipeline(damaged).prune()
    assert not old.exists()
    assert Releases(damaged).numbers() == [*range(1, 9)], "how many are kept is what the live one says"
    assert "shop: release 6, 8 cannot be read" in capsys.readouterr().err


def test_what_waits_to_be_mended_finds_its_passwords(damaged: App) -> None:
    line = context.pipeline(damaged)
    file = line.sealing.passwords.directory / "0123456789abcdef"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("")
    line.prune()
    assert file.exists()
    Releases(damaged).remove(6)
    make_live(damaged, 9, 10)
    line.prune()
    assert not file.exists()
