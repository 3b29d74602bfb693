"""Repairs of an app's own files, each damaged separately."""

import threading
from pathlib import Path

import pytest

from pushrod.adapters import git
from pushrod.cli.context import pipeline
from pushrod.core.errors import RepositoryError, StateError
from pushrod.engines import registry
from pushrod.releases.repairs import Repairs
from pushrod.state.apps import App
from pushrod.state.journal import Journal
from pushrod.state.releases import Releases
from pushrod.state.secrets import Secrets
from pushrod.system import files, locks
from tests.unit import samples
from tests.unit.samples import COMMIT, release


def make_live(app: App, *numbers: int) -> None:
    samples.make_live(app, *numbers)
    Releases(app).record("made")


def repaired(app: App) -> Repairs:
    repairs = Repairs(app, registry.of(app.root))
    repairs.all()
    return repairs


def test_intact_files_are_unchanged(app: App) -> None:
    make_live(app, 1, 2)
    before = {p: p.read_bytes() for p in app.directory.rglob("*") if p.is_file()}
    repairs = repaired(app)
    assert (repairs.done, repairs.tries.failed) == ([], [])
    assert {p: p.read_bytes() for p in app.directory.rglob("*") if p.is_file()} == before


def test_a_rebuilt_journal_begins_with_the_live_release(app: App) -> None:
    """After a rollback from 3 to 1: no number is given again that a kept release has."""
    make_live(app, 1, 2, 3)
    Releases(app).point(1)
    app.journal.write_bytes(b"garbage\n")
    with pytest.raises(StateError):
        Journal(app.journal).story()
    assert repaired(app).done == ["the journal was rebuilt, live is release 1; the old one is kept beside it"]
    story = Journal(app.journal).story()
    assert (story.live, story.last, story.open) == (1, 3, None)
    kept = [p for p in app.directory.glob("journal.*") if p.name != "journal.corrupt"]
    assert [p.read_bytes() for p in kept] == [b"garbage\n"]


def test_an_app_that_was_never_live_is_repaired(app: App) -> None:
    app.journal.write_bytes(b"garbage\n")
    assert not repaired(app).tries.failed
    assert Journal(app.journal).story().live == 0


