from pathlib import Path

import pytest

from pushrod.adapters.postgres.programs import Programs, environment, server_argv
from pushrod.core.errors import HostError, StoreError


def program(directory: Path, body: str) -> Programs:
    path = directory / "postgres"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return Programs(directory)


def test_the_version_is_the_number_only(tmp_path: Path) -> None:
    programs = program(tmp_path, "echo 'postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)'")
    assert programs.version() == "15.18"
    assert programs.major() == "15"


def test_version_of_a_development_build_has_a_major(tmp_path: Path) -> None:
    assert program(tmp_path, "echo 'postgres (PostgreSQL) 19.devel'").major() == "19"


def test_a_failing_version_command_is_an_error_with_its_output(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        program(tmp_path, "echo 'wrong machine' >&2; exit 126").version()
    assert "126" in caught.value.what
    assert caught.value.log == ("wrong machine",)


def test_a_missing_program_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HostError):
        Programs(tmp_path).version()


def test_server_argv_runs_in_the_foreground_on_the_data() -> None:
    argv = server_argv(Programs(Path("/pg/bin")), Path("/srv/data dir"))
    assert argv == ("/pg/bin/postgres", "-D", "/srv/data dir")


def test_the_environment_inherits_no_postgresql_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGDATA", "PGOPTIONS", "PGSERVICE", "TZ", "LC_MESSAGES"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    assert environment() == {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
