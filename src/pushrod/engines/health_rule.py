"""How an instance's health is determined: one rule for deployments, boots and the watchdog.

1. If the manifest gives a path (`x-pushrod.health`), an HTTP request for it must be answered with 2xx or 3xx.
2. Else its own health check decides, if it has one.
3. Else its port must accept connections, if it has one.

The request has a configured `Host`, because an app may refuse any other. Standard library only: a copy below ROOT is
used by the programs that run there without pushrod.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

try:
    from pushrod.system import probing
except ImportError:  # the copy below ROOT has its modules in its own directory
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import probing  # type: ignore[import-not-found, no-redef, unused-ignore]

PROBE, HOSTS = "pushrod.probe", "pushrod.probe.hosts"
"""The labels of a container with its probe and the host names for it."""

_REFUSED_NAME = (400, 403, 404, 421)  # what servers answer to an unknown Host

Way = Literal["path", "check", "port", ""]


class Probe(NamedTuple):
    """A probe of an instance: a request for a path, under one of several host names, or a connection to its port.

    With `any_answer` any HTTP answer is enough.
    """

    address: str
    port: int
    path: str = ""
    hosts: tuple[str, ...] = ()
    any_answer: bool = False

    @property
    def target(self) -> str:
        """The path or port in one word, as in the label."""
        at = probing.at(self.address, self.port)
        return f"http://{at}{self.path}" if self.path else f"tcp://{at}"

    def labels(self) -> dict[str, str]:
        """The labels of a container with this probe."""
        return {PROBE: self.target, **({HOSTS: " ".join(self.hosts)} if self.path else {})}


def probe(address: str, port: int, path: str = "", host: str = "", *, any_answer: bool = False) -> Probe:
    """The probe of an instance at a port. If its app has no host name, the request uses the name that a health check
    inside the container would use, then the address.
    """
    hosts = (host,) if host else ("localhost", probing.at(address, port))
    return Probe(address, port, path, hosts if path else (), any_answer)


def of_labels(labels: Mapping[str, str] | None) -> Probe | None:
    """The probe of a container, by its labels; None if there is none.

    Labels of an older pushrod have no host names: then the address is used, and `/` if there is no path.
    """
    kind, _, rest = (labels or {}).get(PROBE, "").partition("://")
    at, slash, path = rest.partition("/")
    address, _, port = at.rpartition(":")
    if not port.isdigit():
        return None
    hosts = tuple((labels or {}).get(HOSTS, "").split())
    known = kind == "http" and (path or hosts)
    return Probe(
        address.strip("[]"), int(port), slash + path if known else "", (hosts or (at,)) if known else ()
    )


def way(asked: Probe | None, health: str) -> Way:
    """What determines a container's health. `health` is Docker's status of its own health check; empty, or `none`, if
    it has none.
    """
    if asked and asked.path:
        return "path"
    if health not in ("", "none"):
        return "check"
    return "port" if asked else ""


def problems(probes: Iterable[Probe], timeout: float = probing.TIMEOUT) -> dict[Probe, str]:
    """Run all probes at the same time; for each the problem, or an empty text if it is healthy."""
    return {one: _problem(one, answer) for one, answer in answers(probes, timeout).items()}


def answers(probes: Iterable[Probe], timeout: float = probing.TIMEOUT) -> dict[Probe, probing.Answer]:
    """The answer to each probe under the first host name by which it is healthy, else under its first name."""
    best: dict[Probe, probing.Answer] = {}
    left, turn = list(dict.fromkeys(probes)), 0
    while left:
        questions = [
            probing.Question(p.address, p.port, p.path, p.hosts[turn] if p.path else "") for p in left
        ]
        latest = dict(zip(left, probing.ask(questions, timeout), strict=True))
        turn += 1
        for one, answer in latest.items():
            if one not in best or not _problem(one, answer):
                best[one] = answer
        left = [one for one, answer in latest.items() if answer.status and _problem(one, answer)]
        left = [one for one in left if turn < len(one.hosts)]
    return best


def _problem(one: Probe, answer: probing.Answer) -> str:
    if answer.refused:
        own = one.address == "127.0.0.1"
        return f"nothing listens on its port ({one.port}{', given in $PORT' if own else ''})"
    if not one.path:
        return f"its port ({one.port}) does not accept: {answer.why}" if answer.why else ""
    if answer.why:
        return f"GET {one.path}{'' if answer.why.startswith('was ') else ':'} {answer.why}"
    if one.any_answer or 200 <= answer.status < 400:
        return ""
    asked = f" (Host: {one.hosts[0]})" if answer.status in _REFUSED_NAME else ""
    return f"GET {one.path} answered {answer.status}{asked}"