@pytest.mark.slow
def test_a_repair_waits_for_a_running_command(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    app.journal.write_bytes(b"garbage\n")
    line = pipeline(app)
    for verb in ("open", "stop_if_idle"):  # no supervisor is started, which would outlive the test
        monkeypatch.setattr(line.engine.platform, verb, lambda: None)
    repairing = threading.Thread(target=line.repair)
    with locks.lock(app.lock, purpose="deploying", timeout=0):
        repairing.start()
        repairing.join(timeout=0.3)
        assert repairing.is_alive()
        assert app.journal.read_bytes() == b"garbage\n"
    repairing.join()


@pytest.mark.parametrize("damage", ["", "{", None])
def test_a_release_is_restored_from_the_history(app: App, damage: str | None) -> None:
    make_live(app, 1, 2)
    path = app.state / "releases" / "2" / "release.json"
    whole = path.read_bytes()
    if damage is None:
        files.remove_tree(path.parent)
    else:
        path.write_text(damage)
    assert not repaired(app).tries.failed
    assert path.read_bytes() == whole


def test_a_release_without_history_is_set_aside(app: App) -> None:
    make_live(app, 1)
    Releases(app).seal(release(2))
    (app.state / "releases" / "2" / "release.json").write_text("{")
    repairs = repaired(app)
    assert not repairs.tries.failed
    assert repairs.done[0].startswith("release 2 could not be restored, and was set aside")
    assert Releases(app).numbers() == [1]
    assert sorted(p.name for p in app.directory.glob("release-2.damaged.*/*")) == [
        "release.json",
        "release.json.corrupt",
    ]


def test_a_live_release_without_history_is_not_removed(app: App) -> None:
    make_live(app, 1)
    Releases(app).seal(release(2))
    Journal(app.journal).append("live", 2, commit=COMMIT)
    (app.state / "releases" / "2" / "release.json").write_text("{")
    (failed,) = repaired(app).tries.failed
    assert failed.startswith("release 2: cannot be read")


def test_settings_are_rebuilt(app: App) -> None:
    app.settings_path.write_text("{")
    repairs = repaired(app)
    assert not repairs.tries.failed
    assert app.settings.name == "shop"


@pytest.mark.parametrize("damage", ["a lock of a killed command", "no HEAD", "gone", "a torn index"])
def test_a_damaged_state_repository_is_repaired(app: App, damage: str) -> None:
    make_live(app, 1)
    hidden = app.state / ".git"
    match damage:
        case "a lock of a killed command":
            (hidden / "index.lock").touch()
        case "no HEAD":
            (hidden / "HEAD").write_text("")
        case "a torn index":
            (hidden / "index").write_bytes(b"DIRC")
        case _:
            files.remove_tree(hidden)
    assert not repaired(app).tries.failed
    Releases(app).seal(release(2))
    Releases(app).record("two")
    assert git.is_sound(app.state)


def test_a_record_without_its_history_does_not_use_a_parent_repository(app: App, tmp_path: Path) -> None:
    """Git looks for a repository above a directory: one that somebody keeps all of it in is none of pushrod's."""
    git.git(tmp_path, "init", "--quiet")
    files.remove_tree(app.state / ".git")
    assert not git.is_sound(app.state)
    with pytest.raises(RepositoryError, match="history is gone"):
        Releases(app).record("one")


@pytest.mark.parametrize("place", ["a directory", "garbage", "a lock"])
def test_a_branch_is_moved_whatever_replaced_its_file(app: App, place: str) -> None:
    git.create_repository(app.repository, ["true"])
    (app.state / "file").touch()
    git.commit_all(app.state, "one")
    commit = git.resolve(app.state, "HEAD")
    git.transfer(app.state, app.repository, commit)
    ref = app.repository / "refs" / "heads" / "main"
    if place == "a directory":
        ref.mkdir(parents=True)
        (ref / "x").touch()
    elif place == "garbage":
        ref.write_text("garbage\n")
    else:
        ref.with_name("main.lock").touch()
    repairs = Repairs(app, registry.of(app.root))
    repairs.branch(commit)
    assert not repairs.tries.failed
    assert git.branch_commit(app.repository) == commit


URL = "postgresql://shop_{0}:{1}@127.0.0.1:27001/shop"


def stored(app: App) -> None:
    """A live release with a store and secrets."""
    make_live(app, 1)
    directory = app.stores / "postgres" / "data"
    directory.mkdir(parents=True)
    (directory / "postgresql.conf").write_text("listen_addresses = ''\nport = 27001\n")
    environment = {"DATABASE_URL": URL.format("app", "a" * 48), "TOKEN": "a-secret", "PUSHROD_APP": "shop"}
    migrating = {"DATABASE_URL": URL.format("migrator", "b" * 48)}
    name = release(1).services[0].name
    sealed = {s.name: environment for s in release(1).services} | {f"{name}:release": migrating}
    Secrets(app).seal(1, sealed)


@pytest.mark.parametrize("damage", [b"", b"{", b"\0\xff", None])
def test_secrets_are_restored_from_the_live_release(app: App, damage: bytes | None) -> None:
    stored(app)
    for name in ("passwords.json", "variables.json"):
        path = app.secrets / name
        path.write_bytes(damage) if damage is not None else path.mkdir()
    repairs = repaired(app)
    assert not repairs.tries.failed
    assert Secrets(app).password("postgres/app") == "a" * 48
    assert Secrets(app).password("postgres/migrator") == "b" * 48
    assert Secrets(app).variables() == {"TOKEN": "a-secret"}
    if damage is not None:
        assert (app.secrets / "variables.json.damaged-1").read_bytes() == damage


def test_a_missing_journal_is_rebuilt_from_the_live_pointer(app: App) -> None:
    make_live(app, 1, 2)
    app.journal.unlink()
    assert not repaired(app).tries.failed
    story = Journal(app.journal).story()
    assert (story.live, story.last) == (2, 2)
