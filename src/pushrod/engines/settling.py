"""Whether a process that cannot be probed has finished starting."""

import time

from pushrod.system import descendants

_STILL = 0.15  # seconds without any work after which a process has finished starting


class Settling:
    """Detects that a process that cannot be probed has started: it waits for work.

    A starting process uses the processor, reads files, or queues for either; a ready one sleeps until something
    arrives. So it has settled when it and its children have slept that long without using the processor or, if it
    finds work at once, when it has been up for `settle` seconds.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._used = -1.0
        self._since = 0.0

    def settled(self, pid: int, settle: float) -> bool:
        """Check the process once more; call again until it returns true."""
        now = time.monotonic()
        asleep, used = _activity(pid)
        if not asleep or used != self._used:
            self._used, self._since = used, now
        return now - self._since >= _STILL or now - self._began >= settle


def _activity(pid: int) -> tuple[bool, float]:
    """Whether a process and all below it sleep, and the processor time they have used, in seconds."""
    import psutil

    asleep_states = (psutil.STATUS_SLEEPING, psutil.STATUS_IDLE)
    try:
        family = descendants.family(pid)
        asleep = all(p.status() in asleep_states for p in family)
        return asleep, sum(sum(p.cpu_times()[:2]) for p in family)
    except psutil.NoSuchProcess:
        return False, 0.0
