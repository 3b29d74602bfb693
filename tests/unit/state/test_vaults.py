"""Vaults: which places they may be in, and their files."""

import stat
from pathlib import Path

import pytest

from pushrod.core.errors import HostError, UnknownNameError
from pushrod.state import vaults
from pushrod.state.apps import Root
from pushrod.state.vaults import Vault, Vaults


def a_vault(url: str, name: str = "default") -> Vault:
    return Vault(name=name, url=url, password="p", created="")


@pytest.mark.parametrize(
    ("url", "kind", "server"),
    [
        ("/mnt/backups", "directory", None),
        ("s3:https://s3.example.com/bucket/shop", "s3", None),
        ("s3:http://127.0.0.1:8333/bucket", "s3", None),
        ("sftp:ann@host.example.com:/srv/far", "sftp", ("ann", "host.example.com", 22, "/srv/far")),
        ("sftp://ann@host:2222/srv/far", "sftp", ("ann", "host", 2222, "/srv/far")),
        ("sftp://ann@host//srv/far", "sftp", ("ann", "host", 22, "/srv/far")),
    ],
)
def test_places(tmp_path: Path, url: str, kind: str, server: tuple[object, ...] | None) -> None:
    assert (vaults.check(Root(tmp_path), url), a_vault(url).server) == (kind, server)


@pytest.mark.parametrize(
    "url",
    [
        "backups",
        "/mnt/../etc",
        "/mnt/a b",
        "rest:http://host/",
        "s3:bucket",
        "sftp:host:/srv",
        "sftp:-oProxyCommand=id@host:/srv",
        "sftp:ann@-oProxyCommand=id:/srv",
        "sftp:ann@host:/srv/`id`",
        "s3:https://host/bucket\n",
    ],
)
def test_other_texts_are_no_places(tmp_path: Path, url: str) -> None:
    with pytest.raises(HostError, match="not a place for backups"):
        vaults.check(Root(tmp_path), url)


def test_a_vault_is_not_inside_what_is_copied_to_it(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="a part of what it is a copy of"):
        vaults.check(Root(tmp_path), str(tmp_path / "apps"))


def test_what_is_kept_is_closed(tmp_path: Path) -> None:
    known = Vaults(Root(tmp_path))
    for name in ("far", "default"):
        known.save(a_vault("/mnt/backups", name))
    assert known.names() == ["default", "far"]
    assert known.find("far") == a_vault("/mnt/backups", "far")
    modes = {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "vaults").rglob("*") if p.is_dir()}
    assert modes == {0o700}
    assert stat.S_IMODE((known.directory("far") / "vault.json").stat().st_mode) == 0o600
    known.remove("far")
    assert known.find("far") is None


@pytest.mark.parametrize("name", ["none", "../x", "A", ""])
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnknownNameError, match="cannot be a vault's name"):
        Vaults(Root(tmp_path)).find(name)
