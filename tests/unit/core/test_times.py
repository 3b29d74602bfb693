"""Times of records, and as people read them."""

from pushrod.core import times
from pushrod.core.times import now


def test_a_time_is_shown_to_the_minute_or_to_the_second() -> None:
    at = "2026-11-23T02:00:07.104+00:00"
    assert times.to_the_minute(at) == "2026-11-23 02:00 UTC"
    assert times.to_the_second(at) == "2026-11-23 02:00:07 UTC"


def test_times_sort_as_text() -> None:
    one, other = now(), now()
    assert one <= other
    assert one.endswith("+00:00")
    assert len(one) == len("2026-01-01T00:00:00.000+00:00")
