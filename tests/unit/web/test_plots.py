"""Plots are well-formed, bounded, and contain nobody's markup."""

import xml.etree.ElementTree as ET

import pytest

from pushrod.web import plots
from pushrod.web.plots import HEIGHT, Series

BEGINS = [1767268800.0 + n * 60 for n in range(60)]
EVIL = '"><script>alert(1)</script>'


def parsed(markup: str) -> ET.Element:
    return ET.fromstring(markup)  # noqa: S314  our own


def test_bars_are_stacked_within_the_frame() -> None:
    series = [Series("a", "a", [float(n) for n in range(60)]), Series(EVIL, "c", [1.0] * 60)]
    figure = parsed(plots.bars(EVIL, BEGINS, series))
    bars = figure.findall(".//rect")
    assert len(bars) == 59 + 60
    assert all(float(r.get("y", "")) >= 0 and float(r.get("height", "")) <= HEIGHT for r in bars)
    assert figure.find(".//script") is None
    assert figure.find("svg").get("aria-label") == EVIL  # type: ignore[union-attr]


def test_a_line_is_broken_where_there_is_no_value() -> None:
    figure = parsed(plots.lines("x", BEGINS[:4], [Series("p50", "a", [1.0, 2.0, 0.0, 3.0])], " ms"))
    path = figure.find(".//path[@class='stroke a']")
    assert path is not None
    assert (path.get("d", "").count("M"), path.get("d", "").count("L")) == (2, 1)


def test_nothing_to_plot_is_an_empty_frame() -> None:
    assert parsed(plots.bars("x", [], [])).findall(".//rect") == []


@pytest.mark.parametrize(("most", "expected"), [(0, 1), (0.3, 0.5), (1, 1), (1.2, 2), (7, 10), (240, 500)])
def test_an_axis_ends_at_a_round_number(most: float, expected: float) -> None:
    assert plots.nice(most) == pytest.approx(expected)
