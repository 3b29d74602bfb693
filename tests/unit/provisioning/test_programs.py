"""The programs of a host: copied if they would disappear with pushrod, linked if they stay, never too old."""

import ast
import sys
from pathlib import Path

import pytest

from pushrod.adapters import compose_loader
from pushrod.core.errors import HostError
from pushrod.provisioning import changes, packages, programs
from pushrod.system import files, processes


@pytest.fixture(autouse=True)
def mine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are owned by the user who runs the tests."""
    monkeypatch.setattr(changes.file, "__kwdefaults__", {**(changes.file.__kwdefaults__ or {}), "owner": _me})


def _me() -> tuple[int, int]:
    import os

    return os.geteuid(), os.getegid()


def fake(path: Path, version: str) -> Path:
    files.write(path, f"#!/bin/sh\necho {version}\n", mode=0o755)
    return path


@pytest.mark.parametrize("version", ["2.20.0", "v2.26.1", "2.26.1-4", "2.40.3-desktop.1", "3.0.0"])
def test_an_installed_compose_is_linked(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUSHROD_COMPOSE", str(fake(tmp_path / "docker-compose", version)))
    made = programs.composer(tmp_path / "here", installing=False)
    made.carry_out()
    assert (tmp_path / "here").readlink() == tmp_path / "docker-compose"
    assert programs.composer(tmp_path / "here", installing=False).change.action == "same"


@pytest.mark.parametrize("version", ["1.29.2", "2.19.1", "2.2.3"])
def test_a_compose_version_that_is_too_old_is_refused(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUSHROD_COMPOSE", str(fake(tmp_path / "docker-compose", version)))
    with pytest.raises(HostError, match=f"Docker Compose {version} is too old: 2.20 or newer"):
        programs.composer(tmp_path / "here", installing=False)


@pytest.mark.slow
def test_the_compose_of_the_package_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = programs.compose_program()
    assert program is not None
    assert program.is_relative_to(sys.prefix)
    programs.composer(tmp_path / "here", installing=False).carry_out()
    assert (tmp_path / "here").read_bytes() == program.read_bytes()
    assert not (tmp_path / "here").is_symlink()


def test_a_missing_compose_is_refused_or_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose_loader, "argv_of", lambda: ())
    monkeypatch.setattr(packages, "_PLUGINS", ())
    with pytest.raises(HostError, match="no Docker Compose"):
        programs.composer(tmp_path / "here", installing=False)
    assert programs.composer(tmp_path / "here", installing=True).change.action == "new"


@pytest.mark.parametrize("path", programs.SCRIPTS, ids=lambda path: path.name)
def test_every_script_does_without_pushrod_if_it_is_not_there(path: Path) -> None:
    """Its copy has the modules that it imports in its own directory."""
    tree = ast.parse(path.read_text())
    attempts = [node for node in tree.body if isinstance(node, ast.Try)]
    tried = {id(node) for attempt in attempts for node in attempt.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pushrod"):
            assert id(node) in tried, ast.unparse(node)


@pytest.mark.slow
def test_every_script_runs_with_the_standard_library_only(tmp_path: Path) -> None:
    """They are run by the system's Python with `-I -S`: only the standard library is available."""
    for path in programs.SCRIPTS:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for path in programs.SCRIPTS:
        done = processes.run([sys.executable, "-I", "-S", tmp_path / path.name], timeout=20)
        assert "ModuleNotFoundError" not in done.stderr, done.stderr


def test_a_file_without_capabilities_has_an_empty_attribute(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    assert programs.capability(tmp_path / "x") == b""
