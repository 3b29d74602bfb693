"""Levels of log lines, and filters."""

import pytest

from pushrod.core.values import Line
from pushrod.web.loglines import Filter, level, parse, selected

LINES = [
    Line("backend-1", t) for t in ("INFO up", "WARNING slow id=7", "ERROR Boom id=7", "error in lower case")
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026 ERROR x", "error"),
        ("Traceback (most recent call last):", "error"),
        ("[WARN] x", "warning"),
        ("INFO no error here", ""),
        ("TERROR", ""),
        ('{"level":"warn","msg":"ERROR"}', "warning"),
        ('{"severity": "CRITICAL"}', "error"),
        ('{"level":"info","msg":"ERROR"}', ""),
    ],
)
def test_a_level_is_what_the_logger_wrote(text: str, expected: str) -> None:
    assert level(text) == expected


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        (Filter(), 4),
        (Filter(level="warning"), 2),
        (Filter(level="error"), 1),
        (Filter(text="boom"), 1),
        (Filter(request="id=7"), 2),
        (Filter(level="error", request="id=8"), 0),
    ],
)
def test_lines_are_filtered(which: Filter, expected: int) -> None:
    assert len(selected(LINES, which)) == expected


def test_only_printed_lines_are_lines() -> None:
    output = '{"process": "a-1", "line": "x\\ny"}\nnot JSON\n{"other": 1}\n\n{"process":"a-1","line":"<b>"}'
    assert parse(output) == [Line("a-1", "x\ny"), Line("a-1", "<b>")]
