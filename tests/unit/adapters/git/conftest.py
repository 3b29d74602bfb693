"""Fixtures for the tests of Git."""

from pathlib import Path

import pytest

from pushrod.adapters import git


@pytest.fixture
def repository(home: Path, tmp_path: Path) -> Path:
    """An app's repository whose hooks accept everything and do nothing."""
    path = tmp_path / "repo.git"
    git.create_repository(path, ["true"])
    return path
