"""x-pushrod.metrics of a service."""

import pytest

from pushrod.core.errors import ManifestError
from pushrod.manifest import scraping
from pushrod.manifest.document import Key


@pytest.mark.parametrize(
    ("value", "port", "expected"),
    [
        (None, 8000, None),
        ({}, 8000, (8000, "/metrics")),
        ({"port": 9100}, 8000, (9100, "/metrics")),
        ({"port": 9100, "path": "/internal/metrics?all=1"}, 0, (9100, "/internal/metrics?all=1")),
    ],
)
def test_values(value: object, port: int, expected: tuple[int, str] | None) -> None:
    assert scraping.read(Key("x-pushrod.metrics", value), port) == expected


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"port": 0},
        {"port": 70000},
        {"port": 1, "path": "metrics"},
        {"port": 1, "path": "/a\nb"},
        {"host": "x"},
        "9100",
    ],
)
def test_everything_else_is_refused(value: object) -> None:
    with pytest.raises(ManifestError):
        scraping.read(Key("x-pushrod.metrics", value), 0)
