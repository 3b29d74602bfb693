"""How an instance is asked whether it is well: the one rule for deployments, for boots and for the watch.

1. Where the manifest gives a path (`x-pushrod.health`), that is asked over HTTP and has to answer 2xx or 3xx.
2. Else its own health check says it, where it has one.
3. Else its port has to accept connections, where it has one.

It is asked by a name of its own (`Host`): an app may refuse to answer to any other. Standard library only: a copy
lies below ROOT, for the programs that run there without pushrod.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

try:
    from pushrod.system import probing
except ImportError:  # a copy below ROOT: what it needs lies beside it
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import probing  # type: ignore[import-not-found, no-redef, unused-ignore]

PROBE, HOSTS = "pushrod.probe", "pushrod.probe.hosts"
"""The labels of a container that say where it is asked, and by which names."""

_REFUSED_NAME = (400, 403, 404, 421)  # what servers answer to a Host that they do not know

Way = Literal["path", "check", "port", ""]


class Probe(NamedTuple):
    """Where an instance is asked: for a path, by names of which one has to do, or for its port alone.

    With `any_answer` it is enough that HTTP is answered.
    """

    address: str
    port: int
    path: str = ""
    hosts: tuple[str, ...] = ()
    any_answer: bool = False

    @property
    def target(self) -> str:
        """The same in one word, as a label has it."""
        at = probing.at(self.address, self.port)
        return f"http://{at}{self.path}" if self.path else f"tcp://{at}"

    def labels(self) -> dict[str, str]:
        """The labels of a container that is asked like this."""
        return {PROBE: self.target, **({HOSTS: " ".join(self.hosts)} if self.path else {})}


def probe(address: str, port: int, path: str = "", host: str = "", *, any_answer: bool = False) -> Probe:
    """How an instance at a port is asked. Where its app has no name, it is asked as whoever writes a health check
    would do it, then by its address."""
    hosts = (host,) if host else ("localhost", probing.at(address, port))
    return Probe(address, port, path, hosts if path else (), any_answer)


def of_labels(labels: Mapping[str, str] | None) -> Probe | None:
    """How a container is asked; None where nothing of it can be asked.

    Labels of an older pushrod name no hosts: an address then, and `/` where nothing was said of a path.
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
    """What says whether a container is well. `health` is Docker's word on its own health check; empty, or `none`,
    where it has none."""
    if asked and asked.path:
        return "path"
    if health not in ("", "none"):
        return "check"
    return "port" if asked else ""


def problems(probes: Iterable[Probe], timeout: float = probing.TIMEOUT) -> dict[Probe, str]:
    """Ask them all at the same time: for each why it is not well, or nothing if it is."""
    return {one: _problem(one, answer) for one, answer in answers(probes, timeout).items()}


def answers(probes: Iterable[Probe], timeout: float = probing.TIMEOUT) -> dict[Probe, probing.Answer]:
    """What they answer, to the first of their names by which they are well, else to the first of all."""
    found: dict[Probe, probing.Answer] = {}
    left, turn = list(dict.fromkeys(probes)), 0
    while left:
        questions = [
            probing.Question(p.address, p.port, p.path, p.hosts[turn] if p.path else "") for p in left
        ]
        told = dict(zip(left, probing.ask(questions, timeout), strict=True))
        turn += 1
        for one, answer in told.items():
            if one not in found or not _problem(one, answer):
                found[one] = answer
        left = [one for one, answer in told.items() if answer.status and _problem(one, answer)]
        left = [one for one in left if turn < len(one.hosts)]
    return found


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
