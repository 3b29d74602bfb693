"""Proving that an instance can serve: HTTP, a command, an open port, or having settled."""

import time

import psutil

from pushrod import host, probing
from pushrod.probing import Question
from pushrod.values import Health, Instance

_TIMEOUT = 5.0  # seconds one question may take, from its first packet to the end of the answer's head


def ask(instance: Instance, health: Health) -> str:
    """Ask an instance over the network once; returns why it is not healthy yet, or nothing if it is.

    HTTP where the health has a path, else whether its port accepts. An instance with neither has nothing to
    be asked here.
    """
    if health.path and instance.port:
        status = _get(instance, health.path)
        if isinstance(status, str):
            return status
        return "" if 200 <= status < 400 else f"GET {health.path} answered {status}"
    if instance.port and not host.accepts(instance.port, instance.address):
        return _closed(instance)
    return ""


def answers(instance: Instance) -> str:
    """Whether an instance answers HTTP at all, for one of which nothing says how to ask it: any status below 500."""
    status = _get(instance, "/")
    if isinstance(status, str):
        return status
    return "" if status < 500 else f"GET / answered {status}"


def _closed(instance: Instance) -> str:
    own = instance.address == "127.0.0.1"
    return f"nothing listens on its port ({instance.port}{', given in $PORT' if own else ''})"


def _get(instance: Instance, path: str) -> int | str:
    """The status of an answer, or why there is none."""
    (answer,) = probing.ask([Question(instance.address, instance.port, path)], _TIMEOUT)
    if answer.refused:
        return _closed(instance)
    divided = "" if answer.why.startswith("was ") else ":"
    return answer.status or f"GET {path}{divided} {answer.why}"


_STILL = 0.15  # seconds without any work after which a process has done with starting


class Settling:
    """Tells when a process that cannot be asked has started: it has come to wait for work.

    A process that starts uses the processor, reads files, or stands in the queue for either; one that is ready
    sleeps until something arrives. So it has settled when it and its children have slept that long without using
    the processor, or, if it finds work at once, when it has been up for `settle` seconds.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._used = -1.0
        self._since = 0.0

    def settled(self, pid: int, settle: float) -> bool:
        """Look at the process once more; to be asked again until it says so."""
        now = time.monotonic()
        asleep, used = _activity(pid)
        if not asleep or used != self._used:
            self._used, self._since = used, now
        return now - self._since >= _STILL or now - self._began >= settle


def _activity(pid: int) -> tuple[bool, float]:
    """Whether a process and all below it sleep, and the processor time they have used, in seconds."""

    asleep_states = (psutil.STATUS_SLEEPING, psutil.STATUS_IDLE)
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
        asleep = all(p.status() in asleep_states for p in family)
        return asleep, sum(sum(p.cpu_times()[:2]) for p in family)
    except psutil.NoSuchProcess:
        return False, 0.0
