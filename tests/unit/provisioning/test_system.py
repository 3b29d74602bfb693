"""Which systems can be a host."""

from pathlib import Path

import pytest

from pushrod.core.errors import HostError
from pushrod.provisioning import system
from pushrod.provisioning.packages import missing
from pushrod.provisioning.system import System


def release(name: str, version: str) -> str:
    return f'PRETTY_NAME="{name} {version}"\nNAME="{name}"\nVERSION_ID="{version}"\nID={name.lower()}\n'


# From the package base-files.
JAMMY = """\
PRETTY_NAME="Ubuntu 22.04.5 LTS"
NAME="Ubuntu"
VERSION_ID="22.04"
VERSION="22.04.5 LTS (Jammy Jellyfish)"
VERSION_CODENAME=jammy
ID=ubuntu
ID_LIKE=debian
HOME_URL="https://www.ubuntu.com/"
SUPPORT_URL="https://help.ubuntu.com/"
BUG_REPORT_URL="https://bugs.launchpad.net/ubuntu/"
PRIVACY_POLICY_URL="https://www.ubuntu.com/legal/terms-and-policies/privacy-policy"
UBUNTU_CODENAME=jammy
"""
NOBLE = """\
PRETTY_NAME="Ubuntu 24.04.3 LTS"
NAME="Ubuntu"
VERSION_ID="24.04"
VERSION="24.04.3 LTS (Noble Numbat)"
VERSION_CODENAME=noble
ID=ubuntu
ID_LIKE=debian
HOME_URL="https://www.ubuntu.com/"
SUPPORT_URL="https://help.ubuntu.com/"
BUG_REPORT_URL="https://bugs.launchpad.net/ubuntu/"
PRIVACY_POLICY_URL="https://www.ubuntu.com/legal/terms-and-policies/privacy-policy"
UBUNTU_CODENAME=noble
LOGO=ubuntu-logo
"""
BOOKWORM = """\
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION="12 (bookworm)"
VERSION_CODENAME=bookworm
ID=debian
HOME_URL="https://www.debian.org/"
SUPPORT_URL="https://www.debian.org/support"
BUG_REPORT_URL="https://bugs.debian.org/"
"""


def ask(tmp_path: Path, text: str, init: str = "systemd") -> System:
    (tmp_path / "os-release").write_text(text)
    (tmp_path / "comm").write_text(f"{init}\n")
    return system.supported(tmp_path / "os-release", tmp_path / "comm")


@pytest.mark.parametrize(
    ("name", "version", "numbers"),
    [
        ("Debian", "12", (12,)),
        ("Debian", "13", (13,)),
        ("Ubuntu", "24.10", (24, 10)),
        ("Ubuntu", "26.04", (26, 4)),
    ],
)
def test_a_supported_system_is_accepted(
    name: str, version: str, numbers: tuple[int, ...], tmp_path: Path
) -> None:
    assert ask(tmp_path, release(name, version)) == System(name.lower(), numbers)


def test_the_supported_systems_have_their_packages(tmp_path: Path) -> None:
    """Each with the packages that a bare system gets."""
    result = [ask(tmp_path, text) for text in (BOOKWORM, NOBLE)]
    assert result == [System("debian", (12,)), System("ubuntu", (24, 4))]
    docker = [[p for p in missing(s, lambda _thing: False) if p.startswith("docker")] for s in result]
    assert docker == [["docker.io"], ["docker.io", "docker-compose-v2", "docker-buildx"]]


def test_a_system_whose_python_is_too_old_is_refused_with_its_name(tmp_path: Path) -> None:
    assert system.parse(JAMMY) == System("ubuntu", (22, 4))
    with pytest.raises(HostError, match=r"Ubuntu 22\.04\.5 LTS cannot be a host") as refused:
        ask(tmp_path, JAMMY)
    assert "Ubuntu 24.04 or newer" in refused.value.hint


@pytest.mark.parametrize(
    "text", [release("Debian", "11"), release("Ubuntu", "23.10"), release("Fedora", "43"), "", "ID=debian\n"]
)
def test_an_unsupported_system_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="cannot be a host") as refused:
        ask(tmp_path, text)
    assert "Debian 12 or newer" in refused.value.hint


def test_an_init_system_other_than_systemd_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="tini is the first process here, not systemd"):
        ask(tmp_path, release("Debian", "13"), init="tini")
