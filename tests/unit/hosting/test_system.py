"""Which systems can be a host."""

from pathlib import Path

import pytest

from pushrod.errors import HostError
from pushrod.hosting import system
from pushrod.hosting.system import System


def release(name: str, version: str) -> str:
    return f'PRETTY_NAME="{name} {version}"\nNAME="{name}"\nVERSION_ID="{version}"\nID={name.lower()}\n'


def ask(tmp_path: Path, text: str, init: str = "systemd") -> System:
    (tmp_path / "os-release").write_text(text)
    (tmp_path / "comm").write_text(f"{init}\n")
    return system.supported(tmp_path / "os-release", tmp_path / "comm")


@pytest.mark.parametrize(
    ("name", "version", "numbers"),
    [
        ("Debian", "12", (12,)),
        ("Debian", "13", (13,)),
        ("Ubuntu", "22.04", (22, 4)),
        ("Ubuntu", "26.04", (26, 4)),
    ],
)
def test_a_system_that_will_do(name: str, version: str, numbers: tuple[int, ...], tmp_path: Path) -> None:
    assert ask(tmp_path, release(name, version)) == System(name.lower(), numbers)


@pytest.mark.parametrize(
    "text", [release("Debian", "11"), release("Ubuntu", "20.04"), release("Fedora", "43"), "", "ID=debian\n"]
)
def test_a_system_that_will_not_do(text: str, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="cannot be a host") as refused:
        ask(tmp_path, text)
    assert "Debian 12 or newer" in refused.value.hint


def test_another_first_process_than_systemd(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="tini is the first process here, not systemd"):
        ask(tmp_path, release("Debian", "13"), init="tini")
