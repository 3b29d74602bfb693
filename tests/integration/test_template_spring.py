"""The output of `pushrod new --stack spring`: its own tests pass with a real PostgreSQL and two real Valkey."""

from pathlib import Path

import pytest

from devtools import java

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(java.lacking()), reason=java.lacking()),
]


def test_its_own_tests_pass(tmp_path: Path) -> None:
    """With the account of the release command, because they migrate too."""
    tmp_path.chmod(0o755)
    repository = java.repository(tmp_path / "shop")
    place = tmp_path / "stores"
    place.mkdir()
    with java.stores(place) as variables:
        said = java.maven(repository, "verify", **variables)
    assert "BUILD SUCCESS" in said
