"""Sealed releases as files in a Git repository."""

import shlex
import subprocess
from pathlib import Path

import msgspec
import pytest

from pushrod.adapters import git
from pushrod.core.errors import StateError, StoreError, UnknownNameError
from pushrod.state import releases as state_releases
from pushrod.state.apps import App
from pushrod.state.releases import Releases
from pushrod.system import files
from tests.unit.samples import make_live, release


@pytest.fixture
def releases(app: App) -> Releases:
    return Releases(app)


def log(app: App) -> list[str]:
    return git.git(app.state, "log", "--format=%s|%an").splitlines()


def test_a_new_app_has_no_releases(releases: Releases) -> None:
    assert (releases.numbers(), releases.all(), releases.pointed()) == ([], [], 0)


def test_a_sealed_release_is_read_back_unchanged(releases: Releases) -> None:
    for number in (2, 10, 1):
        releases.seal(release(number))
    assert releases.numbers() == [1, 2, 10]
    assert releases.all() == [release(1), release(2), release(10)]


def test_the_engines_files_are_sealed_and_removed_with_the_release(releases: Releases) -> None:
    releases.seal(release(1), {"compose.yaml": "services: {}\n", "stores.yaml": ""})
    directory = releases.directory / "1"
    assert {p.name for p in directory.iterdir()} == {"release.json", "compose.yaml", "stores.yaml"}
    assert (directory / "compose.yaml").read_text() == "services: {}\n"
    releases.remove(1)
    assert not directory.exists()


def test_the_release_file_is_written_last(releases: Releases, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    write = files.write
    monkeypatch.setattr(files, "write", lambda *a, **k: (seen.append(releases.numbers()), write(*a, **k)))
    releases.seal(release(1), {"a": "", "b": ""})
    assert seen == [[], [], []]
    assert releases.numbers() == [1]


def test_incomplete_and_foreign_entries_are_no_releases(releases: Releases) -> None:
    releases.seal(release(1))
    (releases.directory / "2").mkdir()
    (releases.directory / "1.bak").mkdir()
    (releases.directory / "1.bak" / "release.json").touch()
    (releases.directory / "README").touch()
    assert releases.numbers() == [1]


def test_an_unknown_release_is_refused_with_the_kept_numbers(releases: Releases) -> None:
    releases.seal(release(3))
    with pytest.raises(UnknownNameError, match="shop has no release 2") as e:
        releases.read(2)
    assert "releases kept: 3 " in e.value.hint


def test_a_damaged_release_is_restored_by_the_command_in_the_error(releases: Releases) -> None:
    """The command is run as printed, by a shell's rules; the path of this root contains a space."""
    releases.seal(release(7))
    releases.record("release 7")
    path = releases.directory / "7" / "release.json"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StateError) as e:
        releases.read(7)
    assert e.value.where == str(path)
    assert " " in str(path)
    command = e.value.hint[e.value.hint.index("git -C") :]
    subprocess.run(shlex.split(command), check=True, env=git.environment(), timeout=60)
    assert releases.read(7) == release(7)


def test_the_live_link_points_to_a_release_or_does_not_exist(releases: Releases) -> None:
    releases.seal(release(7))
    releases.point(7)
    assert releases.pointed() == 7
    assert (releases.pointer / "release.json").is_file()
    releases.point(8)
    assert releases.pointed() == 8
    releases.point(0)
    releases.point(0)
    assert releases.pointed() == 0
    assert not releases.pointer.is_symlink()


def test_every_change_is_one_commit_by_pushrod(releases: Releases, app: App) -> None:
    releases.seal(release(1))
    releases.point(1)
    releases.record("shop: release 1 is live")
    releases.record("nothing has changed")
    releases.seal(release(2))
    releases.point(2)
    releases.record("shop: release 2 is live")
    assert log(app) == ["shop: release 2 is live|pushrod", "shop: release 1 is live|pushrod"]


def test_a_release_that_is_forgotten_is_still_in_the_history(releases: Releases, app: App) -> None:
    releases.seal(release(1))
    releases.record("one")
    releases.remove(1)
    releases.remove(1)
    releases.record("forgotten")
    assert releases.numbers() == []
    shown = git.git(app.state, "show", "HEAD~:releases/1/release.json")
    assert '"subject": "change 1"' in shown


def test_the_users_git_configuration_does_not_affect_the_record(
    releases: Releases, app: App, home: Path
) -> None:
    """Signing, hooks and ignored files of a user's own work must not prevent or reduce pushrod's commits."""
    hooks = home / "hooks"
    hooks.mkdir()
    for name in ("pre-commit", "prepare-commit-msg", "commit-msg", "post-commit"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch '{home}/ran-{name}'\nexit 1\n")
        (hooks / name).chmod(0o755)
    (home / "ignored").write_text("*.json\n")
    with (home / ".gitconfig").open("a") as f:
        f.write(f"[core]\nhooksPath = {hooks}\nexcludesFile = {home}/ignored\n")
        f.write("[commit]\ngpgSign = true\n[gpg]\nprogram = false\n")
    releases.seal(release(1))
    releases.record("one")
    assert log(app) == ["one|pushrod"]
    assert git.git(app.state, "ls-files").split() == ["releases/1/release.json"]
    assert not list(home.glob("ran-*"))


@pytest.mark.parametrize("target", ["releases/none", "nowhere", "releases/0"])
def test_a_dangling_live_link_counts_as_none(app: App, target: str) -> None:
    releases = Releases(app)
    releases.pointer.symlink_to(target)
    assert releases.pointed() == 0
    releases.point(3)
    assert releases.pointed() == 3


def test_an_app_is_running_if_it_has_a_live_release_and_is_up(app: App) -> None:
    for state in ("has no live release", "is down"):
        app.save(msgspec.structs.replace(app.settings, down=True))
        with pytest.raises(StoreError, match=f"shop {state}, so its stores do not run"):
            state_releases.running(app)
        assert state_releases.up(app) is None
        make_live(app, 1)
    app.save(msgspec.structs.replace(app.settings, down=False))
    assert state_releases.running(app) == state_releases.up(app) == release(1)
