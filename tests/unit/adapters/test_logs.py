"""The part of a log after a position."""

import pytest

from pushrod.adapters import logs
from pushrod.adapters.postgres.wal import Log, segment

SIZE = 16 << 20


@pytest.mark.parametrize(
    ("begin", "end", "numbers"),
    [
        (SIZE + 7, 3 * SIZE + 5, (1, 2, 3)),
        (2 * SIZE, 3 * SIZE, (2,)),  # the next one is not begun
        (3 * SIZE, 3 * SIZE, (3,)),
    ],
)
def test_it_ends_with_the_segment_that_is_written(begin: int, end: int, numbers: tuple[int, ...]) -> None:
    log = Log(None, "store db")  # type: ignore[arg-type]
    assert logs.segments(log, 1, SIZE, begin, end) == [segment(1, n, SIZE) for n in numbers]
