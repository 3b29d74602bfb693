"""`python -m bench`: measure and print one table. Times are never asserted; a failed request is."""

import argparse
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType
from typing import Any

from bench import page, reads, rows
from bench.figures import Figure, document, table
from bench.gate import Gate
from bench.market import killed_parts, last_item, market
from bench.page import Shown
from bench.server import Server
from bench.stage import BenchError, Stage
from devtools.lab import images

# The function, how often to repeat (or how many orders), and how often with --quick. `Any` is the row's stage.
Row = tuple[Callable[[Any, int], list[Figure]], int, int]
Place = Callable[[], AbstractContextManager[Any]]
ROWS = (
    (rows.startup, 10, 3),
    (rows.push_to_live, 5, 2),
    (rows.nothing_changed, 5, 2),
    (rows.under_load, 10, 2),
    (reads.reads, 5, 2),
)
GATE_ROWS = ((rows.through_the_edge, 240, 4), (rows.switch_among_many, 9, 3))
PAGE_ROWS = ((page.page, 50, 10), (page.metrics_timer, 5, 2))
ORDER_ROWS = ((killed_parts, 10_000, 300),)
SALE_ROWS = ((last_item, 20, 3),)
SERVER_ROWS = ((rows.push_to_server, 5, 2),)

_FIRST: dict[Place, str] = {Gate: "the backends behind the edge", Shown: "many apps"}


def main() -> int:
    """0 if everything could be measured and no request failed, 1 otherwise."""
    parser = argparse.ArgumentParser(
        prog="bench", description="What pushrod costs, measured on this machine."
    )
    parser.add_argument(
        "--quick", action="store_true", help="few repetitions, to check that everything works"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    parser.add_argument(
        "--row",
        action="append",
        choices=[
            r.__name__ for r, _, _ in (*ROWS, *GATE_ROWS, *PAGE_ROWS, *ORDER_ROWS, *SALE_ROWS, *SERVER_ROWS)
        ],
        help="measure only this row; repeatable",
    )
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    try:
        figures = measure(options.row, quick=options.quick)
    except (BenchError, subprocess.TimeoutExpired) as e:
        print(f"bench: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(table(figures))
    if options.json:
        options.json.write_text(document(figures))
    return 1 if any(f.met is False for f in figures if f.unit in ("requests", "processes", "times")) else 0


def measure(only: list[str] | None, *, quick: bool) -> list[Figure]:
    """Measure every row: with the template's app on this machine, and with an app on a server in a box."""
    figures: list[Figure] = []
    shops: tuple[tuple[Place, tuple[Row, ...]], ...] = ((market, ORDER_ROWS), (market, SALE_ROWS))
    places: tuple[tuple[Place, tuple[Row, ...]], ...] = (
        (Stage, ROWS),
        (Gate, GATE_ROWS),
        (Shown, PAGE_ROWS),
        *shops,
        (Server, SERVER_ROWS),
    )
    for place, available in places:
        chosen = [row for row in available if not only or row[0].__name__ in only]
        if not chosen:
            continue
        if place is Server and not only and (problem := images.box_problem()):
            _report(f"no figures of a Docker host: {problem} (make lab)")
            continue
        if place is Gate and not only and not shutil.which("wrk"):
            _report("no figures of the edge alone: apt-get install wrk")
            continue
        _report(_FIRST.get(place, "the first deployment"))
        with place() as stage:
            for row, times, few in chosen:
                _report(row.__name__.replace("_", " "))
                figures += row(stage, few if quick else times)
    return figures


def _report(what: str) -> None:
    print(f"bench: {what} …", file=sys.stderr, flush=True)


def _stop(_number: int, _frame: FrameType | None) -> None:
    """Exit once through every `finally`, so that everything started is stopped."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
