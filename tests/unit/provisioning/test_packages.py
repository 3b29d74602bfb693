"""The packages to install, depending on what exists."""

from pathlib import Path

import pytest

from pushrod.core.errors import HostError
from pushrod.provisioning import packages
from pushrod.provisioning.system import System

TRIXIE, BOOKWORM, NOBLE = System("debian", (13,)), System("debian", (12,)), System("ubuntu", (24, 4))
COMMON = ["git", "openssh-client", "iptables", "iproute2", "openssl", "ca-certificates", "python3", "dbus"]


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel without AppArmor."""
    monkeypatch.setattr(packages, "_APPARMOR", Path("/nowhere"))


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (TRIXIE, ["docker.io", "docker-cli", "docker-compose", "docker-buildx"]),
        (BOOKWORM, ["docker.io"]),
        (NOBLE, ["docker.io", "docker-compose-v2", "docker-buildx"]),
    ],
)
def test_a_bare_system_needs_all_packages(system: System, expected: list[str]) -> None:
    assert packages.missing(system, lambda _thing: False) == [*COMMON, *expected]


@pytest.mark.parametrize("system", [TRIXIE, BOOKWORM, NOBLE])
def test_an_existing_engine_is_kept(system: System) -> None:
    """Docker CE has its client and plugins in its own packages, which conflict with the distribution's."""
    assert packages.missing(system, lambda thing: thing == "dockerd") == COMMON


def test_nothing_is_missing_if_everything_is_installed() -> None:
    assert packages.missing(TRIXIE, lambda _thing: True) == []


def test_a_failure_of_apt_is_one_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "apt-get"
    program.write_text("#!/bin/sh\necho 'E: no network'; exit 100\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    lines: list[str] = []
    with pytest.raises(HostError, match="apt-get update failed"):
        packages.install(["git"], lines.append)
    assert lines == ["E: no network"]
