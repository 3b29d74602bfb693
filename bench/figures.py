"""Figures and their table: a median with its spread, a target, and the ratio to another figure of the same run."""

import dataclasses
import json
import os
import platform
import statistics
from typing import Literal

from devtools.columns import columns

Unit = Literal["s", "1/s", "requests", "processes", "times", "x", "MB"]


@dataclasses.dataclass(frozen=True)
class Figure:
    """A quantity measured `len(values)` times.

    `target` is the most it should be, with `least` the least; it applies to the median, with `worst` to the largest
    value. The unit `x` is a ratio of figures that belong together. `reference` is another figure of the run;
    `ratio`, relative to it, can be compared between machines.
    """

    name: str
    values: tuple[float, ...]
    unit: Unit = "s"
    target: float | None = None
    worst: bool = False
    least: bool = False
    reference: "Figure | None" = None

    @property
    def median(self) -> float:
        """The median of the values."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None if there is none."""
        if self.target is None:
            return None
        value = max(self.values) if self.worst else self.median
        return value >= self.target if self.least else value <= self.target

    @property
    def ratio(self) -> float | None:
        """The median divided by the reference's median."""
        return self.median / self.reference.median if self.reference else None


def table(figures: list[Figure]) -> str:
    """The figures for people, one per line."""
    rows = [("", "median", "[min .. max]", "n", "target", "met", "ratio")]
    rows += [_row(f) for f in figures]
    return columns(rows, left=len(rows[0]))


def _row(f: Figure) -> tuple[str, str, str, str, str, str, str]:
    met = {None: "", True: "yes", False: "NO"}[f.met]
    target = "" if f.target is None else f"{'>=' if f.least else '<='} {_text(f.target, f.unit)}"
    ratio = f"{f.ratio:.2f} x {f.reference.name}" if f.ratio is not None and f.reference else ""
    spread = f"[{_text(min(f.values), f.unit)} .. {_text(max(f.values), f.unit)}]"
    return (f.name, _text(f.median, f.unit), spread, str(len(f.values)), target, met, ratio)


def _text(value: float, unit: Unit) -> str:
    if unit == "x":
        return f"{value:.3f}"
    if unit != "s":
        return f"{value:.0f}" if unit in ("1/s", "MB") else f"{value:g}"
    if value < 0.02:
        return f"{value * 1000:.2f} ms"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def document(figures: list[Figure]) -> str:
    """The figures for programs, with what is needed to judge them."""
    return (
        json.dumps(
            {
                "machine": platform.machine(),
                "system": platform.platform(),
                "python": platform.python_version(),
                "cpus": os.cpu_count(),
                "load_average": os.getloadavg(),
                "figures": [_plain(f) for f in figures],
            },
            indent=2,
        )
        + "\n"
    )


def _plain(f: Figure) -> dict[str, object]:
    return {
        "name": f.name,
        "unit": f.unit,
        "median": f.median,
        "values": f.values,
        "target": f.target,
        "met": f.met,
        "reference": f.reference.name if f.reference else None,
        "ratio": f.ratio,
    }
