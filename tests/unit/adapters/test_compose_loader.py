"""The program that reads compose files: another one can be set, and one that does not work is refused."""

from pathlib import Path

import pytest

from pushrod.adapters import compose_loader
from pushrod.core.errors import HostError


def test_another_loader_can_be_set(tmp_path: Path) -> None:
    program = tmp_path / "my compose"
    program.write_text("#!/bin/sh\necho 2.99.0\n")
    program.chmod(0o755)
    assert compose_loader.argv_of({"PUSHROD_COMPOSE": str(program)}) == (str(program),)
    assert compose_loader.version((str(program),)) == "2.99.0"
    assert compose_loader.argv_of({"PUSHROD_COMPOSE": "docker compose"}) == ("docker", "compose")


def test_a_loader_that_does_not_work_is_refused() -> None:
    with pytest.raises(HostError, match="does not work"):
        compose_loader.version(("false",))
