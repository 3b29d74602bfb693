"""The repository that `pushrod new` makes, from the real template."""

import ast
import subprocess
from pathlib import Path

import pytest
import yaml

from pushrod.adapters import git
from pushrod.cli import scaffold
from pushrod.core.errors import UnknownNameError
from pushrod.releases import secret_scan

FILES = scaffold.template_files("shop")


def test_the_files_a_repository_begins_with() -> None:
    assert {
        ".env.example",
        ".gitignore",
        "compose.yaml",
        "docker/backend/Dockerfile",
        "backend/requirements.txt",
    } <= set(FILES)


def test_nothing_is_left_of_the_templates_own_notation() -> None:
    for path, text in FILES.items():
        assert "{{name}}" not in text, path
        assert "dot_" not in path


def test_what_tools_leave_in_the_template_is_not_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (".ruff_cache/0", ".venv/bin/python", "app/__pycache__/main.pyc", ".DS_Store"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\xff\x00")
    (tmp_path / "app" / "dot_env.example").write_text("NAME={{name}}\n")
    monkeypatch.setattr(scaffold, "TEMPLATE", tmp_path)
    assert scaffold.template_files("shop") == {"app/.env.example": "NAME=shop\n"}


@pytest.mark.slow
def test_every_python_file_is_one() -> None:
    found = {path: text for path, text in FILES.items() if path.endswith(".py")}
    assert len(found) > 5
    for path, text in found.items():
        ast.parse(text, path)


def test_the_manifest_is_yaml_with_services() -> None:
    services = yaml.safe_load(FILES["compose.yaml"])["services"]
    assert {"backend", "postgres", "redis", "cache"} <= set(services)


@pytest.mark.slow
def test_a_new_repository_has_one_commit_of_every_file_by_its_user(home: Path, tmp_path: Path) -> None:
    target = tmp_path / "new place" / "shop"
    scaffold.create("shop", target)
    assert git.git(target, "log", "--format=%s by %an").strip() == "shop: begin by Ada"
    assert git.git(target, "status", "--porcelain") == ""
    listed = git.git(target, "ls-files", "-z").split("\0")[:-1]
    assert sorted(listed) == sorted(FILES)
    assert git.git(target, "branch", "--show-current").strip() == "main"


@pytest.mark.slow
def test_a_new_repository_can_be_pushed_at_once(home: Path, tmp_path: Path) -> None:
    scaffold.create("shop", tmp_path / "shop")
    secret_scan.check(tmp_path / "shop", git.resolve(tmp_path / "shop", "HEAD"))


@pytest.mark.slow
def test_a_users_env_file_is_not_committed_by_mistake(home: Path, tmp_path: Path) -> None:
    target = tmp_path / "shop"
    scaffold.create("shop", target)
    (target / ".env").write_text("SECRET=1")
    assert git.git(target, "status", "--porcelain") == ""


@pytest.mark.slow
def test_git_needs_not_to_know_its_user(home: Path, tmp_path: Path) -> None:
    (home / ".gitconfig").write_text("")
    scaffold.create("shop", tmp_path / "shop")
    assert git.git(tmp_path / "shop", "log", "--format=%an").strip() == "pushrod"


@pytest.mark.slow
def test_an_empty_folder_is_taken_and_one_with_files_is_not(home: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    scaffold.create("shop", tmp_path / "empty")
    for taken in (tmp_path / "empty", tmp_path / "empty" / "compose.yaml"):
        before = subprocess.run(["ls", "-lAR", taken], capture_output=True, check=True).stdout
        with pytest.raises(UnknownNameError, match="already exists"):
            scaffold.create("shop", taken)
        assert subprocess.run(["ls", "-lAR", taken], capture_output=True, check=True).stdout == before
