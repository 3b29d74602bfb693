"""The load: kinds of requests, their mixture, and their amount."""

import dataclasses
from collections.abc import Iterable
from typing import Literal, NamedTuple

from devtools.load.wire import Request, Target

MAX_RATE = 5000.0
MAX_SECONDS = 600.0
RELEASE_HEADER = "X-Pushrod-Release"
PIECES = 10  # into which the body of a slow upload is divided

Kind = Literal["exchange", "events", "websocket"]
Protocol = Literal["http", "tls", "h2"]
"""HTTP/1.1 without and with TLS, and HTTP/2, which always uses TLS."""


class Shape(NamedTuple):
    """One kind of request in the mix.

    `share` is its part of the rate; `{id}` in `body` is replaced by a unique id. `kind` is how the connection is
    used: one request and its answer, a stream of server-sent events, or a WebSocket. `seconds` is its intended
    duration: the body is sent in pieces over that time, or the WebSocket is held for it. A shape that `lasts` says
    nothing about the server's speed: it has its own row, and does not count in the total's latencies and gap.
    """

    name: str
    targets: tuple[Target, ...]
    share: int = 1
    method: str = "GET"
    persistent: bool = True
    body: str = ""
    kind: Kind = "exchange"
    seconds: float = 0.0
    lasts: bool = False
    protocol: Protocol = "http"

    @property
    def key(self) -> str:
        """Its name, with the protocol unless that is plain HTTP/1.1."""
        return self.name if self.protocol == "http" else f"{self.name}/{self.protocol}"

    def request(self, to: Target, identity: str, headers: tuple[tuple[str, str], ...] = ()) -> Request:
        """One request, with additional headers."""
        body = self.body.replace("{id}", identity).encode() if self.method != "GET" else b""
        step = max(1, -(-len(body) // PIECES)) if self.seconds else max(1, len(body))
        pieces = [body[at : at + step] for at in range(0, len(body), step)]
        if self.protocol != "h2":
            headers = (*headers, ("Connection", "keep-alive" if self.persistent else "close"))
        pause = self.seconds / max(1, len(pieces)) if pieces else 0.0
        return Request(self.method, to, headers, pieces, pause)

    @property
    def numbered(self) -> bool:
        """Whether each request's body is unique."""
        return self.method != "GET" and "{id}" in self.body


def mixture(shapes: Iterable[Shape]) -> list[Shape]:
    """One round of the mix: each shape as often as its share, spread as evenly as possible."""
    shapes = [s for s in shapes if s.share > 0]
    total = sum(s.share for s in shapes)
    credit = [0] * len(shapes)
    order = []
    for _ in range(total):
        credit = [c + s.share for c, s in zip(credit, shapes, strict=True)]
        chosen = max(range(len(shapes)), key=credit.__getitem__)
        credit[chosen] -= total
        order.append(shapes[chosen])
    return order


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to send: `rate` requests a second for `seconds`; each may take `timeout` seconds.

    At least `connections` are kept open for HTTP/1.1, and `sessions` for HTTP/2. `distance` simulates the round
    trip between client and server, in seconds: the age of the client's knowledge of a kept connection when it
    writes on it. With `forwarded`, requests without TLS claim that a proxy has terminated it.
    """

    shapes: tuple[Shape, ...]
    rate: float
    seconds: float
    timeout: float = 10.0
    connections: int = 16
    header: str = RELEASE_HEADER
    distance: float = 0.0
    sessions: int = 4
    forwarded: bool = False

    def __post_init__(self) -> None:
        if not mixture(self.shapes):
            raise ValueError("no shape has a share of the load")
        if not 0 < self.rate <= MAX_RATE:
            raise ValueError(f"rate: more than 0 and at most {MAX_RATE:g} requests a second")
        if not 0 < self.seconds <= MAX_SECONDS:
            raise ValueError(f"seconds: more than 0 and at most {MAX_SECONDS:g}")
