"""Signals and time limits of this process."""

import contextlib
import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator

from pushrod.core.errors import HostError, Interrupted


def end_after(seconds: float, notify: Callable[[], None]) -> None:
    """End this process and its children after `seconds`: call `notify`, then send SIGTERM, which undoes a deployment
    that is not live yet. Processes that still run two minutes later are killed.

    Lasts until the process ends. From here on the process leads a process group of its own.
    """
    with contextlib.suppress(PermissionError):  # a session leader leads its group already
        os.setpgid(0, 0)
    alarms = itertools.count()

    def on_alarm(_number: int, _frame: object) -> None:
        number = next(alarms)
        if number == 0:
            notify()
        os.killpg(0, signal.SIGTERM if number < _TERMS else signal.SIGKILL)

    signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds, 30.0)


_TERMS = 4  # SIGTERMs, 30 s apart, before SIGKILL


@contextlib.contextmanager
def _ignored(*numbers: signal.Signals) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # signals only interrupt the main thread
        yield
        return
    # An empty handler, not SIG_IGN: programs started meanwhile would inherit SIG_IGN.
    before = {n: signal.signal(n, lambda _number, _frame: None) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Within the block, SIGINT, SIGTERM and SIGHUP raise Interrupted in the main thread."""

    def interrupt(number: int, _frame: object) -> None:
        raise Interrupted(
            f"interrupted by {signal.Signals(number).name}",
            hint="run the command again; a deployment that was not live yet has been undone",
        )

    before = {n: signal.signal(n, interrupt) for n in _INTERRUPTS}
    try:
        yield
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Within the block, SIGINT, SIGTERM and SIGHUP are blocked: for a few lines that must not be interrupted.

    Starting a thread is one such case: `threading` breaks if its `start` is interrupted. A thread started here
    keeps them blocked for good; the main thread receives them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*_INTERRUPTS, signal.SIGUSR1))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def deadline(seconds: float, what: str) -> Iterator[None]:
    """Raise HostError in the main thread once the block has run for `seconds`, whatever it waits for.

    Code that must not be interrupted (`uninterrupted`) finishes first; clean-up afterwards has no time limit. Outside
    the main thread there is no limit, because signals interrupt the main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    over = threading.Event()

    def expire(_number: int, _frame: object) -> None:
        if not over.is_set():
            over.set()
            raise HostError(
                f"{what} has taken longer than {seconds:g} s, and was stopped",
                hint="run it for that app alone to see where it waits",
            )

    def send_signals() -> None:
        wait = seconds
        while not over.wait(wait):
            signal.pthread_kill(main, signal.SIGUSR1)
            wait = 1.0  # repeatedly: the first signal may arrive while it is ignored

    main, before = threading.main_thread().ident or 0, signal.signal(signal.SIGUSR1, expire)
    clock = threading.Thread(target=send_signals, daemon=True)
    with signals_held():
        clock.start()
    try:
        yield
    finally:
        over.set()
        clock.join()
        signal.signal(signal.SIGUSR1, before)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Within the block, SIGINT, SIGTERM and SIGHUP are ignored, so that it completes."""
    with _ignored(*_INTERRUPTS, signal.SIGUSR1):
        yield
