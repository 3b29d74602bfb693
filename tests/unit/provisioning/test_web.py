"""Turning the page of a host on and off: nothing has changed if its port is taken."""

import socket
from pathlib import Path

import msgspec
import pytest

from pushrod.adapters import systemd
from pushrod.core.errors import HostError
from pushrod.provisioning import account, web
from pushrod.state.apps import HostSettings, Root


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    made = Root(tmp_path / "root")
    made.path.mkdir()
    made.host_settings_path.write_bytes(msgspec.json.encode(HostSettings()))
    (tmp_path / "units").mkdir()
    monkeypatch.setattr(systemd, "DIRECTORY", tmp_path / "units")
    status = made.path.stat()
    monkeypatch.setattr(account, "owner", lambda: (status.st_uid, status.st_gid))
    return made


def settings(root: Root) -> HostSettings:
    settings = root.host_settings
    assert settings is not None
    return settings


def test_the_page_is_turned_on_and_off(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, ...]] = []
    monkeypatch.setattr(systemd, "call", lambda *argv, **_: called.append(argv))
    web.turn_on(root, 59181)
    names = sorted(path.name for path in systemd.DIRECTORY.iterdir())
    assert names == sorted(web._ALL)
    assert "ListenStream=127.0.0.1:59181\n" in (systemd.DIRECTORY / "pushrod-web.socket").read_text()
    assert (root.path / "web").stat().st_mode & 0o777 == 0o700
    assert (settings(root).web, called[-1]) == (59181, ("restart", *web.SOCKETS))
    web.turn_off(root)
    assert (settings(root).web, list(systemd.DIRECTORY.iterdir())) == (0, [])
    assert ("disable", "--now", *web.SOCKETS) in called


def test_a_port_that_is_taken_changes_nothing(root: Root) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(HostError, match="another program"):
        web.turn_on(root, taken.getsockname()[1])
    assert (settings(root).web, list(systemd.DIRECTORY.iterdir())) == (0, [])
