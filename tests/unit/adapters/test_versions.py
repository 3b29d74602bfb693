"""The version of a program, with real ones."""

from pathlib import Path

import pytest

from pushrod.adapters import versions
from pushrod.core.errors import StoreError


def program(directory: Path, text: str) -> Path:
    path = directory / "server"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_version_is_the_text_that_the_pattern_matches(tmp_path: Path) -> None:
    assert versions.of(program(tmp_path, "echo Valkey server v=9.1.2 sha=0"), r"\bv=(\S+)", "") == "9.1.2"


@pytest.mark.parametrize("text", ["echo 9.1; echo no such library >&2; exit 3", "echo hello"])
def test_a_program_that_fails_or_prints_none_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(StoreError, match="--version` ended with status") as caught:
        versions.of(program(tmp_path, text), r"(\d+\.\d+)", "set another one")
    assert caught.value.hint == "set another one"
    assert caught.value.log == (("no such library",) if "exit" in text else ())


def test_a_program_is_asked_once_until_it_changes(tmp_path: Path) -> None:
    path = program(tmp_path, f"echo asked >> {tmp_path}/asked; echo 9.1")
    assert [versions.of(path, r"(\d+\.\d+)", "") for _ in range(3)] == ["9.1"] * 3
    assert (tmp_path / "asked").read_text() == "asked\n"
    assert versions.of(program(tmp_path, "echo Valkey server 9.2"), r"(\d+\.\d+)", "") == "9.2"
