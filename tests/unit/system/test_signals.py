"""Signals, tested with the real system."""

import signal

from tests.conftest import beside

INTERRUPTS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


UNINTERRUPTED = """
import sys, signal
from pushrod.system import signals
from pushrod.core.errors import Interrupted
try:
    with signals.interruptible():
        with signals.uninterrupted():
            print("ready")
            sys.stdin.readline()
            print("finished")
        print("ready again")
        sys.stdin.readline()
except Interrupted as e:
    print(e.what)
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""


def test_no_signal_interrupts_what_must_be_finished() -> None:
    with beside(UNINTERRUPTED) as program:
        assert program.line() == "ready"
        for number in INTERRUPTS:
            program.signal(number)
        program.say()
        assert program.line() == "finished"
        assert program.line() == "ready again"
        program.signal(signal.SIGTERM)
        assert program.end() == (0, "interrupted by SIGTERM\nTrue\n")
