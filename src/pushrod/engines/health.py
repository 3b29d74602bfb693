"""Proving that an instance can serve: HTTP, an open port, or having settled. `health_rule` has the rule."""

import time
from collections.abc import Callable, Mapping, Sequence

from pushrod.core.values import Health, Instance, Release
from pushrod.engines import health_rule
from pushrod.engines.health_rule import Probe
from pushrod.system import probing

_TIMEOUT = 5.0  # seconds one question may take, from its first packet to the end of the answer's head
_PATIENCE = 3.0  # seconds that one without a check, which answers with an error, has to answer better
_POLL = 0.2


def probe(instance: Instance, health: Health) -> Probe | None:
    """How an instance is asked over the network; None for one that has nothing to be asked."""
    if not instance.port:
        return None
    return health_rule.probe(
        instance.address, instance.port, health.path, health.host, any_answer=health.any_answer
    )


def ask(instance: Instance, health: Health) -> str:
    """Ask an instance over the network once; returns why it is not healthy yet, or nothing if it is.

    HTTP where the health has a path, else whether its port accepts. An instance with neither has nothing to
    be asked here.
    """
    asked = probe(instance, health)
    return health_rule.problems([asked], _TIMEOUT)[asked] if asked else ""


def advice(why: str) -> str:
    """What to do where an instance may not have known the name by which it was asked."""
    return "`x-pushrod.health.host` has it asked by another name; " if "(Host: " in why else ""


def first_pages(
    release: Release, instances: Sequence[Instance], deadline: float, look: Callable[[], object]
) -> list[str]:
    """What instances that need only accept connections answer at `/`: notes, where that is an error.

    One that listens may still be starting, or about to fail: so each has until `deadline`, in seconds, to answer at
    all, and a moment to answer without an error. `look` is called between two questions, and raises where one ends.
    """
    began = time.monotonic()
    asked = {
        _first_page(i, release): i
        for i in instances
        if i.port and i.service not in release.routing.called  # which know no other question than their own
    }
    found: dict[Probe, probing.Answer] = {}
    while waiting := [p for p in asked if p not in found]:
        took = time.monotonic() - began
        told = health_rule.answers(waiting, _TIMEOUT)
        look()
        for one, answer in told.items():
            silent = not answer.status and not answer.why.startswith("was ")
            failing = answer.status >= 500
            if took >= (deadline if silent else _PATIENCE if failing else 0.0):
                found[one] = answer
        if len(found) < len(asked):
            time.sleep(_POLL)
    return _notes({asked[p].service: a for p, a in found.items()})


def _first_page(instance: Instance, release: Release) -> Probe:
    host = release.service(instance.service).health.host
    return health_rule.probe(instance.address, instance.port, "/", host)


def _notes(answers: Mapping[str, probing.Answer]) -> list[str]:
    return [
        f"{service}: answers {answer.status or 'nothing'} at /; that refuses nothing, because nothing says how it "
        "proves its health (`x-pushrod: {health: /path}`, or a `healthcheck`)"
        for service, answer in answers.items()
        if not 200 <= answer.status < 400
    ]


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
    import psutil

    asleep_states = (psutil.STATUS_SLEEPING, psutil.STATUS_IDLE)
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
        asleep = all(p.status() in asleep_states for p in family)
        return asleep, sum(sum(p.cpu_times()[:2]) for p in family)
    except psutil.NoSuchProcess:
        return False, 0.0
