"""What is sent: kinds of requests, how they are mixed, and how much of it."""

import dataclasses
from collections.abc import Iterable
from typing import Literal, NamedTuple

from tests.load.wire import Target

MAX_RATE = 5000.0
MAX_SECONDS = 600.0
RELEASE_HEADER = "X-Pushrod-Release"
PIECES = 10  # in which the body of a slow upload is written

Kind = Literal["exchange", "events", "websocket"]


class Shape(NamedTuple):
    """One kind of request in the mix.

    `share` is its part of the rate; `{id}` in `body` becomes unique: `RUN-NUMBER`. `kind` is how the connection is
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

    def request(self, to: Target, identity: str) -> bytes:
        """The bytes of one request."""
        lines = [f"{self.method} {to.path} HTTP/1.1", f"Host: {to.authority}", "User-Agent: pushrod-load"]
        body = self.body.replace("{id}", identity).encode()
        if self.method != "GET":
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        lines.append(f"Connection: {'keep-alive' if self.persistent else 'close'}")
        return "\r\n".join([*lines, "", ""]).encode() + body

    def pieces(self, to: Target, identity: str) -> list[bytes]:
        """The bytes of one request, in the pieces that are written one after the other over `seconds`."""
        whole = self.request(to, identity)
        if not (self.seconds and self.body):
            return [whole]
        start = whole.index(b"\r\n\r\n") + 4
        step = max(1, -(-(len(whole) - start) // PIECES))
        return [whole[:start], *(whole[at : at + step] for at in range(start, len(whole), step))]

    @property
    def numbered(self) -> bool:
        """Whether each request can be told from all others by its body."""
        return "{id}" in self.body


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

    `distance` stands for the way from the client to the server and back, in seconds: how old what a client knows of a
    kept connection is when it writes on it.
    """

    shapes: tuple[Shape, ...]
    rate: float
    seconds: float
    timeout: float = 10.0
    connections: int = 16
    header: str = RELEASE_HEADER
    distance: float = 0.0

    def __post_init__(self) -> None:
        if not mixture(self.shapes):
            raise ValueError("no shape has a share of the load")
        if not 0 < self.rate <= MAX_RATE:
            raise ValueError(f"rate: more than 0 and at most {MAX_RATE:g} requests a second")
        if not 0 < self.seconds <= MAX_SECONDS:
            raise ValueError(f"seconds: more than 0 and at most {MAX_SECONDS:g}")
