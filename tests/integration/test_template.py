"""The output of `pushrod new` passes its own checks and tests, as its user runs them."""

import os
import subprocess
from pathlib import Path

import pytest

from pushrod.cli import scaffold

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("shop")
    scaffold.create("shop", directory / "shop")
    return directory / "shop"


@pytest.mark.long
@pytest.mark.parametrize("target", ["lint", "test"])
def test_the_make_targets_of_a_new_repository_pass(repository: Path, target: str) -> None:
    """The first target makes the environment from the locked requirements."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "PYTHONDONTWRITE", "MAKE"))}
    done = subprocess.run(
        ["make", target],
        cwd=repository,
        env=kept,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        check=False,
    )
    print(done.stdout[-8000:])
    assert done.returncode == 0
