"""How Git is called, by a user with a configuration."""

import os

import pytest

from pushrod.adapters import git
from pushrod.core.errors import RepositoryError
from tests.conftest import Tree


def test_git_commands_do_not_inherit_the_git_variables_of_a_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    monkeypatch.setenv("GIT_QUARANTINE_PATH", "/q")
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", "/q")
    assert {k for k in git.environment() if k.startswith("GIT_")} == {
        *("GIT_TERMINAL_PROMPT", "GIT_NO_REPLACE_OBJECTS", "GIT_ATTR_NOSYSTEM"),
    }
    kept = git.environment(os.environ)
    assert {k: v for k, v in kept.items() if k.startswith("GIT_")} == {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_OBJECT_DIRECTORY": "/q",
    }


def test_an_error_contains_gits_own_message(tree: Tree) -> None:
    with pytest.raises(RepositoryError, match=r"git show failed: fatal: .*nonsense"):
        git.git(tree.path, "show", "nonsense")
