"""Lines of a program without end; it ends with its reader."""

import asyncio
import os
import sys

import pytest

from pushrod.core.errors import HostError
from pushrod.core.lines import CUT, LONGEST
from pushrod.system import feeds, waits


async def first(source: str, count: int, stdin: str = "") -> list[str]:
    received = []
    feed = feeds.of([sys.executable, "-c", source], stdin=stdin)
    async for line in feed:
        received.append(line)
        if len(received) == count:
            break
    await feed.aclose()  # type: ignore[attr-defined]
    return received


def test_lines_come_as_they_are_printed_and_the_program_ends_with_its_reader() -> None:
    source = "import os, time; print(os.getpid(), input(), flush=True); time.sleep(60)"
    (line,) = asyncio.run(first(source, 1, "hello\n"))
    number, word = line.split()
    assert word == "hello"

    def gone() -> bool:
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            return True
        return False

    assert waits.wait_until(gone, 10)


def test_a_last_line_without_a_newline_counts_and_a_long_one_is_cut() -> None:
    source = f"print('x' * {LONGEST * 2}); print('end', end='')"
    received = asyncio.run(first(source, 100))
    assert received[-1] == "end"
    assert received[0].endswith(CUT)
    assert max(map(len, received)) < LONGEST * 2 + 100


def test_a_program_that_is_missing_is_an_error() -> None:
    async def run() -> None:
        async for _ in feeds.of(["/nothing/there"]):
            pass

    with pytest.raises(HostError):
        asyncio.run(run())
