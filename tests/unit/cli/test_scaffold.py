"""The repository that `pushrod new` makes, from the real template."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from pushrod.adapters import git
from pushrod.cli import scaffold
from pushrod.core.errors import UnknownNameError
from pushrod.releases import secret_scan

STACKS = [*scaffold.STACKS]
FILES = scaffold.template_files("shop")
OF_STACK = {stack: scaffold.template_files("shop", stack) for stack in STACKS}


def test_a_new_repository_has_its_essential_files() -> None:
    assert {
        ".env.example",
        ".gitignore",
        "compose.yaml",
        "docker/backend/Dockerfile",
        "backend/requirements.txt",
    } <= set(FILES)


def test_the_java_shop_has_the_same_page_and_stores_and_no_python() -> None:
    java = OF_STACK["spring"]
    assert {"backend/pom.xml", "docker/backend/Dockerfile", "compose.yaml", "README.md"} <= set(java)
    assert not [path for path in java if path.endswith((".py", ".in", ".toml"))]
    common = {path for path in java if java[path] == FILES.get(path)}
    shown = {path for path in FILES if path.startswith(("frontend/", "docker/nginx/", "docker/redis/"))}
    assert shown | {".env.example", "deploy.sh", ".github/workflows/deploy.yml"} <= common
    stores = [yaml.safe_load(files["compose.yaml"])["services"] for files in (FILES, java)]
    for name in ("nginx", "postgres", "redis", "cache"):
        assert stores[0][name] == stores[1][name]


def test_every_version_of_the_java_shop_is_pinned() -> None:
    """Maven's enforcer refuses the rest: ranges, snapshots, plugins without a version."""
    pom = OF_STACK["spring"]["backend/pom.xml"]
    versions = re.findall(r"<version>(.*?)</version>", pom)
    assert all(re.fullmatch(r"\d[\w.]*|\[17,\)", version) for version in versions), versions
    assert "<banDynamicVersions/>" in pom
    assert "<requirePluginVersions>" in pom


@pytest.mark.parametrize("stack", STACKS)
def test_no_template_placeholder_remains(stack: str) -> None:
    for path, text in OF_STACK[stack].items():
        assert "{{name}}" not in text, path
        assert "dot_" not in path


def test_files_left_by_tools_in_the_template_are_not_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = (
        ".ruff_cache/0",
        ".venv/bin/python",
        "app/__pycache__/main.pyc",
        ".DS_Store",
        "app/target/app.jar",
    )
    for name in left:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\xff\x00")
    (tmp_path / "app" / "dot_env.example").write_text("NAME={{name}}\n")
    monkeypatch.setitem(scaffold.STACKS, "python", tmp_path)
    assert scaffold.template_files("shop") == {"app/.env.example": "NAME=shop\n"}


@pytest.mark.slow
def test_every_python_file_is_valid_syntax() -> None:
    result = {path: text for path, text in FILES.items() if path.endswith(".py")}
    assert len(result) > 5
    for path, text in result.items():
        ast.parse(text, path)


def test_the_manifest_is_yaml_with_services() -> None:
    services = yaml.safe_load(FILES["compose.yaml"])["services"]
    assert {"backend", "postgres", "redis", "cache"} <= set(services)


@pytest.mark.slow
@pytest.mark.parametrize("stack", STACKS)
def test_a_new_repository_has_one_commit_of_every_file_by_its_user(
    home: Path, tmp_path: Path, stack: str
) -> None:
    target = tmp_path / "new place" / "shop"
    scaffold.create("shop", target, stack)
    assert git.git(target, "log", "--format=%s by %an").strip() == "shop: begin by Ada"
    assert git.git(target, "status", "--porcelain") == ""
    listed = git.git(target, "ls-files", "-z").split("\0")[:-1]
    assert sorted(listed) == sorted(OF_STACK[stack])
    assert git.git(target, "branch", "--show-current").strip() == "main"


@pytest.mark.slow
@pytest.mark.parametrize("stack", STACKS)
def test_a_new_repository_passes_the_secret_scan(home: Path, tmp_path: Path, stack: str) -> None:
    scaffold.create("shop", tmp_path / "shop", stack)
    secret_scan.check(tmp_path / "shop", git.resolve(tmp_path / "shop", "HEAD"))


@pytest.mark.slow
def test_a_users_env_file_is_not_committed_by_mistake(home: Path, tmp_path: Path) -> None:
    target = tmp_path / "shop"
    scaffold.create("shop", target)
    (target / ".env").write_text("SECRET=1")
    assert git.git(target, "status", "--porcelain") == ""


@pytest.mark.slow
def test_a_repository_is_created_without_a_git_user(home: Path, tmp_path: Path) -> None:
    (home / ".gitconfig").write_text("")
    scaffold.create("shop", tmp_path / "shop")
    assert git.git(tmp_path / "shop", "log", "--format=%an").strip() == "pushrod"


@pytest.mark.slow
def test_an_empty_directory_is_used_and_one_with_files_is_refused(home: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    scaffold.create("shop", tmp_path / "empty")
    for taken in (tmp_path / "empty", tmp_path / "empty" / "compose.yaml"):
        before = subprocess.run(["ls", "-lAR", taken], capture_output=True, check=True).stdout
        with pytest.raises(UnknownNameError, match="already exists"):
            scaffold.create("shop", taken)
        assert subprocess.run(["ls", "-lAR", taken], capture_output=True, check=True).stdout == before
