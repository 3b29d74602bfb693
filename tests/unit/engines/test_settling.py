"""Watching real processes that cannot be probed."""

import os

import pytest

from pushrod.engines.settling import Settling
from pushrod.system import waits
from tests.conftest import beside

WAITS = "import sys; print('up'); sys.stdin.readline()"
WORKS = "print('up')\nwhile True: pass"
PARENT = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', \"print('up')\\nwhile True: pass\"])"
LONG = 600.0  # seconds; longer than any of these tests


@pytest.mark.slow
def test_a_waiting_process_has_settled() -> None:
    with beside(WAITS) as program:
        program.line()
        settling = Settling()
        assert waits.wait_until(lambda: settling.settled(program.pid, LONG), timeout=30)


def test_one_look_is_not_enough_to_settle() -> None:
    with beside(WAITS) as program:
        program.line()
        assert not Settling().settled(program.pid, LONG)


@pytest.mark.slow
def test_a_working_process_settles_only_after_its_time() -> None:
    with beside(WORKS) as program:
        program.line()
        settling = Settling()
        assert not waits.wait_until(lambda: settling.settled(program.pid, LONG), timeout=0.6)
        assert waits.wait_until(lambda: settling.settled(program.pid, 0.5), timeout=30)


@pytest.mark.slow
def test_a_process_with_a_working_child_has_not_settled() -> None:
    with beside(f"import os; os.setsid()\n{PARENT}") as program:
        try:
            program.line()
            settling = Settling()
            assert not waits.wait_until(lambda: settling.settled(program.pid, LONG), timeout=0.6)
        finally:
            os.killpg(program.pid, 9)


@pytest.mark.slow
def test_an_ended_process_has_not_settled() -> None:
    with beside("") as program:
        program.end()
        settling = Settling()
        assert not waits.wait_until(lambda: settling.settled(program.pid, LONG), timeout=0.4)
