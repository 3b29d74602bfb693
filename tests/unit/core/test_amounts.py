"""Durations and sizes as people read them."""

import pytest

from pushrod.core.amounts import age, size_of


@pytest.mark.parametrize(
    ("seconds", "expected_text"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (86399, "23 h"),
        (2e5, "2 d"),
    ],
)
def test_ages_are_shown_in_their_largest_unit(seconds: float, expected_text: str) -> None:
    assert age(seconds) == expected_text


@pytest.mark.parametrize(
    ("count", "expected_text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_550_000, "1.6 MB"), (2 * 10**9, "2.0 GB")],
)
def test_sizes_are_shown_in_their_largest_unit(count: int, expected_text: str) -> None:
    assert size_of(count) == expected_text
