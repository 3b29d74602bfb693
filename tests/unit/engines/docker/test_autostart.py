"""Whether an app comes back with the machine: a link among systemd's units."""

from pathlib import Path

import pytest

from pushrod.engines.docker import autostart, names
from pushrod.state.apps import App, Root


def test_the_link_comes_and_goes_and_can_be_asked_for_twice(
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


def test_what_stands_in_the_place_of_the_link_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd would warn of it at each start, whatever it is called."""
    monkeypatch.setattr(names, "UNITS", tmp_path / "pushrod.target.wants")
    monkeypatch.setattr(autostart, "_PATIENCE", 0.0)  # this machine's systemd knows nothing of it
    app, link = App(Root(tmp_path), "shop"), names.UNITS / "pushrod-app@shop.service"
    for damaged in ("a directory", "gone"):
        (link / damaged).mkdir(parents=True)
        assert autostart.enable(app) if damaged == "a directory" else autostart.disable(app)
        assert [p.name for p in names.UNITS.iterdir()] == ([link.name] if damaged == "a directory" else [])
        autostart.disable(app)
