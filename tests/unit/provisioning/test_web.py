"""Turning the page of a host on and off: nothing has changed if its port is taken."""

import socket
from pathlib import Path

import msgspec
import pytest

from pushrod.adapters import systemd
from pushrod.core.errors import EdgeError, HostError
from pushrod.engines.docker import own_sites
from pushrod.ingress import claims
from pushrod.provisioning import account, units, web
from pushrod.state.apps import App, HostSettings, Root, Settings


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


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happened at the edge."""
    made: list[str] = []
    monkeypatch.setattr(systemd, "call", lambda *argv, **_: "")
    monkeypatch.setattr(units, "prepare_edge", lambda _: made.append("edge"))
    monkeypatch.setattr(own_sites, "forget", lambda _: made.append("certificate gone"))
    return made


def test_its_domain_stays_until_another_call_changes_it(root: Root, moved: list[str]) -> None:
    web.turn_on(root, 59181, web.Domain("page.example.com", "ops@example.com"))
    assert moved == ["edge", "certificate gone"]
    socket_unit = (systemd.DIRECTORY / "pushrod-web.socket").read_text()
    assert f"ListenStream={own_sites.SOCKET}\nSocketUser=pushrod\n" in socket_unit
    assert "SocketMode=0600\n" in socket_unit
    web.turn_on(root, 59182)
    assert (settings(root).domain, settings(root).email) == ("page.example.com", "ops@example.com")
    assert len(moved) == 2
    web.turn_on(root, 59182, web.Domain())
    assert (settings(root).domain, len(moved)) == ("", 4)
    web.turn_on(root, 59182, web.Domain("page.example.com"))
    web.turn_off(root)
    assert (settings(root).domain, settings(root).web, len(moved)) == ("", 0, 8)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "localhost",
            "page",
            "page.localhost",
            "*.example.com",
            "Page.example.com",
            "https://page.example.com",
        ),
        *("page.example.com;", "page.example.com\n}", "10.0.0.1", "-a.example.com", "page..com", "a b.com"),
    ],
)
def test_a_name_that_can_have_no_certificate_changes_nothing(root: Root, name: str, moved: list[str]) -> None:
    with pytest.raises(HostError, match="cannot be the page's domain"):
        web.turn_on(root, 59181, web.Domain(name))
    assert (settings(root).web, settings(root).domain, moved) == (0, "", [])


def test_an_option_as_a_mail_address_is_refused(root: Root, moved: list[str]) -> None:
    for email in ("--server", "a", "a@b\n", "a b@c.de"):
        with pytest.raises(HostError, match="no mail address"):
            web.turn_on(root, 59181, web.Domain("page.example.com", email))
    assert moved == []


def test_the_domain_of_an_app_is_refused(
    root: Root, moved: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App(root, "shop")
    app.directory.mkdir(parents=True)
    app.save(Settings("shop", 80, "docker", ""))
    monkeypatch.setattr(claims, "of", lambda app: ("page.example.com",))
    with pytest.raises(EdgeError, match=r"page\.example\.com is shop's"):
        web.turn_on(root, 59181, web.Domain("page.example.com"))
    assert (settings(root).web, settings(root).domain, moved) == (0, "", [])
