"""The account that the tests run children as, and a directory it may enter."""

import pwd
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def account() -> pwd.struct_passwd:
    """The account of children: a host's, otherwise nobody."""
    for name in ("pushrod", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip("no account for children here")


@pytest.fixture
def outside() -> Iterator[Path]:
    """A directory of ours that every account may enter."""
    with tempfile.TemporaryDirectory(prefix="pushrod-test-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path
