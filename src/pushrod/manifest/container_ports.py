"""The container ports that a service publishes or exposes. Pure."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pushrod.core.patterns import lazy
from pushrod.manifest import likelihood
from pushrod.manifest.document import Key

_TLS = (443, 8443)  # container ports that by convention speak TLS; the edge speaks plain HTTP
_BOUND = lazy(
    r"(?:(?<!\S)(?:--port[= ]|(?:-b|--bind)[= ](?:\[?[0-9.:]*\]?|localhost|\*)?:)|"
    r"\srunserver\s(?:\S+\s){0,4}?(?:[0-9.]+:)?)([0-9]{2,5})(?!\S)"
)


class Port(NamedTuple):
    """A published port: the container's, and the host's (0: any)."""

    target: int
    published: int


def published(ports: Key) -> Iterator[Port]:
    """The published TCP ports, in the file's order."""
    for port in ports.sequence():
        outside = 0
        if isinstance(port.value, dict):
            protocol, number = port.get("protocol").text(), port.get("target").whole(0)
            first = (
                port.get("published").text().partition("-")[0]
            )  # in a range, `8000-8010`, the host chooses
            outside = int(first) if re.fullmatch(r"[0-9]{1,5}", first) else 0
        else:
            number, protocol = _port(port)
        if number and protocol in ("", "tcp"):
            yield Port(number, outside)


def main(ports: list[Port]) -> Port:
    """The port most likely to speak HTTP, by its number on the host; ports for TLS or other protocols come last."""
    return min(
        ports,
        key=lambda p: (
            likelihood.is_other(p.target),
            p.target in _TLS,
            likelihood.rank(p.published),
            likelihood.is_beside(p.target),
        ),
        default=Port(0, 0),
    )


def exposed(expose: Key) -> int:
    """The first exposed TCP port; 0 if there is none."""
    ports = (_port(key) for key in expose.sequence())
    return next((number for number, protocol in ports if number and protocol in ("", "tcp")), 0)


def bound(argv: Sequence[str]) -> int:
    """The port on which a command says that it listens, if that may be HTTP; 0 if there is none."""
    match = _BOUND.search(" ".join(argv))
    number = int(match[1]) if match else 0
    return number if 0 < number < 1 << 16 and not likelihood.is_other(number) else 0


def _port(key: Key) -> tuple[int, str]:
    """Container port and protocol of Compose's short form (`8000`, `80:8000/tcp`, `3000-3005`)."""
    match = re.fullmatch(r"(?:.*:)?([0-9]{1,5})(?:-[0-9]{1,5})?(?:/(\w+))?", key.text())
    if not match:
        key.wrong("a port such as 8000")
    return int(match[1]), match[2] or ""
