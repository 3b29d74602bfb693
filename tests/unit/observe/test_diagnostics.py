"""The checks of `doctor`, on a machine and apps with something wrong."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pushrod.adapters import git
from pushrod.backups import copies
from pushrod.core.errors import StoreError
from pushrod.core.times import now
from pushrod.core.values import USUAL_VAULT, Diagnostic
from pushrod.engines.protocols import Engine
from pushrod.observe import diagnostics
from pushrod.state.apps import App, Root
from pushrod.state.journal import Journal
from pushrod.state.releases import Releases
from pushrod.state.vaults import Vault, Vaults
from pushrod.system import files, locks
from tests.unit.samples import COMMIT, make_live


@pytest.fixture(autouse=True)
def repository(app: App) -> None:
    git.create_bare(app.repository)


def of(root: Root, what: str) -> list[Diagnostic]:
    return [f for f in diagnostics.examine(root) if f.what == what]


def one(app: App) -> Diagnostic:
    (result,) = of(app.root, f"app {app.name}")
    return result


def contents(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


# ---- the machine ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_healthy_machine_has_no_diagnostics_to_fix(app: App) -> None:
    result = {f.what: f for f in diagnostics.examine(app.root)}
    assert {"python", "git", "disk", "nginx", "postgres", "redis", "compose", "uv", "account"} <= set(result)
    for name in ("python", "git", "nginx", "postgres", "redis", "compose", "uv"):
        assert result[name].state == "ok", result[name]
        assert any(c.isdigit() for c in result[name].detail)
    assert result["app shop"] == Diagnostic("app shop", "ok", "nothing deployed yet")


@pytest.mark.slow
def test_the_checks_change_nothing(app: App, tmp_path: Path) -> None:
    make_live(app, 1)
    before = contents(app.root.path)
    diagnostics.examine(app.root)
    assert contents(app.root.path) == before
    diagnostics.examine(Root(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()


def test_a_missing_root_is_not_an_error(tmp_path: Path) -> None:
    (result,) = of(Root(tmp_path / "nowhere"), "root")
    assert (result.state, "pushrod up" in result.detail) == ("ok", True)


@pytest.mark.parametrize(
    ("printed", "state"), [("git version 2.28.1", "broken"), ("git version 2.29.0", "ok")]
)
def test_a_git_version_that_is_too_old_is_reported(
    printed: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "git"
    files.write(program, f"#!/bin/sh\necho '{printed}'\n", mode=0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    (result,) = of(Root(tmp_path / "nowhere"), "git")
    assert (result.state, printed.split()[2] in result.detail) == (state, True)


def test_a_missing_git_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (result,) = of(Root(tmp_path / "nowhere"), "git")
    assert (result.state, result.remedy) == ("broken", "install git 2.29 or newer")


def test_an_unusable_program_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUSHROD_NGINX", str(tmp_path / "none"))
    (result,) = of(Root(tmp_path / "nowhere"), "nginx")
    assert result.state == "broken"
    assert "PUSHROD_NGINX" in result.remedy


# ---- apps -------------------------------------------------------------------------------------------------------


def test_a_live_app_that_does_not_run_is_reported(app: App) -> None:
    make_live(app, 1)
    result = one(app)
    assert (result.state, result.detail) == ("broken", "release 1 should be live, but nothing runs")
    assert "pushrod up" in result.remedy


def test_an_app_that_is_down_is_ok(app: App) -> None:
    make_live(app, 1)
    app.save(msgspec.structs.replace(app.settings, down=True))
    assert one(app) == Diagnostic("app shop", "ok", "down")


@pytest.mark.slow
def test_a_running_command_is_distinguished_from_an_interrupted_one(app: App) -> None:
    Journal(app.journal).append("prepare", 1, commit=COMMIT)
    result = one(app)
    assert (result.state, result.detail) == ("warning", "prepare of release 1 was cut off")
    with locks.lock(app.lock, purpose="deploying", timeout=0):
        result = one(app)
        assert (result.state, result.detail) == ("ok", "prepare of release 1 is under way")


def test_a_live_pointer_that_contradicts_the_journal_is_reported(app: App) -> None:
    make_live(app, 1)
    app.save(msgspec.structs.replace(app.settings, down=True))
    Releases(app).point(0)
    states = [f.state for f in of(app.root, "app shop")]
    assert states == ["warning", "ok"]


@pytest.mark.parametrize("path", ["app.json", "journal", "state/releases/1/release.json"])
@pytest.mark.slow
def test_a_damaged_file_is_reported_and_other_apps_are_checked(path: str, app: App) -> None:
    make_live(app, 1)
    other = App(app.root, "zoo")
    other.save(msgspec.structs.replace(app.settings, name="zoo"))
    (app.directory / path).write_bytes(b"{\n")
    result = one(app)
    assert result.state == "broken"
    assert str(app.directory / path) in result.detail
    assert "a copy is kept as" in result.remedy
    assert one(other).state == "ok"


def test_what_nobody_expected_of_one_app_does_not_end_the_alarm(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = App(app.root, "zoo")
    other.save(msgspec.structs.replace(app.settings, name="zoo"))

    def checks(which: App, engine: Engine) -> Iterator[Diagnostic]:
        if which.name == "shop":
            raise ValueError("a time that its image answered")
        yield Diagnostic(f"app {which.name}", "ok", "fine")

    monkeypatch.setattr(diagnostics, "_app", checks)
    shop, zoo = (d for d in diagnostics.urgent(app.root) if d.what.startswith("app"))
    assert (shop.state, "ValueError: a time" in shop.detail, zoo.state) == ("broken", True, "ok")


def test_the_alarm_reports_the_disk_and_copies_that_failed(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    make_live(app, 1)
    Vaults(app.root).save(Vault(name=USUAL_VAULT, url="/mnt/far", password="p", created=now()))
    assert not [d for d in diagnostics.urgent(app.root) if d.what in ("disk", "vault") and d.state != "ok"]
    monkeypatch.setattr(files, "free_space", lambda _: 499_000_000)
    for whose in (app, app.root):
        copies.failed(whose, StoreError("the vault has no room left"))
    result = [(d.what, d.state, d.detail) for d in diagnostics.urgent(app.root) if d.state != "ok"]
    assert ("disk", "warning", f"499 MB free at {app.root.path}") in result
    failed = {what for what, state, detail in result if state == "broken" and detail.endswith("no room left")}
    assert failed == {"vault", "app shop"}, result
