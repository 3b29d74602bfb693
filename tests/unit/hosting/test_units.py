"""The units of a host: which files they are, and that systemd is not asked where nothing has changed."""

from pathlib import Path

import pytest

from pushrod.apps import HostSettings, Root
from pushrod.gears import systemd
from pushrod.hosting import units

ROOT = Root(Path("/var/lib/pushrod"))


def test_every_unit_is_a_file_of_the_administrator() -> None:
    found = [work.change.what for work in units.files(ROOT, HostSettings())]
    assert f"{systemd.DIRECTORY}/pushrod-edge.service" in found
    assert set(found) == {
        *(f"{systemd.DIRECTORY}/{name}" for name in systemd.render(units.layout(ROOT, HostSettings()))),
        "/etc/systemd/system/pushrod.target.wants",
        "/etc/tmpfiles.d/pushrod.conf",
    }


@pytest.mark.parametrize(
    ("active", "load", "restart", "action"),
    [(True, False, False, "same"), (True, True, False, "changed"), (True, False, True, "changed"),
     (False, False, False, "changed")],
)  # fmt: skip
def test_systemd_is_told_of_what_is_new(
    active: bool, load: bool, restart: bool, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "is_active", lambda _unit: active)
    monkeypatch.setattr(systemd, "is_enabled", lambda _unit: True)
    (work,) = units.start(ROOT, load=load, restart_edge=restart)
    assert work.change.action == action
    assert ("the edge (nginx) is restarted" in work.change.detail) == restart
