"""Times as people read them."""

from pushrod.core import times


def test_a_time_is_shown_to_the_minute_or_to_the_second() -> None:
    at = "2026-11-23T02:00:07.104+00:00"
    assert times.to_the_minute(at) == "2026-11-23 02:00 UTC"
    assert times.to_the_second(at) == "2026-11-23 02:00:07 UTC"
