"""The checks of `doctor`, on a machine and apps with something wrong."""

import os
from pathlib import Path

import msgspec
import pytest

from pushrod.adapters import git
from pushrod.core.values import Diagnostic
from pushrod.observe import diagnostics
from pushrod.state.apps import App, Root
from pushrod.state.journal import Journal
from pushrod.state.releases import Releases
from pushrod.system import files, locks
from tests.unit.samples import COMMIT, make_live


@pytest.fixture(autouse=True)
def repository(app: App) -> None:
    git.create_bare(app.repository)


def of(root: Root, what: str) -> list[Diagnostic]:
    return [f for f in diagnostics.examine(root) if f.what == what]


def one(app: App) -> Diagnostic:
    (found,) = of(app.root, f"app {app.name}")
    return found


def contents(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


# ---- the machine ------------------------------------------------------------------------------------------------


def test_a_machine_where_all_is_well(app: App) -> None:
    found = {f.what: f for f in diagnostics.examine(app.root)}
    assert {"python", "git", "disk", "nginx", "postgres", "redis", "compose", "uv", "account"} <= set(found)
    for name in ("python", "git", "nginx", "postgres", "redis", "compose", "uv"):
        assert found[name].state == "ok", found[name]
        assert any(c.isdigit() for c in found[name].detail)
    assert found["app shop"] == Diagnostic("app shop", "ok", "nothing deployed yet")


@pytest.mark.slow
def test_looking_changes_nothing(app: App, tmp_path: Path) -> None:
    make_live(app, 1)
    before = contents(app.root.path)
    diagnostics.examine(app.root)
    assert contents(app.root.path) == before
    diagnostics.examine(Root(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()


def test_a_root_that_is_not_there_yet_is_no_fault(tmp_path: Path) -> None:
    (found,) = of(Root(tmp_path / "nowhere"), "root")
    assert (found.state, "pushrod up" in found.detail) == ("ok", True)


@pytest.mark.parametrize(
    ("printed", "state"), [("git version 2.28.1", "broken"), ("git version 2.29.0", "ok")]
)
def test_a_git_that_is_too_old_is_named(
    printed: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "git"
    files.write(program, f"#!/bin/sh\necho '{printed}'\n", mode=0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    (found,) = of(Root(tmp_path / "nowhere"), "git")
    assert (found.state, printed.split()[2] in found.detail) == (state, True)


def test_a_git_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (found,) = of(Root(tmp_path / "nowhere"), "git")
    assert (found.state, found.remedy) == ("broken", "install git 2.29 or newer")


def test_a_part_that_cannot_be_used_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUSHROD_NGINX", str(tmp_path / "none"))
    (found,) = of(Root(tmp_path / "nowhere"), "nginx")
    assert found.state == "broken"
    assert "PUSHROD_NGINX" in found.remedy


# ---- apps -------------------------------------------------------------------------------------------------------


def test_an_app_that_should_be_live_and_does_not_run(app: App) -> None:
    make_live(app, 1)
    found = one(app)
    assert (found.state, found.detail) == ("broken", "release 1 should be live, but nothing runs")
    assert "pushrod up" in found.remedy


def test_an_app_that_is_down_is_well(app: App) -> None:
    make_live(app, 1)
    app.save(msgspec.structs.replace(app.settings, down=True))
    assert one(app) == Diagnostic("app shop", "ok", "down")


@pytest.mark.slow
def test_a_command_under_way_is_told_from_one_that_was_cut_off(app: App) -> None:
    Journal(app.journal).append("prepare", 1, commit=COMMIT)
    found = one(app)
    assert (found.state, found.detail) == ("warning", "prepare of release 1 was cut off")
    with locks.lock(app.lock, purpose="deploying", timeout=0):
        found = one(app)
        assert (found.state, found.detail) == ("ok", "prepare of release 1 is under way")


def test_a_pointer_that_does_not_follow_the_journal(app: App) -> None:
    make_live(app, 1)
    app.save(msgspec.structs.replace(app.settings, down=True))
    Releases(app).point(0)
    states = [f.state for f in of(app.root, "app shop")]
    assert states == ["warning", "ok"]


@pytest.mark.parametrize("path", ["app.json", "journal", "state/releases/1/release.json"])
@pytest.mark.slow
def test_a_damaged_file_is_named_and_the_other_apps_are_looked_at(path: str, app: App) -> None:
    make_live(app, 1)
    other = App(app.root, "zoo")
    other.save(msgspec.structs.replace(app.settings, name="zoo"))
    (app.directory / path).write_bytes(b"{\n")
    found = one(app)
    assert found.state == "broken"
    assert str(app.directory / path) in found.detail
    assert "a copy is kept as" in found.remedy
    assert one(other).state == "ok"
