"""Runs a push's deployment in a separate process, which outlives the hook and the client's connection.

Git takes the exit status of `pre-receive` as the answer. If that process were the deployment, killing it while the
old release drains would reject a push whose release is already live. So the hook is a process that waits: it exits
with 0 as soon as the release is live, and Git keeps reading the deployment's output until the deployment ends too.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

_LIVE = b"L"
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def apart(is_live: Callable[[], bool]) -> Callable[[], None]:
    """Fork; this returns only in the child, the deployment. The parent exits with the child's status, or with 0 as
    soon as the child calls the returned function. If the child is killed, the parent asks `is_live`.

    The parent passes signals on to the child. If the parent is killed, the child gets SIGTERM, which a deployment
    obeys until its release is live.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent_gone, parent_alive = os.pipe()  # end of file: the parent has ended
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(parent_gone)
        os.close(writing)
        _wait(child, reading, is_live)
    os.close(parent_alive)
    os.close(reading)
    os.setsid()  # signals to the terminal's process group arrive through the parent only
    is_past_live = threading.Event()

    def end_with_parent() -> None:
        os.read(parent_gone, 1)
        if not is_past_live.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end_with_parent, daemon=True).start()

    def live() -> None:
        is_past_live.set()
        with contextlib.suppress(OSError):
            os.write(writing, _LIVE)

    return live


def _wait(child: int, reading: int, is_live: Callable[[], bool]) -> None:
    def forward(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for number in _FORWARDED:
        signal.signal(number, forward)
    if os.read(reading, 1) == _LIVE:
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        os._exit(os.waitstatus_to_exitcode(status))
    killed = True
    with contextlib.suppress(Exception):  # on any error, assume that the release is not live
        killed = not is_live()
    os._exit(int(killed))
