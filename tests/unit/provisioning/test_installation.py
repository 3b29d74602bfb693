"""Which pushrod units and keys name."""

from pathlib import Path

import pytest

from pushrod.provisioning import installation
from pushrod.system import files


@pytest.mark.parametrize("prefix", ["/home/me/.venv", "/root/venv", "/tmp/x", "/opt/nothing-is-here"])
def test_a_temporary_installation_is_not_named(prefix: str) -> None:
    assert installation.program(prefix) == Path("/opt/pushrod/bin/pushrod")


def test_a_permanent_installation_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "_STAYS", (str(tmp_path),))
    files.write(tmp_path / "venv" / "bin" / "pushrod", "", mode=0o755)
    assert installation.program(str(tmp_path / "venv")) == tmp_path / "venv" / "bin" / "pushrod"


def test_the_command_is_linked_unless_its_name_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "COMMAND", tmp_path / "pushrod")
    made = installation.command()
    made.carry_out()
    assert (tmp_path / "pushrod").readlink() == installation.program()
    assert installation.command().change.action == "same"
    (tmp_path / "pushrod").unlink()
    (tmp_path / "pushrod").write_text("somebody's")
    assert installation.command().change.action == "kept"
