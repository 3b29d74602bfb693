"""Probes of instances: HTTP or an open port, by `health_rule`. `settling` is for those that cannot be probed."""

import time
from collections.abc import Callable, Mapping, Sequence

from pushrod.core.values import Health, Instance, Release
from pushrod.engines import health_rule
from pushrod.engines.health_rule import Probe
from pushrod.system import probing

_TIMEOUT = 5.0  # seconds for one probe, from its first packet to the end of the answer's head
# seconds in which an instance without a check, which answers with an error, may still give a better answer
_PATIENCE = 3.0
_POLL = 0.2


def probe(instance: Instance, health: Health) -> Probe | None:
    """The probe of an instance; None if it has neither a path nor a port."""
    if not instance.port:
        return None
    return health_rule.probe(
        instance.address, instance.port, health.path, health.host, any_answer=health.any_answer
    )


def problem(instance: Instance, health: Health) -> str:
    """Probe an instance once; returns why it is not healthy yet, or an empty text if it is.

    Uses HTTP if the health has a path, else checks that the port accepts. Always empty for an instance with neither.
    """
    asked = probe(instance, health)
    return health_rule.problems([asked], _TIMEOUT)[asked] if asked else ""


def advice(why: str) -> str:
    """A hint for a probe that failed perhaps because the instance does not know the name in its Host header."""
    return "`x-pushrod.health.host` sets another name for the probe; " if "(Host: " in why else ""


def first_pages(
    release: Release, instances: Sequence[Instance], deadline: float, check_running: Callable[[], object]
) -> list[str]:
    """The answers at `/` of instances that only have to accept connections: notes on errors.

    A listening instance may still be starting, or about to fail, so it has until `deadline`, in seconds, to answer at
    all, and a moment to answer without an error. `check_running` is called between two rounds, and raises if an
    instance ended.
    """
    began = time.monotonic()
    asked = {
        _first_page(i, release): i
        for i in instances
        if i.port and i.service not in release.routing.called  # gRPC instances answer nothing else
    }
    final: dict[Probe, probing.Answer] = {}
    while waiting := [p for p in asked if p not in final]:
        took = time.monotonic() - began
        latest = health_rule.answers(waiting, _TIMEOUT)
        check_running()
        for one, answer in latest.items():
            silent = not answer.status and not answer.why.startswith("was ")
            failing = answer.status >= 500
            if took >= (deadline if silent else _PATIENCE if failing else 0.0):
                final[one] = answer
        if len(final) < len(asked):
            time.sleep(_POLL)
    return _notes({asked[p].service: a for p, a in final.items()})


def _first_page(instance: Instance, release: Release) -> Probe:
    host = release.service(instance.service).health.host
    return health_rule.probe(instance.address, instance.port, "/", host)


def _notes(answers: Mapping[str, probing.Answer]) -> list[str]:
    return [
        f"{service}: answers {answer.status or 'nothing'} at /; this is not an error, because the manifest "
        "does not define how it proves its health (`x-pushrod: {health: /path}`, or a `healthcheck`)"
        for service, answer in answers.items()
        if not 200 <= answer.status < 400
    ]
