"""Whom tests of the system run children as, and where those may go."""

import pwd
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def account() -> pwd.struct_passwd:
    """The account of children: that of a host, else nobody."""
    for name in ("pushrod", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip("no account for children here")


@pytest.fixture
def outside() -> Iterator[Path]:
    """A directory of our own that every account may pass."""
    with tempfile.TemporaryDirectory(prefix="pushrod-test-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path
