"""Waits, tested with the real system."""

import signal

import pytest

from pushrod.core.errors import Interrupted
from pushrod.system import waits
from tests.conftest import beside
from tests.unit.system.children import gone


def test_wait_until_returns_whether_it_held() -> None:
    answers = iter([False, False, True])
    assert waits.wait_until(lambda: next(answers), timeout=10, interval=0)
    assert not waits.wait_until(lambda: False, timeout=0.01, interval=0)


INTERRUPTS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


INTERRUPTIBLE = """
import time
from pushrod.system import processes, signals
from pushrod.core.errors import Interrupted
try:
    with signals.interruptible():
        print("ready")
        processes.run(["sh", "-c", "echo $$; exec sleep 300"], on_line=print, timeout=60)
except Interrupted as e:
    print(e.what, e.exit_code)
"""


@pytest.mark.parametrize("number", INTERRUPTS)
@pytest.mark.slow
def test_a_signal_interrupts_a_wait_and_ends_its_child(number: signal.Signals) -> None:
    with beside(INTERRUPTIBLE) as program:
        assert program.line() == "ready"
        child = int(program.line())
        program.signal(number)
        assert program.line() == f"interrupted by {number.name} {Interrupted.exit_code}"
        assert program.end()[0] == 0
        assert waits.wait_until(lambda: gone(child), timeout=10)
