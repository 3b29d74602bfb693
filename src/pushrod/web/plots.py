"""Plots as SVG, drawn here: they need no script, and take their colours from the style. Pure."""

import datetime
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

WIDTH, HEIGHT = 720, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 8, 10, 24


class Series(NamedTuple):
    """One line or one set of bars: its name, its class in the style, and a value for each interval."""

    name: str
    style: str
    values: Sequence[float]


def bars(label: str, begins: Sequence[float], series: Sequence[Series], unit: str = "") -> Markup:
    """Bars, the series stacked on each other."""
    totals = [sum(s.values[n] for s in series) for n in range(len(begins))]
    most = nice(max(totals, default=0))
    width = (WIDTH - _LEFT - _RIGHT) / max(1, len(begins))
    parts = []
    for n in range(len(begins)):
        y = float(HEIGHT - _BOTTOM)
        for one in series:
            height = one.values[n] / most * (HEIGHT - _TOP - _BOTTOM)
            y -= height
            if height:
                x = _LEFT + n * width
                parts.append(
                    f'<rect class="{one.style}" x="{x:.1f}" y="{y:.1f}" width="{max(0.6, width - 1):.1f}" '
                    f'height="{height:.1f}"/>'
                )
    return _frame(label, begins, most, unit, series, "".join(parts))


def lines(label: str, begins: Sequence[float], series: Sequence[Series], unit: str = "") -> Markup:
    """Lines through the middle of each interval; broken where there is no value."""
    most = nice(max((v for s in series for v in s.values), default=0.0))
    width = (WIDTH - _LEFT - _RIGHT) / max(1, len(begins))
    parts = []
    for one in series:
        path, pen = [], "M"
        for n, value in enumerate(one.values):
            if not value:
                pen = "M"
                continue
            y = HEIGHT - _BOTTOM - value / most * (HEIGHT - _TOP - _BOTTOM)
            path.append(f"{pen}{_LEFT + (n + 0.5) * width:.1f} {y:.1f}h.01")
            pen = "L"
        parts.append(f'<path class="stroke {one.style}" d="{"".join(path)}"/>')
    return _frame(label, begins, most, unit, series, "".join(parts))


def nice(most: float) -> float:
    """The least of 1, 2 and 5 times a power of ten that is not below a value."""
    if most <= 0:
        return 1.0
    step = 1e-4
    while step < most:
        for factor in (1, 2, 5):
            if step * factor >= most:
                return step * factor
        step *= 10
    return step


def _frame(
    label: str, begins: Sequence[float], most: float, unit: str, series: Sequence[Series], inner: str
) -> Markup:
    bottom = HEIGHT - _BOTTOM
    grid = "".join(
        f'<path class="rule" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>'
        f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_number(value)}{unit}</text>'
        for value, y in ((0.0, bottom), (most / 2, (bottom + _TOP) / 2), (most, _TOP))
    )
    ticks = []
    step = max(1, len(begins) // 6)
    width = (WIDTH - _LEFT - _RIGHT) / max(1, len(begins))
    for n in range(0, len(begins), step):
        at = datetime.datetime.fromtimestamp(begins[n], datetime.UTC).strftime("%H:%M")
        ticks.append(f'<text class="tick" x="{_LEFT + n * width:.1f}" y="{HEIGHT - 6}">{at}</text>')
    legend = "".join(f'<li><i class="key {s.style}"></i>{escape(s.name)}</li>' for s in series)
    return Markup(  # noqa: S704  numbers, our own names, and text that is escaped
        f'<figure class="plot"><figcaption>{escape(label)}<ul class="legend">{legend}</ul></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">'
        f"{grid}{''.join(ticks)}{inner}</svg></figure>"
    )


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.3g}"
