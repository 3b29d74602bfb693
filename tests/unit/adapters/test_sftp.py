"""The call of ssh for a vault's server."""

from pathlib import Path

from pushrod.adapters import sftp
from pushrod.adapters.sftp import Server


def test_nothing_of_the_users_configuration_is_used() -> None:
    argv = sftp.argv(Path("/v"), Server("ann", "host", 2222, "/far"))
    assert argv[:3] == ["ssh", "-F", "none"]
    assert argv[-5:] == ["-p", "2222", "ann@host", "-s", "sftp"]
    for option in ("BatchMode=yes", "IdentityFile=/v/id_ed25519", "StrictHostKeyChecking=yes"):
        assert option in argv


def test_a_server_is_trusted_only_when_it_is_set() -> None:
    argv = sftp.argv(Path("/v"), Server("ann", "host", 22, "/far"), first=True)
    assert "StrictHostKeyChecking=accept-new" in argv


def test_a_key_that_is_not_there() -> None:
    assert sftp.public(Path("/nowhere")) == ""
