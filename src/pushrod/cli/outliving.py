"""A push's deployment in a process of its own, so that it outlives the hook and the connection that asked for it.

Git takes the end of `pre-receive` for the answer. Were the deployment that process, then whatever ended it after the
release is live, in the many seconds in which the old one drains, would have the push rejected whose release serves.
So the hook is a process that waits: it ends well as soon as the release is live, and Git goes on reading what the
deployment says until that has ended too.
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
    """Go on in a new process. The one that called never comes back from here: it ends when the new one does, with its
    status, or with 0 as soon as the new one calls what this returns. Where the new one is killed, `is_live` is asked.

    Signals to the one that waits are passed on. If it is killed, the new one gets SIGTERM, which a deployment heeds
    until its release is live.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    waiting, waits = os.pipe()  # closed by its end: the one that waits is gone
    told, tells = os.pipe()
    child = os.fork()
    if child:
        os.close(waiting)
        os.close(tells)
        _wait(child, told, is_live)
    os.close(waits)
    os.close(told)
    os.setsid()  # what is sent to all of a terminal's programs comes by way of the one that waits
    heedless = threading.Event()

    def heed() -> None:
        os.read(waiting, 1)
        if not heedless.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=heed, daemon=True).start()

    def live() -> None:
        heedless.set()
        with contextlib.suppress(OSError):
            os.write(tells, _LIVE)

    return live


def _wait(child: int, told: int, is_live: Callable[[], bool]) -> None:
    def forward(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for number in _FORWARDED:
        signal.signal(number, forward)
    if os.read(told, 1) == _LIVE:
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        os._exit(os.waitstatus_to_exitcode(status))
    killed = True
    with contextlib.suppress(Exception):  # whatever it is, nobody can say that the release is live
        killed = not is_live()
    os._exit(int(killed))
