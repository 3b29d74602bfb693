"""Signals, tested with the real system."""

import ast
import contextlib
import signal
from pathlib import Path

import pytest

import pushrod
from pushrod.core.errors import HostError
from pushrod.system import signals, waits
from tests.conftest import beside
from tests.unit.system.children import gone

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


def test_no_signal_interrupts_an_uninterruptible_section() -> None:
    with beside(UNINTERRUPTED) as program:
        assert program.line() == "ready"
        for number in INTERRUPTS:
            program.signal(number)
        program.send_line()
        assert program.line() == "finished"
        assert program.line() == "ready again"
        program.signal(signal.SIGTERM)
        assert program.end() == (0, "interrupted by SIGTERM\nTrue\n")


STARTED = """
import os, signal, subprocess, sys
from pushrod.core.errors import Interrupted
from pushrod.system import processes, signals

class Interrupting(subprocess.Popen):
    def _execute_child(self, *args):  # where the new process is, and Popen has not returned
        super()._execute_child(*args)
        print(self.pid, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        sum(range(1000))

subprocess.Popen = Interrupting
argv = ["sh", "-c", "exec sleep 300"]
env = {"PATH": "/usr/bin:/bin"}
try:
    with signals.handled(), signals.interruptible():
        CALL
except Interrupted as e:
    print(e.what)
"""
CALLS = [
    "processes.run(argv)",
    "processes.beside(argv, env=env, stdin='').__enter__()",
    "processes.output_of(argv, env=env).__enter__()",
    "processes.drain(argv, sys.stdout.buffer, env=env, timeout=300)",
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.slow
def test_a_program_ends_if_its_start_is_interrupted(call: str) -> None:
    """An interruption between fork(2) and the return of `Popen` would leave a program that nobody knows, which goes
    on writing what its caller removes."""
    with beside(STARTED.replace("CALL", call)) as program:
        child = int(program.line())
        assert program.line() == "interrupted by SIGTERM"
        assert waits.wait_until(lambda: gone(child), timeout=10)


HANDLED = """
import sys, signal
from pushrod.system import signals
with signals.handled():
    with signals.uninterrupted():
        print("ready")
        sys.stdin.readline()
    try:
        print("finished")
        sys.stdin.readline()
    except KeyboardInterrupt:
        print("stopped by Ctrl-C")
    sys.stdin.readline()
"""


def test_the_handlers_of_the_command_line_only_spare_what_must_be_finished() -> None:
    """Otherwise a signal does what it did without them."""
    with beside(HANDLED) as program:
        assert program.line() == "ready"
        for number in INTERRUPTS:
            program.signal(number)
        program.send_line()
        assert program.line() == "finished"
        program.signal(signal.SIGINT)
        assert program.line() == "stopped by Ctrl-C"
        program.signal(signal.SIGTERM)
        assert program.end() == (-signal.SIGTERM, "")


def test_no_handler_changes_outside_the_command_line() -> None:
    """A process with handlers of its own, such as a web server, keeps them."""
    before = {n: signal.getsignal(n) for n in (*INTERRUPTS, signal.SIGUSR1)}
    with signals.uninterrupted(), signals.ignored(signal.SIGINT), signals.deadline(0.001, "it"):
        assert {n: signal.getsignal(n) for n in before} == before


def test_only_the_innermost_deadline_that_is_over_ends_its_block() -> None:
    with signals.handled(), signals.deadline(600, "all"):
        with pytest.raises(HostError, match="one has taken"), signals.deadline(0.01, "one"):
            signal.pause()
        with signals.deadline(600, "another"):
            pass


def test_what_handles_failures_does_not_swallow_a_deadline() -> None:
    went_on = False
    with signals.handled(), pytest.raises(HostError, match="it has taken"), signals.deadline(0.01, "it"):
        with contextlib.suppress(HostError):
            signal.pause()
        went_on = True
    assert not went_on


def _callers(*names: str) -> set[str]:
    """The parts of the product whose code calls `signals.NAME` or `signal.signal`."""
    top = Path(pushrod.__file__).parent
    parts = set()
    for path in top.rglob("*.py"):
        if not any(name in (text := path.read_text()) for name in names):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in names:
                parts.add(str(path.relative_to(top)))
    return {p for p in parts if not p.startswith("template")}


@pytest.mark.slow
def test_handlers_are_installed_by_the_command_line_and_by_programs_of_their_own_alone() -> None:
    edge = _callers("signals.handled", "signals.interruptible", "signals.end_after")
    assert edge
    assert {p for p in edge if not p.startswith("cli/")} == set()
    assert _callers("signal.signal") == {
        "cli/detached.py",
        "engines/docker/builder.py",
        "engines/embedded/exec_wrapper.py",
        "engines/embedded/listener.py",
        "system/signals.py",
    }
