import io

import pytest

from pushrod.adapters import redis
from pushrod.core.errors import StoreError

WHOLE = b"REDIS0011" + b"data" * 20 + b"\xff" + b"\x01" * 8


@pytest.mark.parametrize("raw", [WHOLE, b"VALKEY080" + WHOLE[9:]])
def test_a_complete_snapshot_is_accepted(raw: bytes) -> None:
    redis.check_snapshot(io.BytesIO(raw))


@pytest.mark.parametrize(
    "raw",
    [b"", WHOLE[:-1], WHOLE[:20], b"PGDMP" + WHOLE, WHOLE + b"0123456789abcdef0123456789abcdef01234567"],
)
def test_an_invalid_or_truncated_snapshot_is_refused(raw: bytes) -> None:
    with pytest.raises(StoreError, match="not a complete snapshot"):
        redis.check_snapshot(io.BytesIO(raw))


@pytest.mark.parametrize("mark", [b"", b"0123456789abcdef0123456789abcdef01234567"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_end_mark_after_a_snapshot_is_removed(mark: bytes, size: int) -> None:
    written, raw = io.BytesIO(), WHOLE + mark
    taken = redis.Snapshot(written)
    for at in range(0, len(raw), size):
        taken.write(raw[at : at + size])
    taken.end()
    assert written.getvalue() == WHOLE
