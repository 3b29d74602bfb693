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
    for _ in range(2):
        autostart.enable(app)
        assert link.readlink() == Path("../pushrod-app@.service")
    for _ in range(2):
        autostart.disable(app)
        assert not link.is_symlink()
