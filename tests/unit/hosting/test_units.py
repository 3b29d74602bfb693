"""The units of a host: which files they are, and that systemd is not asked where nothing has changed."""

import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from pushrod.apps import HostSettings, Root
from pushrod.errors import HostError
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


def test_a_port_that_something_else_has_is_found_before_anything_is_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("", 0)) as squatter:
        port = squatter.getsockname()[1]
        monkeypatch.setattr(units.edge, "of", lambda _root: SimpleNamespace(port=port))
        monkeypatch.setattr(systemd, "is_active", lambda _unit: True)
        units.check_port(ROOT)  # it is the edge's own
        monkeypatch.setattr(systemd, "is_active", lambda _unit: False)
        with pytest.raises(HostError, match=f"port {port}, which is the edge's") as error:
            units.check_port(ROOT)
    assert f":{port}" in error.value.hint
    units.check_port(ROOT)
