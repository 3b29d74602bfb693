"""Starting an app at boot: a link among systemd's units."""

from pathlib import Path

import pytest

from pushrod.engines.docker import autostart, names
from pushrod.state.apps import App, Root


def test_the_link_is_created_and_removed_idempotently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "UNITS", tmp_path / "pushrod.target.wants")
    names.UNITS.mkdir()
    app, link = App(Root(tmp_path), "shop"), names.UNITS / "pushrod-app@shop.service"
    for changes in (True, False):
        assert autostart.enable(app) == changes
        assert link.readlink() == Path("../pushrod-app@.service")
    for changes in (True, False):
        assert autostart.disable(app) == changes
        assert not link.is_symlink()


def test_a_directory_instead_of_the_link_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise systemd would warn about it at each start."""
    monkeypatch.setattr(names, "UNITS", tmp_path / "pushrod.target.wants")
    monkeypatch.setattr(autostart, "_PATIENCE", 0.0)  # this machine's systemd knows nothing of it
    app, link = App(Root(tmp_path), "shop"), names.UNITS / "pushrod-app@shop.service"
    for damaged in ("a directory", "gone"):
        (link / damaged).mkdir(parents=True)
        assert autostart.enable(app) if damaged == "a directory" else autostart.disable(app)
        assert [p.name for p in names.UNITS.iterdir()] == ([link.name] if damaged == "a directory" else [])
        autostart.disable(app)
