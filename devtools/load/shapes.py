"""What is sent: kinds of requests, how they are mixed, and how much of it."""

import dataclasses
from collections.abc import Iterable
from typing import Literal, NamedTuple

from devtools.load.wire import Request, Target

MAX_RATE = 5000.0
MAX_SECONDS = 600.0
RELEASE_HEADER = "X-Pushrod-Release"
PIECES = 10  # in which the body of a slow upload is written

Kind = Literal["exchange", "events", "websocket"]
Protocol = Literal["http", "tls", "h2"]
"""HTTP/1.1 without TLS and with it, and HTTP/2, which is always with it."""


class Shape(NamedTuple):
    """One kind of request in the mix.

    `share` is its part of the rate; `{id}` in `body` becomes unique. `kind` is how the connection is
    used: one request and its answer, a stream of server-sent events, or a WebSocket. `seconds` is how long it takes
    by its nature: the body in pieces over that time, or the WebSocket held for so long. What `lasts` says nothing
    about how fast the server is: it has its own row, and no part in the latencies and the gap of the whole.
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
        """Its name, with the protocol where that is not the plain one."""
        return self.name if self.protocol == "http" else f"{self.name}/{self.protocol}"

    def request(self, to: Target, identity: str, headers: tuple[tuple[str, str], ...] = ()) -> Request:
        """One request, with headers besides its own."""
        body = self.body.replace("{id}", identity).encode() if self.method != "GET" else b""
        step = max(1, -(-len(body) // PIECES)) if self.seconds else max(1, len(body))
        pieces = [body[at : at + step] for at in range(0, len(body), step)]
        if self.protocol != "h2":
            headers = (*headers, ("Connection", "keep-alive" if self.persistent else "close"))
        pause = self.seconds / max(1, len(pieces)) if pieces else 0.0
        return Request(self.method, to, headers, pieces, pause)

    @property
    def numbered(self) -> bool:
        """Whether each request can be told from all others by its body."""
        return self.method != "GET" and "{id}" in self.body


def mixture(shapes: Iterable[Shape]) -> list[Shape]:
    """One round of the mix, each shape as often as its share and as evenly spread as it can be."""
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

    `connections` are kept open of HTTP/1.1, at least, and `sessions` of HTTP/2. `distance` stands for the way from
    the client to the server and back, in seconds: how old what a client knows of a kept connection is when it writes
    on it. `forwarded` has what is sent without TLS say that a proxy has ended it.
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
