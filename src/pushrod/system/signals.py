"""Signals and time limits of this process. Handlers are installed at the edge of the command line alone."""

import contextlib
import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from pushrod.core.errors import Expired, HostError, Interrupted


def end_after(seconds: float, notify: Callable[[], None]) -> None:
    """End this process and its children after `seconds`: call `notify`, then send SIGTERM, which undoes a deployment
    that is not live yet. Processes that still run two minutes later are killed.

    Lasts until the process ends. From here on the process leads a process group of its own.
    """
    with contextlib.suppress(PermissionError):  # a session leader leads its group already
        os.setpgid(0, 0)
        if os.isatty(0):  # the terminal stops every other group that reads it
            before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            with contextlib.suppress(OSError):
                os.tcsetpgrp(0, os.getpgrp())
            signal.signal(signal.SIGTTOU, before)
    alarms = itertools.count()

    def on_alarm(_number: int, _frame: object) -> None:
        number = next(alarms)
        if number == 0:
            notify()
        os.killpg(0, signal.SIGTERM if number < _TERMS else signal.SIGKILL)

    signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds, 30.0)


_TERMS = 4  # SIGTERMs, 30 s apart, before SIGKILL


_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_ignored: frozenset[signal.Signals] = frozenset()  # by the handlers of this module
_postponed: list[int] | None = None  # signals that arrived within `postponed`
_on_expiry: Callable[[], None] | None = None  # of the innermost `deadline`


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """For the edge of the command line alone: install handlers that make `ignored`, `uninterrupted` and `deadline`
    effective. Other signals act as before.

    The rest of the product only calls those three, which change no handler, and therefore work in every thread and in
    a process with handlers of its own.
    """
    before = {n: signal.getsignal(n) for n in _INTERRUPTS}

    def as_before(number: int, frame: FrameType | None) -> None:
        if number in _ignored or _waits(number):
            return
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def expire(_number: int, _frame: FrameType | None) -> None:
        if signal.SIGUSR1 not in _ignored and _on_expiry and not _waits(signal.SIGUSR1):
            _on_expiry()

    # SIG_IGN stays (nohup): programs started meanwhile inherit it.
    replaced = [n for n, handler in before.items() if handler is not signal.SIG_IGN]
    usual = signal.signal(signal.SIGUSR1, expire)
    try:
        for n in replaced:
            signal.signal(n, as_before)
        yield
    finally:
        for n in replaced:
            signal.signal(n, before[n])
        signal.signal(signal.SIGUSR1, usual)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """For the command line alone: within the block, SIGINT, SIGTERM and SIGHUP raise Interrupted in the main
    thread."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        if number in _ignored or _waits(number):
            return
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
    keeps them blocked permanently; the main thread receives them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*_INTERRUPTS, signal.SIGUSR1))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _waits(number: int) -> bool:
    """Whether a signal that has arrived takes effect only after `postponed`."""
    if _postponed is None:
        return False
    _postponed.append(number)
    return True


@contextlib.contextmanager
def postponed() -> Iterator[None]:
    """Within the block, SIGINT, SIGTERM, SIGHUP and the end of a `deadline` wait; the first takes effect at its end.

    For starting a program: an exception while it starts would leave it running, known to nobody. Unlike
    `signals_held` it blocks no signal: the program would inherit that.
    """
    global _postponed
    if _postponed is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    _postponed = arrived
    try:
        yield
    finally:
        _postponed = None
        if arrived:
            signal.raise_signal(arrived[0])


@contextlib.contextmanager
def deadline(seconds: float, what: str) -> Iterator[None]:
    """Raise HostError in the main thread once the block has run for `seconds`, whatever it waits for.

    Code that must not be interrupted (`uninterrupted`) finishes first; clean-up afterwards has no time limit. There
    is no limit outside the main thread, because signals interrupt the main thread only, and outside `handled`.
    """
    global _on_expiry
    if threading.current_thread() is not threading.main_thread() or not _has_handler(signal.SIGUSR1):
        yield
        return
    over, outer = threading.Event(), _on_expiry

    expired = Expired(
        f"{what} has taken longer than {seconds:g} s, and was stopped",
        hint="run it for that app alone to see where it waits",
    )

    def expire() -> None:
        if not over.is_set():
            over.set()
            raise expired

    def send_signals() -> None:
        wait = seconds
        while not over.wait(wait):
            signal.pthread_kill(main, signal.SIGUSR1)
            wait = 1.0  # repeatedly: the first signal may arrive while it is ignored

    main = threading.main_thread().ident or 0
    clock = threading.Thread(target=send_signals, daemon=True)
    _on_expiry = expire
    try:
        with signals_held():
            clock.start()
        yield
    except Expired as e:
        if e is not expired:
            raise
        raise HostError(e.what, hint=e.hint) from None
    finally:
        over.set()
        clock.join()
        _on_expiry = outer


def _has_handler(number: signal.Signals) -> bool:
    return callable(signal.getsignal(number))


@contextlib.contextmanager
def ignored(*numbers: signal.Signals) -> Iterator[None]:
    """Within the block, the handlers of this module ignore these signals. Programs started meanwhile do not."""
    global _ignored
    if threading.current_thread() is not threading.main_thread():  # signals only interrupt the main thread
        yield
        return
    before = _ignored
    try:
        _ignored = before | {*numbers}
        yield
    finally:
        _ignored = before


def uninterrupted() -> contextlib.AbstractContextManager[None]:
    """Within the block, SIGINT, SIGTERM, SIGHUP and the end of a `deadline` are ignored, so that it completes."""
    return ignored(*_INTERRUPTS, signal.SIGUSR1)
