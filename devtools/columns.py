"""Rows of text in columns, for people."""

from collections.abc import Sequence


def columns(rows: Sequence[Sequence[str]], *, left: int) -> str:
    """Rows of the same length; so many of the first columns begin at the left, the others end at the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(row: Sequence[str]) -> str:
        cells = enumerate(zip(row, widths, strict=True))
        return "  ".join(cell.ljust(w) if n < left else cell.rjust(w) for n, (cell, w) in cells).rstrip()

    return "\n".join(map(line, rows))
