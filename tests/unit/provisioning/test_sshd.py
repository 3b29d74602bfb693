"""What sshd accepts from a client for the account, by the real sshd where there is one."""

from pathlib import Path

import pytest

from pushrod.core.errors import HostError
from pushrod.provisioning import sshd

DEBIAN = "AcceptEnv LANG LC_* COLORTERM NO_COLOR\n"
started = sshd.is_there() and Path("/run/sshd").is_dir()
real = pytest.mark.skipif(not started, reason="no sshd that has been started here")


def config(directory: Path, text: str) -> Path:
    path = directory / "sshd_config"
    path.write_text(text)
    return path


@real
@pytest.mark.parametrize(
    ("before", "after", "accepted"),
    [
        ("", DEBIAN, ()),
        ("AcceptEnv *\n", DEBIAN, ()),
        ("AcceptEnv LD_*\n", "AcceptEnv PYTHONPATH\n", ()),
        ("Match User pushrod\n    AcceptEnv PATH\nMatch all\n", DEBIAN, ("PATH",)),
    ],
)
def test_no_other_setting_adds_a_variable(
    before: str, after: str, accepted: tuple[str, ...], tmp_path: Path
) -> None:
    """An included file ends with its last line, and so does its Match block."""
    ours = tmp_path / "10-pushrod.conf"
    ours.write_text(sshd._TEXT)
    assert sshd.accepts(config(tmp_path, f"{before}Include {ours}\n{after}")) == accepted


@real
def test_what_is_accepted_without_it_is_told(tmp_path: Path) -> None:
    assert sshd.accepts(config(tmp_path, f"{DEBIAN}AcceptEnv LD_* FOO\n")) == ("LD_*", "FOO")


@real
def test_settings_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="sshd's settings cannot be read"):
        sshd.accepts(config(tmp_path, "Nonsense yes\n"))


def test_a_machine_without_sshds_directory_needs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sshd, "SETTINGS", tmp_path / "none" / "10-pushrod.conf")
    assert sshd.plan() == []


def test_its_file_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sshd, "SETTINGS", tmp_path / "10-pushrod.conf")
    assert [w.change.action for w in sshd.plan()] == ["new"]
