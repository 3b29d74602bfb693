"""What a recovery proves.

PostgreSQL itself is in tests/integration/test_points.py.
"""

from pathlib import Path
from typing import Any

import pytest

from pushrod.adapters.postgres import recovery
from pushrod.adapters.postgres.wal import segment
from pushrod.core.errors import StoreError
from pushrod.system.streams import Source
from tests.unit.adapters.postgres.test_base_backups import WHOLE, archive

SIZE = 1 << 20


class Place:
    """A place whose server has applied the log up to `reached`."""

    def __init__(self, reached: str) -> None:
        self.reached = reached
        self.server: Any = self

    def unpack(self, archive: Source) -> None:
        """As `Place.unpack`."""
        while archive.read(1 << 16):
            pass

    def control(self, *_: str) -> bool:
        """As `Place.control`."""
        return True

    def log(self) -> str:
        """As `Place.log`."""
        return ""

    def query(self, sql: str) -> list[tuple[str, ...]]:
        """As `Database.query`."""
        return [("f",)] if "pg_is_in_recovery" in sql else [(self.reached,)]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.tar"
    path.write_bytes(archive(*WHOLE))
    return path


@pytest.fixture
def log(tmp_path: Path) -> list[tuple[str, Path]]:
    """Segments 2 to 4."""
    names = [segment(1, n, SIZE) for n in (2, 3, 4)]
    for name in names:
        (tmp_path / name).write_bytes(bytes(SIZE))
    return [(name, tmp_path / name) for name in names]


@pytest.mark.parametrize("reached", ["0/400090", "0/3FFF00"])
def test_a_recovery_to_the_end_has_applied_all_of_the_log(
    base: Path, log: list[tuple[str, Path]], reached: str
) -> None:
    place = Place(reached)
    assert recovery.recover(place, base, iter(log), "", "/data") is place.server


@pytest.mark.parametrize("reached", ["0/201AF0", "0/2FFFFF", ""])
def test_a_recovery_that_ends_early_is_an_error(
    base: Path, log: list[tuple[str, Path]], reached: str
) -> None:
    with pytest.raises(StoreError, match="before the end of the log"):
        recovery.recover(Place(reached), base, log, "", "/data")
    recovery.recover(
        Place(reached), base, log, "2026-11-22T10:00:00+00:00", "/data"
    )  # PostgreSQL has proved that
